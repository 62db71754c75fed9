// SPDX-License-Identifier: Apache-2.0
// NATS nkeys: Ed25519 keys in the texts NATS uses ("U…" public, "SU…" seed), with which JWTs are
// signed.
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"
#include "core/secret.hpp"

namespace berth::identity {

enum class KeyKind { kOperator, kAccount, kUser };

/// One Ed25519 key with its private half. Copyable; the private half is wiped with each copy.
/// Immutable, so any number of threads may use one.
class KeyPair {
public:
    /// A new key from the kernel's randomness.
    static KeyPair create(KeyKind kind);
    /// From "SO…", "SA…" or "SU…". Error code "bad_seed"; the message never holds any of the text.
    static Result<KeyPair> from_seed(const Secret& seed);

    KeyKind kind() const { return kind_; }
    /// 56 characters beginning with O, A or U.
    const std::string& public_key() const { return public_key_; }
    const Secret& seed() const { return seed_; }
    /// The 64 raw bytes of the Ed25519 signature.
    std::string sign(std::string_view message) const;

private:
    KeyPair(KeyKind kind, std::string_view raw_seed);

    KeyKind kind_;
    std::string public_key_;
    Secret seed_;
    Secret signing_key_;  // libsodium's 64 bytes: seed and public key
};

/// The kind of a well-formed public key; error code "bad_public_key" for anything else, seeds
/// included.
Result<KeyKind> kind_of_public_key(std::string_view public_key);

/// True when `signature` (64 raw bytes) is `public_key`'s over `message`. False for anything
/// malformed.
bool verify(std::string_view public_key, std::string_view message, std::string_view signature);

/// CRC-16/XMODEM: polynomial 0x1021, start 0, not reflected.
unsigned crc16(std::string_view bytes);

}  // namespace berth::identity
