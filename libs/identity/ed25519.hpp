// SPDX-License-Identifier: Apache-2.0
// Ed25519 signatures of others, by raw keys.
#pragma once

#include <string_view>

namespace berth::identity {

/// True when `signature` (64 raw bytes) is that of `public_key` (32 raw bytes) over `message`.
/// False for anything malformed. Thread-safe.
bool verify_ed25519(
    std::string_view public_key, std::string_view message, std::string_view signature
);

}  // namespace berth::identity
