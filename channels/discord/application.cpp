// SPDX-License-Identifier: Apache-2.0
// Three requests at the start.
#include "discord/application.hpp"

#include <charconv>
#include <optional>

#include "discord/settings.hpp"
#include "identity/ed25519.hpp"

namespace berth::discord {
namespace {

std::optional<std::string> from_hex(std::string_view text) {
    if (text.size() % 2 != 0) return std::nullopt;
    std::string bytes;
    for (std::size_t i = 0; i < text.size(); i += 2) {
        unsigned value = 0;
        const char* const end = text.data() + i + 2;
        const auto read = std::from_chars(text.data() + i, end, value, 16);
        if (read.ec != std::errc{} || read.ptr != end) return std::nullopt;
        bytes += static_cast<char>(value);
    }
    return bytes;
}

std::string_view header(const chat::WebRequest& request, std::string_view name) {
    for (const auto& [key, value] : request.headers) {
        if (key == name) return value;
    }
    return {};
}

Answer broken(std::string reason) {
    Answer answer;
    answer.error = {chat::SendError::Kind::kLater, milliseconds{0}, std::move(reason)};
    return answer;
}

}  // namespace

Answer Application::load(Bot& bot) {
    Call call;
    call.route = call.path = "/applications/@me";
    const Answer application = api_.call(call);
    if (!application.ok) return application;
    call.route = call.path = "/users/@me";
    const Answer user = api_.call(call);
    if (!user.ok) return user;
    const Bot found{user.body.string_or("id", ""), application.body.string_or("id", "")};
    const auto key = from_hex(application.body.string_or("verify_key", ""));
    if (!is_id(found.id) || !is_id(found.application))
        return broken("Discord does not say who the bot is");
    call.method = "PUT";
    call.route = "/applications/{id}/commands";
    call.path = "/applications/" + found.application + "/commands";
    call.body = commands_of(verbs_);
    Answer commands = api_.call(call);
    if (!commands.ok) return commands;
    bot = found;
    const std::lock_guard lock(mutex_);
    key_ = key.value_or("");
    return commands;
}

Application::Verdict Application::verify(const chat::WebRequest& request, WallTime now) const {
    std::string key;
    {
        const std::lock_guard lock(mutex_);
        key = key_;
    }
    if (key.empty()) return Verdict::kNotYet;
    const std::string_view stamp = header(request, "x-signature-timestamp");
    const auto signature = from_hex(header(request, "x-signature-ed25519"));
    if (!signature || !identity::verify_ed25519(key, std::string(stamp) + request.body, *signature))
        return Verdict::kForged;
    long long said = 0;
    const auto read = std::from_chars(stamp.data(), stamp.data() + stamp.size(), said);
    const long long seconds_now =
        std::chrono::duration_cast<seconds>(now.time_since_epoch()).count();
    const bool whole = read.ec == std::errc{} && read.ptr == stamp.data() + stamp.size();
    if (!whole || said > seconds_now + kSignatureAge.count() ||
        said < seconds_now - kSignatureAge.count())
        return Verdict::kOld;
    return Verdict::kGood;
}

}  // namespace berth::discord
