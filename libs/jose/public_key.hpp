// SPDX-License-Identifier: Apache-2.0
// Private to libs/jose: the two signatures that every issuer can make, by libcrypto.
#pragma once

#include <memory>
#include <string_view>

#include "core/result.hpp"

namespace berth::jose {

/// Immutable and thread-safe.
class PublicKey {
public:
    /// From big-endian numbers. Error "bad_keys".
    static Result<std::shared_ptr<const PublicKey>> rsa(std::string_view n, std::string_view e);
    /// A point of P-256, 32 bytes each. Error "bad_keys" also where it is not on the curve.
    static Result<std::shared_ptr<const PublicKey>> p256(std::string_view x, std::string_view y);
    ~PublicKey();
    PublicKey(const PublicKey&) = delete;
    PublicKey& operator=(const PublicKey&) = delete;

    /// RSASSA-PKCS1-v1_5 with SHA-256, or ECDSA with SHA-256 and a signature of r and s.
    bool verify(std::string_view signed_bytes, std::string_view signature) const;

private:
    explicit PublicKey(void* key, bool is_rsa) : key_(key), is_rsa_(is_rsa) {}
    void* key_;  // EVP_PKEY
    bool is_rsa_;
};

}  // namespace berth::jose
