// SPDX-License-Identifier: Apache-2.0
// The gateway as a service: its settings, its asker, its own commands, and when it is ready.
#include "gateway/app.hpp"

#include "gateway/chat_handlers.hpp"
#include "gateway/gateway.hpp"
#include "gateway/repo.hpp"

namespace berth::gateway {
namespace {

class GatewayApp final : public service::App {
public:
    GatewayApp(
        service::Runtime& runtime, GatewaySettings settings, std::unique_ptr<bus::Asker> asker
    )
        : asker_(std::move(asker)),
          gateway_(
              std::move(settings),
              {runtime.bus(), *asker_, runtime.pool(), runtime.metrics(), &runtime.relay()}
          ),
          handlers_(runtime.make_handlers()) {
        bind_chat(*handlers_, runtime.pool());
    }

    Result<void> start() override {
        BERTH_TRY(gateway_.start());
        return handlers_->start();
    }
    void stop() override {
        handlers_->stop();
        gateway_.stop();
    }

private:
    std::unique_ptr<bus::Asker> asker_;
    Gateway gateway_;
    std::unique_ptr<service::Handlers> handlers_;  // last: consumers stop before what they use goes
};

}  // namespace

service::Service service() {
    return {
        "gateway",
        "serves the HTTP API and turns requests into commands",
        migrations(),
        [](service::Runtime& runtime,
           config::Reader& reader) -> Result<std::unique_ptr<service::App>> {
            auto settings = read_gateway_settings(reader);
            BERTH_ASSIGN(
                auto asker,
                bus::Asker::create(runtime.bus(), {"gateway", runtime.settings().instance})
            );
            return std::unique_ptr<service::App>(
                std::make_unique<GatewayApp>(runtime, std::move(settings), std::move(asker))
            );
        }};
}

}  // namespace berth::gateway
