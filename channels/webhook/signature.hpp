// SPDX-License-Identifier: Apache-2.0
// Standard Webhooks (standardwebhooks.com): who receives an event can tell that it is ours.
#pragma once

#include <string>
#include <string_view>

#include "core/secret.hpp"
#include "core/time.hpp"

namespace berth::webhook {

/// "whsec_" and 32 random bytes in base64.
Secret make_secret();

/// The value of webhook-signature: "v1,<base64>", and a second one behind a space where there is an
/// old secret. Signed is "<id>.<unix seconds>.<body>".
std::string sign(
    const Secret& secret,
    const Secret& old_secret,
    std::string_view id,
    WallTime at,
    std::string_view body
);

}  // namespace berth::webhook
