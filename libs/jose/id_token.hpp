// SPDX-License-Identifier: Apache-2.0
// ID tokens of OpenID Connect: a statement of an issuer about who somebody is, and the checks
// without which it is only a text.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::jose {

class PublicKey;

/// The signing keys of an issuer (RFC 7517). Immutable; may be shared between threads.
class KeySet {
public:
    /// Keys of other kinds, of other uses and of fewer than 2,048 bits are left out. Error
    /// "bad_keys" where the text is no key set.
    static Result<KeySet> parse(std::string_view json);

    std::size_t size() const { return keys_.size(); }

private:
    friend class Verifier;
    struct Entry {
        std::string id;         ///< kid, or empty
        std::string algorithm;  ///< RS256 or ES256
        std::shared_ptr<const PublicKey> key;
    };
    std::vector<Entry> keys_;
};

struct IdTokenRules {
    std::string issuer;    ///< iss must be this, letter by letter
    std::string audience;  ///< our client id: must be in aud
    std::string nonce;     ///< where the token has one, it must be this
};

/// How far two clocks may be apart.
inline constexpr seconds kClockLeeway{60};
/// An ID token is made for this sign-in; an old one was made for another.
inline constexpr seconds kMaxIdTokenAge{600};
inline constexpr std::size_t kMaxIdToken = 64U << 10U;

/// The claims of `token` where everything is right (OpenID Connect Core 3.1.3.7): RS256 or ES256 by
/// a key of `keys`, iss, aud, azp, exp, iat, nbf, nonce, sub. Errors: "unknown_key" (fetch the keys
/// again: the issuer may have new ones) and "bad_id_token", whose message names the claim.
Result<Json> verify_id_token(
    std::string_view token, const KeySet& keys, const IdTokenRules& rules, WallTime now
);

}  // namespace berth::jose
