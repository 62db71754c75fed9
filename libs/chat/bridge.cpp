// SPDX-License-Identifier: Apache-2.0
// A bridge put together: every instance hears events, one leads: receives, carries out, sends.
#include "chat/bridge.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "berth/run/v1/run.pb.h"
#include "berth/warden/v1/warden.pb.h"
#include "chat/approvals.hpp"
#include "chat/desk.hpp"
#include "chat/listener.hpp"
#include "chat/parts.hpp"
#include "chat/people.hpp"
#include "chat/refusals.hpp"
#include "chat/runs.hpp"
#include "chat/sender.hpp"
#include "chat/store.hpp"
#include "log/log.hpp"
#include "service/proto_time.hpp"
#include "service/request.hpp"
#include "store/leader.hpp"

namespace berth::chat {
namespace {

constexpr milliseconds kLookEvery{1'000};
constexpr std::chrono::hours kHeardLately{24};
constexpr seconds kPurgeEvery{600};
constexpr seconds kCountEvery{5};

/// Stores what comes in, and rings.
class Inbox final : public Sink {
public:
    Inbox(Parts& parts, Sender& sender) : parts_(parts), sender_(sender) {}
    Result<void> accept(const std::vector<Inbound>& told) override {
        std::vector<Inbound> events;
        for (const Inbound& event : told) {
            if (event.at == WallTime{} || event.at + kInboundKept > parts_.now()) {
                events.push_back(event);
            } else {
                log::warning("something too old was told", {{"event", event.event_id}});
            }
        }
        if (events.empty()) return {};
        auto stored = repo::insert_inbound(parts_.pool(), parts_.token(), events);
        if (!stored) return stored.error();
        parts_.metrics.received.add(static_cast<double>(events.size()));
        parts_.metrics.repeated.add(
            static_cast<double>(static_cast<std::int64_t>(events.size()) - *stored)
        );
        parts_.inbound.ring();
        return {};
    }
    Result<void> undelivered(const Undelivered& told) override { return sender_.undelivered(told); }
    Result<std::vector<LastHeard>> last_heard(std::int64_t most) override {
        return repo::last_heard(parts_.pool(), parts_.now() - kHeardLately, most);
    }
    void health(Health health) override { parts_.health.set_connection(std::move(health)); }
    Result<void> remember(const std::string& note) override {
        if (note.size() > kMaxNote) return invalid("too_long", "the note is too long");
        return repo::write_note(parts_.pool(), note);
    }
    Result<std::string> recall() override { return repo::read_note(parts_.pool()); }

private:
    Parts& parts_;
    Sender& sender_;
};

/// What works while this instance leads.
class Term {
public:
    Term(Parts& parts, People& people, Refusals& refusals, std::unique_ptr<Platform> platform)
        : platform_(std::move(platform)),
          sender_(parts, *platform_),
          inbox_(parts, sender_),
          runs_(parts),
          desk_(parts, people, refusals, platform_->traits()) {}
    ~Term() { stop(); }
    Result<void> start() {
        started_ = true;
        sender_.start();
        runs_.start();
        desk_.start();
        return platform_->start(inbox_);
    }
    void stop() {
        if (!started_) return;
        started_ = false;
        platform_->stop();  // nothing comes in any more
        desk_.stop();
        runs_.stop();
        sender_.stop();
    }
    Platform& platform() { return *platform_; }

private:
    std::unique_ptr<Platform> platform_;
    Sender sender_;
    Inbox inbox_;
    Runs runs_;
    Desk desk_;
    bool started_ = false;
};

class BridgeApp final : public service::App {
public:
    BridgeApp(
        service::Runtime& runtime,
        BridgeSettings settings,
        PlatformFactory factory,
        std::unique_ptr<bus::Asker> asker
    )
        : asker_(std::move(asker)),
          parts_{runtime, std::move(settings), *asker_, {}, {}, {}, {}, {}, {}},
          people_(parts_),
          refusals_(parts_),
          factory_(std::move(factory)),
          lock_(runtime.database(), "receiver"),
          events_(runtime.make_handlers()) {
        add_metrics(parts_);
        parts_.health.set_leading(false, "starting");
        bind();
    }

    Result<void> start() override {
        if (!parts_.settings.web_listen.empty()) {
            BERTH_ASSIGN(
                listener_,
                Listener::start(
                    parts_.settings.web_listen,
                    [this](const WebRequest& request) { return web(request); }
                )
            );
            log::info("listening", {{"address", listener_->address()}});
        }
        BERTH_TRY(events_->start());
        leader_ = std::thread([this] { lead(); });
        return {};
    }

    void stop() override {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        if (leader_.joinable()) leader_.join();
        listener_.reset();
        refusals_.tell_rest();
        events_->stop();
    }

    std::string not_ready() override {
        std::string reason = parts_.health.not_ready();
        parts_.metrics.connected.set(reason.empty() ? 1 : 0);
        return reason;
    }

private:
    void bind() {
        const std::string token = parts_.token();
        events_->event(token + "-warden", this, &BridgeApp::warden_fact);
        events_->event(token + "-run", this, &BridgeApp::run_fact);
    }

    Result<service::Decision> warden_fact(
        const service::Context& context, const std::string& payload, store::Transaction& tx
    ) {
        service::Decision out;
        // berth.evt.<org>.warden.<noun>.<fact>.<id>
        if (context.subject.find(".warden.approval.") == std::string::npos) return out;
        BERTH_ASSIGN(auto event, service::decode<warden::v1::ApprovalChanged>(payload));
        BERTH_TRY(as_it_is(context, *event.mutable_approval()));
        BERTH_TRY(follow_approval(tx, parts_.settings, event.approval(), context.now));
        out.committed = [this] { parts_.outbound.ring(); };
        return out;
    }

    /// The newest state of an approval that waited for long when it was told.
    Result<void> as_it_is(const service::Context& context, warden::v1::Approval& approval) {
        const WallTime created = service::to_wall_time(approval.created_at());
        if (approval.state() != warden::v1::APPROVAL_STATE_PENDING ||
            parts_.settings.of_org(approval.org()) == nullptr ||
            context.now - created < kFreshApproval)
            return {};
        warden::v1::GetApproval query;
        query.set_approval(approval.id());
        query.mutable_actor()->set_user("berth");  // nobody in particular: it reads
        query.mutable_actor()->set_org(approval.org());
        query.mutable_actor()->add_roles("viewer");
        auto newest = ask<warden::v1::Approval>(parts_, "berth.qry.warden.approval", query, {});
        if (newest) {
            approval = std::move(*newest);
        } else if (is_outage(newest.error())) {
            return newest.error();
        } else {
            approval.set_state(warden::v1::APPROVAL_STATE_ABANDONED);  // warden knows nothing of it
        }
        return {};
    }

    Result<service::Decision> run_fact(
        const service::Context& context, const std::string& payload, store::Transaction& tx
    ) {
        service::Decision out;
        BERTH_ASSIGN(const auto event, service::decode<run::v1::RunChanged>(payload));
        const run::v1::Run& run = event.run();
        if (parts_.settings.of_org(run.org()) == nullptr) return out;
        BERTH_ASSIGN(
            const auto concerned,
            repo::hear_run(
                tx,
                run.id(),
                run.SerializeAsString(),
                static_cast<std::int64_t>(run.revision()),
                has_ended(run),
                context.now
            )
        );
        if (concerned > 0) out.committed = [this] { parts_.jobs.ring(); };
        return out;
    }

    WebResponse web(const WebRequest& request) {
        std::shared_ptr<Term> term;
        {
            const std::lock_guard lock(mutex_);
            term = term_;
        }
        if (!term) return {503, "text/plain", "another instance receives\n"};
        WebResponse answer = term->platform().web(request);
        if (!answer.refused.empty()) refusals_.request(request, answer.refused);
        return answer;
    }

    void lead() {
        SteadyTime next_purge = std::chrono::steady_clock::now() + kPurgeEvery;
        SteadyTime next_count{};
        std::unique_lock lock(mutex_);
        while (!stopping_) {
            lock.unlock();
            look();
            refusals_.tell_counted();
            const SteadyTime now = std::chrono::steady_clock::now();
            if (now >= next_count) {
                count();
                next_count = now + kCountEvery;
            }
            if (now >= next_purge && term_) {
                (void)repo::purge(
                    parts_.pool(), parts_.now() - kInboundKept, parts_.now() - kOutboundKept
                );
                next_purge = now + kPurgeEvery;
            }
            lock.lock();
            changed_.wait_for(lock, kLookEvery, [this] { return stopping_; });
        }
        lock.unlock();
        end_term("stopping");
        lock_.release();
    }

    void look() {
        const bool leads = lock_.try_lead() && lock_.still_leading();
        if (term_) {
            if (!leads) end_term("another instance leads, or the database is away");
            return;
        }
        if (!leads) {
            parts_.health.set_leading(false, lock_.last_error() ? "the database is away" : "");
            return;
        }
        auto platform = factory_();
        if (!platform) {
            parts_.health.set_leading(false, platform.error().message);
            return;
        }
        auto term = std::make_shared<Term>(parts_, people_, refusals_, std::move(*platform));
        parts_.health.set_leading(true, {});
        if (const auto started = term->start(); !started) {
            term->stop();
            parts_.health.set_leading(false, started.error().message);
            return;
        }
        const std::lock_guard lock(mutex_);
        term_ = std::move(term);
    }

    void end_term(const std::string& why) {
        std::shared_ptr<Term> ended;
        {
            const std::lock_guard lock(mutex_);
            ended = std::move(term_);
            term_ = nullptr;
        }
        if (!ended) return;
        log::info("no longer receiving", {{"why", why}});
        parts_.health.set_leading(false, why);
        ended->stop();
        // A web request under way may hold it a little longer; then it ends it.
    }

    void count() {
        if (const auto waiting = repo::count_waiting(parts_.pool()))
            parts_.metrics.waiting.set(static_cast<double>(*waiting));
        if (const auto backlog = repo::backlog(parts_.pool())) {
            parts_.metrics.backlog.set(static_cast<double>(backlog->rows));
            parts_.metrics.backlog_age.set(std::chrono::duration<double>(backlog->oldest).count());
        }
    }

    std::unique_ptr<bus::Asker> asker_;
    Parts parts_;
    People people_;
    Refusals refusals_;
    const PlatformFactory factory_;
    store::LeaderLock lock_;  // the leader thread's
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;       // by mutex_
    std::shared_ptr<Term> term_;  // by mutex_; changed by the leader thread alone
    std::thread leader_;
    std::unique_ptr<Listener> listener_;
    std::unique_ptr<service::Handlers> events_;
};

}  // namespace

service::Service bridge_service(std::string token, std::string summary, PlatformReader read) {
    return {
        std::move(token),
        std::move(summary),
        migrations(),
        [read = std::move(read)](
            service::Runtime& runtime, config::Reader& reader
        ) -> Result<std::unique_ptr<service::App>> {
            BridgeSettings settings = read_bridge_settings(reader);
            BERTH_ASSIGN(auto factory, read(reader));
            BERTH_TRY(reader.finish());
            BERTH_ASSIGN(
                auto asker,
                bus::Asker::create(runtime.bus(), {runtime.token(), runtime.settings().instance})
            );
            return std::unique_ptr<service::App>(std::make_unique<BridgeApp>(
                runtime, std::move(settings), std::move(factory), std::move(asker)
            ));
        }};
}

}  // namespace berth::chat
