// SPDX-License-Identifier: Apache-2.0
// RFC 8628's messages, which GitHub and OpenID providers have in common.
#include "gateway/device_flow.hpp"

#include <algorithm>

#include "core/json.hpp"
#include "net/http_types.hpp"

namespace berth::gateway {
namespace {

// RFC 8628: 5 s where the provider does not say. What it says is held within sense.
constexpr std::int64_t kDefaultInterval = 5;
constexpr std::int64_t kMaxInterval = 60;
constexpr std::int64_t kMaxLife = 1'800;
constexpr std::size_t kMaxShown = 200;
constexpr std::size_t kMaxUserCode = 64;
constexpr std::size_t kMaxUri = 2'048;

bool is_web_address(const std::string& uri) {
    const bool scheme = uri.starts_with("https://") || uri.starts_with("http://");
    return scheme && uri.size() <= kMaxUri &&
           std::all_of(uri.begin(), uri.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

std::string form_encode(const FormFields& fields) {
    std::string out;
    for (const auto& [name, value] : fields)
        out +=
            (out.empty() ? "" : "&") + net::percent_encode(name) + "=" + net::percent_encode(value);
    return out;
}

std::string shown(std::string_view text) {
    std::string out(text.substr(0, kMaxShown));
    for (char& c : out) {
        if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
    }
    return out;
}

Result<DeviceStart> read_device_start(const std::string& body) {
    const auto json = Json::parse(body);
    const Error bad = unavailable(
        "provider_error", "the sign-in provider's answer is no device authorization (RFC 8628)"
    );
    if (!json || !json->is_object()) return bad;
    DeviceStart out;
    out.device_code = Secret(json->string_or("device_code", ""));
    out.user_code = json->string_or("user_code", "");
    out.verification_uri = json->string_or("verification_uri", "");
    out.verification_uri_complete = json->string_or("verification_uri_complete", "");
    const std::int64_t life = json->int_or("expires_in", 0);
    if (out.device_code.empty() || out.user_code.empty() || out.user_code.size() > kMaxUserCode ||
        out.user_code != shown(out.user_code) || !is_web_address(out.verification_uri) || life <= 0)
        return bad;
    if (!is_web_address(out.verification_uri_complete)) out.verification_uri_complete.clear();
    out.expires_in = seconds(std::min(life, kMaxLife));
    out.interval = seconds(
        std::clamp<std::int64_t>(json->int_or("interval", kDefaultInterval), 1, kMaxInterval)
    );
    return out;
}

Result<DevicePoll> read_poll_error(const std::string& code, const std::string& words) {
    using State = DevicePoll::State;
    if (code == "authorization_pending") return DevicePoll{State::kPending};
    if (code == "slow_down") return DevicePoll{State::kSlowDown};
    if (code == "access_denied") return DevicePoll{State::kDenied};
    if (code == "expired_token") return DevicePoll{State::kExpired};
    return unavailable(
        "provider_error",
        "the sign-in provider answers " + shown(code.empty() ? "without a token" : code) +
            (words.empty() ? "" : ": " + shown(words))
    );
}

}  // namespace berth::gateway
