// SPDX-License-Identifier: Apache-2.0
// run_manager put together: handlers, and the watch that one of its replicas leads.
#include "run_manager/app.hpp"

#include "run_manager/handlers.hpp"
#include "run_manager/settings.hpp"
#include "run_manager/watch.hpp"
#include "service/leader_loop.hpp"

namespace berth::run {
namespace {

class RunApp final : public service::App {
public:
    RunApp(service::Runtime& runtime, std::unique_ptr<bus::Asker> asker)
        : asker_(std::move(asker)),
          handlers_(runtime.pool(), *asker_),
          watch_(handlers_, runtime),
          leader_(
              runtime.database(),
              "watch",
              kLookEvery,
              [this](std::int64_t fence) { return watch_.look(fence); }
          ),
          bound_(runtime.make_handlers()) {
        handlers_.bind(*bound_);
    }

    Result<void> start() override {
        BERTH_TRY(watch_.listen());
        BERTH_TRY(bound_->start());
        leader_.start();
        return {};
    }
    void stop() override {
        bound_->stop();
        leader_.stop();
        watch_.stop();
    }

private:
    std::unique_ptr<bus::Asker> asker_;
    RunHandlers handlers_;
    Watch watch_;
    service::LeaderLoop leader_;
    std::unique_ptr<service::Handlers> bound_;  // last: consumers stop before what they use goes
};

}  // namespace

service::Service service() {
    return {
        "run",
        "follows runs from start to end",
        migrations(),
        [](service::Runtime& runtime, config::Reader&) -> Result<std::unique_ptr<service::App>> {
            BERTH_ASSIGN(
                auto asker,
                bus::Asker::create(runtime.bus(), {runtime.token(), runtime.settings().instance})
            );
            return std::unique_ptr<service::App>(std::make_unique<RunApp>(runtime, std::move(asker))
            );
        }};
}

}  // namespace berth::run
