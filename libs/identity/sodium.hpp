// SPDX-License-Identifier: Apache-2.0
// Private to libs/identity: the one place that initialises libsodium, and the SHA-512/256 it does
// not name.
#pragma once

#include <string>
#include <string_view>

namespace berth::identity::detail {

/// Makes libsodium ready; every entry of this lib calls it. Thread-safe; aborts when libsodium
/// cannot start.
void ensure_sodium();

/// SHA-512/256 (FIPS 180-4 section 5.3.6.2), 32 bytes: what NATS tools hash claims with.
std::string sha512_256(std::string_view bytes);

inline const unsigned char* bytes_of(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
}

inline unsigned char* bytes_of(std::string& text) {
    return reinterpret_cast<unsigned char*>(text.data());
}

}  // namespace berth::identity::detail
