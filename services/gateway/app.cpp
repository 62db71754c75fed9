// SPDX-License-Identifier: Apache-2.0
// The gateway as a service: its settings, its asker, and when it is ready.
#include "gateway/app.hpp"

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
              std::move(settings), {runtime.bus(), *asker_, runtime.pool(), runtime.metrics()}
          ) {}

    Result<void> start() override { return gateway_.start(); }
    void stop() override { gateway_.stop(); }

private:
    std::unique_ptr<bus::Asker> asker_;
    Gateway gateway_;
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
