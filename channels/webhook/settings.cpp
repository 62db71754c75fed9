// SPDX-License-Identifier: Apache-2.0
// webhook's keys of its settings file.
#include "webhook/settings.hpp"

namespace berth::webhook {

WebhookSettings read_webhook_settings(config::Reader& reader) {
    WebhookSettings out;
    out.key_file = reader.require_string("key_file");
    for (const auto& text : reader.get_list("allowed_networks")) {
        auto network = parse_network(text);
        if (network) {
            out.allowed_networks.push_back(std::move(*network));
        } else {
            reader.reject("allowed_networks", network.error().message);
        }
    }
    out.allow_http = reader.get_bool("allow_http", out.allow_http);
    out.timeout = reader.get_duration("timeout", out.timeout);
    if (out.timeout < milliseconds{100} || out.timeout > milliseconds{60'000})
        reader.reject("timeout", "must be 100ms to 60s");
    return out;
}

}  // namespace berth::webhook
