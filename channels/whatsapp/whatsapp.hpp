// SPDX-License-Identifier: Apache-2.0
// WhatsApp as a chat platform: Meta's webhooks in, its Cloud API out.
#pragma once

#include <memory>
#include <string>

#include "chat/bridge.hpp"
#include "chat/settings.hpp"
#include "core/time.hpp"
#include "whatsapp/wire.hpp"

namespace berth::whatsapp {

struct Settings {
    std::string api_url = "https://graph.facebook.com";
    std::string api_version = "v23.0";
    std::string phone_id;           ///< the business number's id
    chat::LiveSecret token;         ///< of a system user of the business
    chat::LiveSecret app_secret;    ///< signs the webhooks
    chat::LiveSecret verify_token;  ///< comes with the challenge when the webhook is registered
    std::string webhook_path = "/whatsapp";
    Template window_template;    ///< said instead where the 24-hour window is closed
    Template approval_template;  ///< likewise, with an approval's buttons

    // Waits, each with its reason.
    milliseconds request{12'000};        ///< a file is two requests, and a closed window two more
    milliseconds watch{20'000};          ///< between two looks at the token: it shows within 30 s
    milliseconds first_pause{500};       ///< after a failure; doubles with jitter …
    milliseconds slowest_pause{20'000};  ///< … up to this
};

/// The settings file's keys: token_file, app_secret_file, verify_token_file, phone_number_id,
/// webhook_path, api_url, api_version, template, approval_template.
Result<chat::PlatformFactory> read_platform(config::Reader& reader);

std::unique_ptr<chat::Platform> make_platform(Settings settings);

}  // namespace berth::whatsapp
