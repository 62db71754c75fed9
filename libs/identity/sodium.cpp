// SPDX-License-Identifier: Apache-2.0
// libsodium's start, and SHA-512 from the other starting value that makes it SHA-512/256.
#include "identity/sodium.hpp"

#include <sodium.h>

#include <cstdlib>

namespace berth::identity::detail {

void ensure_sodium() {
    static const bool ready = sodium_init() >= 0;
    if (!ready) std::abort();  // no random source or no memory: nothing safe can follow
}

std::string sha512_256(std::string_view bytes) {
    constexpr std::uint64_t kStart[8] = {
        0x22312194FC2BF72CU,
        0x9F555FA3C84C64C2U,
        0x2393B86B6F53B151U,
        0x963877195940EABDU,
        0x96283EE2A88EFFE3U,
        0xBE5E1E2553863992U,
        0x2B0199FC2C85B8AAU,
        0x0EB72DDC81C52CA2U};
    ensure_sodium();
    crypto_hash_sha512_state state;
    crypto_hash_sha512_init(&state);
    for (int i = 0; i < 8; ++i) state.state[i] = kStart[i];
    crypto_hash_sha512_update(&state, bytes_of(bytes), bytes.size());
    unsigned char out[crypto_hash_sha512_BYTES];
    crypto_hash_sha512_final(&state, out);
    return {reinterpret_cast<const char*>(out), 32};
}

}  // namespace berth::identity::detail
