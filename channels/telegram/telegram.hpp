// SPDX-License-Identifier: Apache-2.0
// Telegram as a chat platform: long polling or a webhook in, the Bot API out.
#pragma once

#include <memory>
#include <string>

#include "chat/bridge.hpp"
#include "chat/settings.hpp"
#include "core/secret.hpp"
#include "core/time.hpp"
#include "telegram/wire.hpp"

namespace berth::telegram {

struct Settings {
    std::string api_url = "https://api.telegram.org";  ///< or a Bot API server of one's own
    chat::LiveSecret token;
    /// Where Telegram posts updates (https, ends at the bridge's web_listen); empty: long polling.
    std::string webhook_url;
    Secret webhook_secret;  ///< [A-Za-z0-9_-]{1,256}; comes back with each post
    std::vector<MenuCommand> menu;

    // Waits, each with its reason.
    milliseconds poll{20'000};           ///< a revoked token shows when the poll ends: within 30 s
    milliseconds request{25'000};        ///< of any other request
    milliseconds first_pause{500};       ///< after a failure; doubles with jitter …
    milliseconds slowest_pause{20'000};  ///< … up to this
    milliseconds watch{20'000};          ///< webhook: between two looks at token and address
    milliseconds settle{2'000};  ///< a click nobody answered loses its waiting sign after this
};

/// The settings file's keys: token_file, api_url, webhook_url, webhook_secret_file.
Result<chat::PlatformFactory> read_platform(config::Reader& reader);

std::unique_ptr<chat::Platform> make_platform(Settings settings);

}  // namespace berth::telegram
