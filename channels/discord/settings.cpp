// SPDX-License-Identifier: Apache-2.0
// The bridge's own keys.
#include "discord/settings.hpp"

#include "chat/commands.hpp"
#include "chat/settings.hpp"
#include "discord/discord.hpp"

namespace berth::discord {
namespace {

std::vector<Verb> menu() {
    std::vector<Verb> out;
    for (const chat::Verb& verb : chat::verbs())
        out.push_back({std::string(verb.name), std::string(verb.summary), std::string(verb.usage)});
    return out;
}

}  // namespace

Result<chat::PlatformFactory> read_platform(config::Reader& reader) {
    const chat::LiveSecret token = chat::follow_secret_file(reader, "token_file");
    const std::string api_url = reader.get_string("api_url", kApiUrl);
    if (!api_url.starts_with("https://") && !api_url.starts_with("http://"))
        reader.reject("api_url", "must begin with https://");
    return chat::PlatformFactory([=]() -> Result<std::unique_ptr<chat::Platform>> {
        Options options;
        options.token = [token] { return token.read(); };
        options.api_url = api_url;
        options.verbs = menu();
        return make_platform(std::move(options));
    });
}

}  // namespace berth::discord
