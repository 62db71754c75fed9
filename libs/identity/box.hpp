// SPDX-License-Identifier: Apache-2.0
// A secret on its way through others' hands: sealed for one key, opened by its owner alone.
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"
#include "core/secret.hpp"

namespace berth::identity {

/// An X25519 key pair to be answered with a sealed secret. Immutable.
class Box {
public:
    /// The same seed (at least 32 random bytes) and purpose give the same pair: a question that is
    /// repeated can open the answer of the first.
    Box(const Secret& seed, std::string_view purpose);

    /// 43 characters of base64url: what the answerer seals for.
    const std::string& public_key() const { return public_key_; }
    /// What was sealed for it. Error "bad_seal".
    Result<Secret> open(std::string_view sealed) const;

private:
    std::string public_key_;
    Secret private_key_;
};

/// `text` sealed for `public_key`, in base64url; each call gives another text. Error
/// "bad_public_key".
Result<std::string> seal_for(std::string_view public_key, const Secret& text);

}  // namespace berth::identity
