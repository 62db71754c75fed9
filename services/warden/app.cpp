// SPDX-License-Identifier: Apache-2.0
// warden put together: handlers, and the deadlines and beats that one of its replicas leads.
#include "warden/app.hpp"

#include "service/leader_loop.hpp"
#include "warden/beats.hpp"
#include "warden/clock.hpp"
#include "warden/settings.hpp"

namespace berth::warden {
namespace {

class WardenApp final : public service::App {
public:
    explicit WardenApp(service::Runtime& runtime)
        : runtime_(runtime),
          handlers_(runtime.pool(), presences_, Random::system(), runtime.bus()),
          deadlines_(handlers_, runtime),
          beats_(handlers_, presences_, runtime),
          watching_(
              runtime.database(),
              Deadlines::kOffice,
              kDeadlinesEvery,
              [this](std::int64_t fence) { return deadlines_.look(fence); }
          ),
          beating_(
              runtime.database(),
              Beats::kOffice,
              kBeatEvery,
              [this](std::int64_t fence) { return beats_.look(fence); }
          ),
          bound_(runtime.make_handlers()) {
        handlers_.bind(*bound_);
    }

    Result<void> start() override {
        BERTH_TRY(presences_.listen(runtime_.bus()));
        BERTH_TRY(beats_.start());
        BERTH_TRY(bound_->start());
        watching_.start();
        beating_.start();
        return {};
    }
    void stop() override {
        bound_->stop();
        beating_.stop();
        watching_.stop();
        beats_.stop();
        presences_.stop();
    }

private:
    service::Runtime& runtime_;
    Presences presences_;
    WardenHandlers handlers_;
    Deadlines deadlines_;
    Beats beats_;
    service::LeaderLoop watching_;
    service::LeaderLoop beating_;
    std::unique_ptr<service::Handlers> bound_;  // last: consumers stop before what they use goes
};

}  // namespace

service::Service service() {
    return {
        "warden",
        "holds commands until a person approves, halts, and keeps the audit",
        migrations(),
        [](service::Runtime& runtime, config::Reader&) -> Result<std::unique_ptr<service::App>> {
            return std::unique_ptr<service::App>(std::make_unique<WardenApp>(runtime));
        }};
}

}  // namespace berth::warden
