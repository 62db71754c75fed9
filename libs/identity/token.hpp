// SPDX-License-Identifier: Apache-2.0
// API tokens and the ids derived from digests: what the gateway keeps instead of secrets.
#pragma once

#include <string>
#include <string_view>

#include "core/secret.hpp"
#include "identity/sha256.hpp"

namespace berth::identity {

/// "berth_" and 256 random bits in base64url: 49 characters.
Secret make_token();

/// A token that this key and these bytes always give again: the answer to a request that is
/// repeated can then hold the secret that nobody has kept. `key` has at least 32 random bytes.
Secret derive_token(const Secret& key, std::string_view bytes);

/// True for the form make_token gives; anything else need not be looked up.
bool looks_like_token(std::string_view text);

/// What is stored of a token: SHA-256 in lower-case hex. A token holds 256 random bits, so there is
/// nothing to guess and no two are alike: a salt or a slow hash would cost time at each request and
/// win nothing.
std::string hash_token(const Secret& token);

/// The 32 raw bytes of HMAC-SHA-256 (RFC 2104), keys of any length.
std::string hmac_sha256(std::string_view key, std::string_view bytes);

/// The command id (a ULID text) of a request that carries an idempotency key: the same caller and
/// key give the same id, another caller's never do. Its time part is not a time.
std::string derive_command_id(
    std::string_view org, std::string_view user, std::string_view idempotency_key
);

}  // namespace berth::identity
