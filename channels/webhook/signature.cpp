// SPDX-License-Identifier: Apache-2.0
// HMAC-SHA-256 by the bytes behind "whsec_".
#include "webhook/signature.hpp"

#include <array>
#include <span>

#include "core/random.hpp"
#include "core/text.hpp"
#include "identity/token.hpp"

namespace berth::webhook {
namespace {

constexpr std::string_view kPrefix = "whsec_";
constexpr std::size_t kBytes = 32;

std::string one(const Secret& secret, const std::string& text) {
    std::string_view encoded = secret.reveal();
    encoded.remove_prefix(std::min(kPrefix.size(), encoded.size()));
    const auto key = decode_base64(encoded);
    // Our own secrets always decode.
    return "v1," + base64(identity::hmac_sha256(key ? *key : std::string(), text));
}

}  // namespace

Secret make_secret() {
    std::array<std::uint8_t, kBytes> bytes{};
    Random::system().fill(bytes);
    return Secret(
        std::string(kPrefix) + base64({reinterpret_cast<const char*>(bytes.data()), bytes.size()})
    );
}

std::string sign(
    const Secret& secret,
    const Secret& old_secret,
    std::string_view id,
    WallTime at,
    std::string_view body
) {
    const std::string text = std::string(id) + "." +
                             std::to_string(to_unix_micros(at) / 1'000'000) + "." +
                             std::string(body);
    std::string out = one(secret, text);
    if (!old_secret.empty()) out += " " + one(old_secret, text);
    return out;
}

}  // namespace berth::webhook
