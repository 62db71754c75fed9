// SPDX-License-Identifier: Apache-2.0
// SHA-256 and randomness for tokens and derived ids.
#include "identity/token.hpp"

#include <sodium.h>

#include <algorithm>

#include "core/id.hpp"
#include "core/text.hpp"
#include "identity/sodium.hpp"

namespace berth::identity {
namespace {

constexpr std::string_view kPrefix = "berth_";
constexpr std::size_t kTokenBytes = 32;
constexpr std::size_t kTokenText = 43;  // 32 bytes in base64url without padding

/// Length first, so that no two lists of fields run together into the same bytes.
void append_field(std::string& out, std::string_view field) {
    const auto size = static_cast<std::uint64_t>(field.size());
    for (unsigned shift = 0; shift < 64; shift += 8)
        out += static_cast<char>((size >> shift) & 0xFFU);
    out += field;
}

}  // namespace

Secret make_token() {
    detail::ensure_sodium();
    std::string raw(kTokenBytes, '\0');
    randombytes_buf(raw.data(), raw.size());
    const Secret bytes(std::move(raw));
    const Secret text(base64url(bytes.reveal()));
    return Secret(std::string(kPrefix) + text.reveal());
}

Secret derive_token(const Secret& key, std::string_view bytes) {
    const Secret text(base64url(hmac_sha256(key.reveal(), bytes)));
    return Secret(std::string(kPrefix) + text.reveal());
}

bool looks_like_token(std::string_view text) {
    if (text.size() != kPrefix.size() + kTokenText || text.substr(0, kPrefix.size()) != kPrefix)
        return false;
    return std::all_of(
        text.begin() + static_cast<std::ptrdiff_t>(kPrefix.size()),
        text.end(),
        [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                   c == '-' || c == '_';
        }
    );
}

std::string hash_token(const Secret& token) { return hex(sha256(token.reveal())); }

std::string hmac_sha256(std::string_view key, std::string_view bytes) {
    detail::ensure_sodium();
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, detail::bytes_of(key), key.size());
    crypto_auth_hmacsha256_update(&state, detail::bytes_of(bytes), bytes.size());
    std::string out(crypto_auth_hmacsha256_BYTES, '\0');
    crypto_auth_hmacsha256_final(&state, reinterpret_cast<unsigned char*>(out.data()));
    sodium_memzero(&state, sizeof state);
    return out;
}

std::string derive_command_id(
    std::string_view org, std::string_view user, std::string_view idempotency_key
) {
    std::string fields = "berth command id v1";
    append_field(fields, org);
    append_field(fields, user);
    append_field(fields, idempotency_key);
    return ulid_from_bytes(sha256(fields).substr(0, 16));
}

}  // namespace berth::identity
