// SPDX-License-Identifier: Apache-2.0
// By libsodium.
#include "identity/ed25519.hpp"

#include <sodium.h>

#include "identity/sodium.hpp"

namespace berth::identity {

bool verify_ed25519(
    std::string_view public_key, std::string_view message, std::string_view signature
) {
    detail::ensure_sodium();
    return public_key.size() == crypto_sign_PUBLICKEYBYTES &&
           signature.size() == crypto_sign_BYTES &&
           crypto_sign_verify_detached(
               detail::bytes_of(signature),
               detail::bytes_of(message),
               message.size(),
               detail::bytes_of(public_key)
           ) == 0;
}

}  // namespace berth::identity
