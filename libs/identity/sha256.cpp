// SPDX-License-Identifier: Apache-2.0
// SHA-256 from libsodium, which needs no start for it.
#include "identity/sha256.hpp"

#include <sodium.h>

namespace berth::identity {

struct Sha256::State {
    crypto_hash_sha256_state value;
};

Sha256::Sha256() : state_(std::make_unique<State>()) { crypto_hash_sha256_init(&state_->value); }
Sha256::~Sha256() = default;

void Sha256::update(std::string_view bytes) {
    crypto_hash_sha256_update(
        &state_->value, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()
    );
}

std::string Sha256::finish() {
    std::string out(crypto_hash_sha256_BYTES, '\0');
    crypto_hash_sha256_final(&state_->value, reinterpret_cast<unsigned char*>(out.data()));
    return out;
}

std::string sha256(std::string_view bytes) {
    Sha256 hash;
    hash.update(bytes);
    return hash.finish();
}

}  // namespace berth::identity
