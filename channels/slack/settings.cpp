// SPDX-License-Identifier: Apache-2.0
// mode, api_url and the files of the secrets.
#include "slack/settings.hpp"

#include "slack/slack.hpp"

namespace berth::slack {

Settings read_settings(config::Reader& reader) {
    Settings out;
    const std::string mode = reader.get_string("mode", "socket");
    if (mode != "socket" && mode != "http") reader.reject("mode", "must be socket or http");
    out.socket_mode = mode != "http";
    out.api_url = reader.get_string("api_url", out.api_url);
    while (!out.api_url.empty() && out.api_url.back() == '/') out.api_url.pop_back();
    out.bot_token = chat::follow_secret_file(reader, "bot_token_file");
    if (out.socket_mode) {
        out.app_token = chat::follow_secret_file(reader, "app_token_file");
        (void)reader.get_string("signing_secret_file");
    } else {
        out.signing_secret = chat::follow_secret_file(reader, "signing_secret_file");
        (void)reader.get_string("app_token_file");
        chat::require_listener(reader, "mode", "Slack");
    }
    return out;
}

Result<chat::PlatformFactory> read_platform(config::Reader& reader) {
    const Settings settings = read_settings(reader);
    return chat::PlatformFactory([settings]() -> Result<std::unique_ptr<chat::Platform>> {
        return make_platform(settings);
    });
}

}  // namespace berth::slack
