// SPDX-License-Identifier: Apache-2.0
// webhook put together: handlers on every replica, a sender that one of them leads.
#include "webhook/app.hpp"

#include "core/fd.hpp"
#include "webhook/handlers.hpp"
#include "webhook/sender.hpp"

namespace berth::webhook {
namespace {

constexpr std::size_t kShortestKey = 32;
constexpr std::size_t kLongestKey = 4'096;

class WebhookApp final : public service::App {
public:
    WebhookApp(service::Runtime& runtime, WebhookSettings settings, Secret key)
        : settings_(std::move(settings)),
          key_(std::move(key)),
          sender_(
              {runtime.bus(),
               runtime.pool(),
               runtime.database(),
               runtime.relay(),
               runtime.metrics(),
               settings_,
               key_,
               Clock::system(),
               resolve_by_system}
          ),
          handlers_(settings_, key_, runtime.pool(), [this] { sender_.wake(); }),
          bound_(runtime.make_handlers()) {
        handlers_.bind(*bound_);
    }

    Result<void> start() override {
        BERTH_TRY(bound_->start());
        sender_.start();
        return {};
    }
    void stop() override {
        bound_->stop();
        sender_.stop();
    }

private:
    const WebhookSettings settings_;
    const Secret key_;
    Sender sender_;
    WebhookHandlers handlers_;
    std::unique_ptr<service::Handlers> bound_;  // last: consumers stop before what they use goes
};

Result<Secret> read_key(const std::string& path) {
    BERTH_ASSIGN(auto text, read_file(path, kLongestKey));
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
    if (text.size() < kShortestKey)
        return invalid("bad_key", path + " must hold at least 32 characters that nobody guesses");
    return Secret(std::move(text));
}

}  // namespace

service::Service service() {
    return {
        "webhook",
        "tells subscribers of events by HTTP",
        migrations(),
        [](service::Runtime& runtime,
           config::Reader& reader) -> Result<std::unique_ptr<service::App>> {
            auto settings = read_webhook_settings(reader);
            BERTH_TRY(reader.finish());
            BERTH_ASSIGN(Secret key, read_key(settings.key_file));
            return std::unique_ptr<service::App>(
                std::make_unique<WebhookApp>(runtime, std::move(settings), std::move(key))
            );
        }};
}

}  // namespace berth::webhook
