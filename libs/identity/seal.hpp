// SPDX-License-Identifier: Apache-2.0
// Secrets at rest: sealed by a key that lies elsewhere.
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"
#include "core/secret.hpp"

namespace berth::identity {

/// `text` encrypted and authenticated (XSalsa20-Poly1305), in base64url. Any key of at least 32
/// bytes; each call gives another text.
std::string seal(const Secret& key, const Secret& text);

/// What was sealed. Error "bad_seal" for another key and for anything else.
Result<Secret> unseal(const Secret& key, std::string_view sealed);

}  // namespace berth::identity
