// SPDX-License-Identifier: Apache-2.0
// lease_broker put together: handlers, and the reaper that one of its replicas leads.
#include "lease_broker/app.hpp"

#include "lease_broker/handlers.hpp"
#include "log/log.hpp"
#include "service/leader_loop.hpp"

namespace berth::lease {
namespace {

/// Ends what is overdue. Safety: every ending is one transaction under the leader's fence and the
/// lease's row lock, so two reapers could at worst both look. Liveness: an expiry is at most
/// `reap_every` plus one leader change late. Nothing ended is scanned: the index is partial.
class Reaper {
public:
    Reaper(LeaseHandlers& handlers, service::Runtime& runtime)
        : handlers_(handlers), pool_(runtime.pool()), relay_(runtime.relay()) {
        expired_ = runtime.metrics().counter(
            "berth_lease_leases_expired_total", "Leases ended because their time was over."
        );
    }

    Result<void> look(std::int64_t fence) {
        const WallTime now = Clock::system().now();
        BERTH_ASSIGN(const auto due, repo::overdue_leases(pool_, now, kReapBatch));
        for (const auto& [id, org] : due) {
            BERTH_TRY(guarded(fence, [&, lease = id, of = org](store::Transaction& tx) {
                return handlers_.expire(tx, of, lease, now);
            }));
            expired_.add();
        }
        BERTH_ASSIGN(
            const auto stale,
            repo::stale_attachments(pool_, now - kUnconfirmedAttachment, kReapBatch)
        );
        for (const std::string& work : stale) {
            BERTH_TRY(guarded(fence, [&](store::Transaction& tx) {
                return handlers_.drop_attachment(tx, work, now);
            }));
        }
        return {};
    }

private:
    template <typename F>
    Result<void> guarded(std::int64_t fence, F change) {
        auto messages = pool_.transact(
            [&](store::Transaction& tx) -> Result<std::vector<store::OutboxMessage>> {
                BERTH_TRY(store::check_fence(tx, "reaper", fence));
                BERTH_ASSIGN(auto out, change(tx));
                if (!out.empty()) BERTH_TRY(store::Outbox::add_all(tx, out));
                return out;
            }
        );
        if (!messages) return std::move(messages).error();
        relay_.publish_committed(std::move(*messages));
        return {};
    }

    LeaseHandlers& handlers_;
    store::Pool& pool_;
    store::Relay& relay_;
    metrics::Counter expired_;
};

class LeaseApp final : public service::App {
public:
    LeaseApp(service::Runtime& runtime, LeaseSettings settings)
        : handlers_(settings, runtime.pool(), Random::system()),
          reaper_(handlers_, runtime),
          leader_(
              runtime.database(),
              "reaper",
              settings.reap_every,
              [this](std::int64_t fence) { return reaper_.look(fence); }
          ),
          bound_(runtime.make_handlers()) {
        handlers_.bind(*bound_);
    }

    Result<void> start() override {
        BERTH_TRY(bound_->start());
        leader_.start();
        return {};
    }
    void stop() override {
        bound_->stop();
        leader_.stop();
    }

private:
    LeaseHandlers handlers_;
    Reaper reaper_;
    service::LeaderLoop leader_;
    std::unique_ptr<service::Handlers> bound_;  // last: consumers stop before what they use goes
};

}  // namespace

service::Service service() {
    return {
        "lease",
        "leases machines to owners",
        migrations(),
        [](service::Runtime& runtime,
           config::Reader& reader) -> Result<std::unique_ptr<service::App>> {
            return std::unique_ptr<service::App>(
                std::make_unique<LeaseApp>(runtime, read_lease_settings(reader))
            );
        }};
}

}  // namespace berth::lease
