// SPDX-License-Identifier: Apache-2.0
// The bridge's own keys.
#include "discord/settings.hpp"

#include <mutex>

#include "chat/commands.hpp"
#include "chat/settings.hpp"
#include "core/fd.hpp"
#include "discord/discord.hpp"

namespace berth::discord {
namespace {

constexpr std::size_t kMaxTokenFile = 8'192;

/// The token as its file says it now; what it said last where the file is gone.
class TokenFile {
public:
    TokenFile(std::string path, Secret first) : path_(std::move(path)), last_(std::move(first)) {}
    Secret read() {
        const std::lock_guard lock(mutex_);
        const SteadyTime now = std::chrono::steady_clock::now();
        if (now - read_at_ < kLookEvery) return last_;
        read_at_ = now;
        auto text = read_file(path_, kMaxTokenFile);
        if (!text) return last_;
        while (!text->empty() &&
               (text->back() == '\n' || text->back() == '\r' || text->back() == ' '))
            text->pop_back();
        if (!text->empty()) last_ = Secret(std::move(*text));
        return last_;
    }

private:
    static constexpr milliseconds kLookEvery{1'000};
    const std::string path_;
    std::mutex mutex_;
    Secret last_;           // by mutex_
    SteadyTime read_at_{};  // by mutex_
};

std::vector<Verb> menu() {
    std::vector<Verb> out;
    for (const chat::Verb& verb : chat::verbs())
        out.push_back({std::string(verb.name), std::string(verb.summary), std::string(verb.usage)});
    return out;
}

}  // namespace

Result<chat::PlatformFactory> read_platform(config::Reader& reader) {
    Secret token = chat::read_secret_file(reader, "token_file");
    auto file = std::make_shared<TokenFile>(reader.get_string("token_file"), std::move(token));
    const std::string api_url = reader.get_string("api_url", kApiUrl);
    if (!api_url.starts_with("https://") && !api_url.starts_with("http://"))
        reader.reject("api_url", "must begin with https://");
    return chat::PlatformFactory([=]() -> Result<std::unique_ptr<chat::Platform>> {
        Options options;
        options.token = [file] { return file->read(); };
        options.api_url = api_url;
        options.verbs = menu();
        return make_platform(std::move(options));
    });
}

}  // namespace berth::discord
