// SPDX-License-Identifier: Apache-2.0
// lease_broker put together: handlers, and the reaper and keeper that one of its
// replicas leads.
#include "lease_broker/app.hpp"

#include "lease_broker/keeper.hpp"
#include "service/leader_loop.hpp"

namespace berth::lease {
namespace {

class LeaseApp final : public service::App {
public:
    LeaseApp(service::Runtime& runtime, LeaseSettings settings)
        : settings_(std::move(settings)),
          profiles_(settings_.profiles, runtime.pool()),
          fleet_(settings_, profiles_, Random::system()),
          handlers_(settings_, profiles_, runtime.pool(), Random::system(), fleet_),
          reaper_(handlers_, runtime),
          keeper_(settings_, profiles_, fleet_, runtime),
          reaping_(
              runtime.database(),
              Reaper::kOffice,
              settings_.reap_every,
              [this](std::int64_t fence) { return reaper_.look(fence); }
          ),
          keeping_(
              runtime.database(),
              Keeper::kOffice,
              settings_.pool_every,
              [this](std::int64_t fence) { return keeper_.look(fence); }
          ),
          bound_(runtime.make_handlers()) {
        handlers_.bind(*bound_);
    }

    Result<void> start() override {
        BERTH_TRY(profiles_.start());
        BERTH_TRY(bound_->start());
        reaping_.start();
        keeping_.start();
        return {};
    }
    void stop() override {
        bound_->stop();
        keeping_.stop();
        reaping_.stop();
        profiles_.stop();
    }

private:
    const LeaseSettings settings_;
    Profiles profiles_;
    Fleet fleet_;
    LeaseHandlers handlers_;
    Reaper reaper_;
    Keeper keeper_;
    service::LeaderLoop reaping_;
    service::LeaderLoop keeping_;
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
