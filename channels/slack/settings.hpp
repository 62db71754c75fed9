// SPDX-License-Identifier: Apache-2.0
// What the Slack bridge is told by its settings file, besides what every bridge is.
#pragma once

#include <string>

#include "chat/settings.hpp"
#include "config/config.hpp"
#include "core/time.hpp"

namespace berth::slack {

struct Settings {
    bool socket_mode = true;  ///< else HTTP: Slack calls the bridge
    std::string api_url = "https://slack.com/api";
    chat::LiveSecret bot_token;       ///< xoxb-…
    chat::LiveSecret app_token;       ///< xapp-…, Socket Mode
    chat::LiveSecret signing_secret;  ///< HTTP

    // Paces; tests are in more of a hurry.
    milliseconds hello{10'000};       ///< from the connection to Slack's first word
    milliseconds first_retry{500};    ///< doubles up to 15 s
    milliseconds ping_every{10'000};  ///< three unanswered end a connection
    milliseconds auth_every{10'000};  ///< a revoked token is known well within 30 s
};

Settings read_settings(config::Reader& reader);

}  // namespace berth::slack
