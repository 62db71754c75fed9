// SPDX-License-Identifier: Apache-2.0
// The keys of the settings file that are Telegram's own, and the commands menu.
#include "chat/settings.hpp"

#include <algorithm>

#include "chat/commands.hpp"
#include "telegram/telegram.hpp"

namespace berth::telegram {
namespace {

bool good_secret(const Secret& secret) {
    const std::string& text = secret.reveal();
    return !text.empty() && text.size() <= 256 && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '_' || c == '-';
    });
}

}  // namespace

Result<chat::PlatformFactory> read_platform(config::Reader& reader) {
    Settings settings;
    settings.token = chat::follow_secret_file(reader, "token_file");
    settings.api_url = reader.get_string("api_url", settings.api_url);
    settings.webhook_url = reader.get_string("webhook_url");
    if (!settings.webhook_url.empty()) {
        chat::require_listener(reader, "webhook_url", "Telegram");
        settings.webhook_secret = chat::read_secret_file(reader, "webhook_secret_file");
        if (!good_secret(settings.webhook_secret)) {
            reader.reject("webhook_secret_file", "must hold 1 to 256 of A-Z a-z 0-9 _ -");
        }
    } else {
        (void)reader.get_string("webhook_secret_file");
    }
    settings.menu.push_back({"berth", "Berth: say what, or help"});
    for (const chat::Verb& verb : chat::verbs()) {
        settings.menu.push_back({std::string(verb.name), std::string(verb.summary)});
    }
    return chat::PlatformFactory([settings] {
        return Result<std::unique_ptr<chat::Platform>>(make_platform(settings));
    });
}

}  // namespace berth::telegram
