// SPDX-License-Identifier: Apache-2.0
// The nkeys encoding (base32 of prefix, key and CRC) around libsodium's Ed25519.
#include "identity/nkeys.hpp"

#include <sodium.h>

#include "core/text.hpp"
#include "identity/sodium.hpp"

namespace berth::identity {
namespace {

using detail::bytes_of;

// Prefix bytes are chosen so that the base32 text begins with the letter: the letter's index, times
// eight.
constexpr unsigned kSeedPrefix = 18U << 3U;      // S
constexpr unsigned kOperatorPrefix = 14U << 3U;  // O
constexpr unsigned kAccountPrefix = 0U;          // A
constexpr unsigned kUserPrefix = 20U << 3U;      // U
constexpr std::size_t kKeySize = 32;

unsigned prefix_of(KeyKind kind) {
    switch (kind) {
        case KeyKind::kOperator: return kOperatorPrefix;
        case KeyKind::kAccount: return kAccountPrefix;
        case KeyKind::kUser: break;
    }
    return kUserPrefix;
}

Result<KeyKind> kind_of(unsigned prefix) {
    if (prefix == kOperatorPrefix) return KeyKind::kOperator;
    if (prefix == kAccountPrefix) return KeyKind::kAccount;
    if (prefix == kUserPrefix) return KeyKind::kUser;
    return invalid("bad_key", "the key is of another kind");
}

std::string with_crc(std::string bytes) {
    const unsigned crc = crc16(bytes);
    bytes += static_cast<char>(crc & 0xFFU);
    bytes += static_cast<char>(crc >> 8U);
    return bytes;
}

/// `size` bytes whose CRC is right, without it. The result may be secret: it is moved, never
/// copied, here.
Result<Secret> decode_checked(std::string_view text, std::size_t size) {
    auto decoded = decode_base32(text);
    if (!decoded) return invalid("bad_key", "it is not base32");
    Secret raw(*std::move(decoded));
    const std::string& bytes = raw.reveal();
    if (bytes.size() != size + 2) return invalid("bad_key", "it has the wrong length");
    const auto low = static_cast<unsigned char>(bytes[size]);
    const auto high = static_cast<unsigned char>(bytes[size + 1]);
    if (crc16(std::string_view(bytes).substr(0, size)) !=
        (low | static_cast<unsigned>(high) << 8U)) {
        return invalid("bad_key", "its checksum is wrong");
    }
    return Secret(bytes.substr(0, size));
}

unsigned byte_at(const std::string& bytes, std::size_t i) {
    return static_cast<unsigned char>(bytes[i]);
}

}  // namespace

unsigned crc16(std::string_view bytes) {
    unsigned crc = 0;
    for (const char c : bytes) {
        crc ^= static_cast<unsigned>(static_cast<unsigned char>(c)) << 8U;
        for (int bit = 0; bit < 8; ++bit)
            crc = (crc & 0x8000U) != 0 ? (crc << 1U) ^ 0x1021U : crc << 1U;
        crc &= 0xFFFFU;
    }
    return crc;
}

KeyPair::KeyPair(KeyKind kind, std::string_view raw_seed) : kind_(kind) {
    detail::ensure_sodium();
    const unsigned prefix = prefix_of(kind);
    // A seed has two prefix bytes in ten bits: five for S, then the eight of its kind.
    std::string seed;
    seed.reserve(kKeySize + 4);  // no growth: that would leave an unwiped copy behind
    seed += static_cast<char>(kSeedPrefix | (prefix >> 5U));
    seed += static_cast<char>((prefix & 31U) << 3U);
    seed += raw_seed;
    const Secret seed_bytes(with_crc(std::move(seed)));
    seed_ = Secret(base32(seed_bytes.reveal()));

    std::string signing_key(crypto_sign_SECRETKEYBYTES, '\0');
    unsigned char public_bytes[crypto_sign_PUBLICKEYBYTES];
    crypto_sign_seed_keypair(
        public_bytes, reinterpret_cast<unsigned char*>(signing_key.data()), bytes_of(raw_seed)
    );
    signing_key_ = Secret(std::move(signing_key));
    std::string key(1, static_cast<char>(prefix));
    key.append(reinterpret_cast<const char*>(public_bytes), sizeof public_bytes);
    public_key_ = base32(with_crc(std::move(key)));
}

KeyPair KeyPair::create(KeyKind kind) {
    detail::ensure_sodium();
    std::string raw(kKeySize, '\0');
    randombytes_buf(raw.data(), raw.size());
    const Secret seed(std::move(raw));
    return KeyPair(kind, seed.reveal());
}

Result<KeyPair> KeyPair::from_seed(const Secret& seed) {
    auto decoded = decode_checked(seed.reveal(), kKeySize + 2);
    if (!decoded) return invalid("bad_seed", "the seed is not valid: " + decoded.error().message);
    const std::string& bytes = decoded->reveal();
    const unsigned first = byte_at(bytes, 0);
    const unsigned second = byte_at(bytes, 1);
    if ((first & 0xF8U) != kSeedPrefix) return invalid("bad_seed", "the key is not a seed");
    const auto kind = kind_of(((first & 7U) << 5U) | (second >> 3U));
    if (!kind || (second & 7U) != 0) return invalid("bad_seed", "the seed is of another kind");
    return KeyPair(*kind, std::string_view(bytes).substr(2));
}

std::string KeyPair::sign(std::string_view message) const {
    std::string signature(crypto_sign_BYTES, '\0');
    crypto_sign_detached(
        reinterpret_cast<unsigned char*>(signature.data()),
        nullptr,
        bytes_of(message),
        message.size(),
        bytes_of(signing_key_.reveal())
    );
    return signature;
}

Result<KeyKind> kind_of_public_key(std::string_view public_key) {
    const auto decoded = decode_checked(public_key, kKeySize + 1);
    if (!decoded)
        return invalid("bad_public_key", "the public key is not valid: " + decoded.error().message);
    const auto kind = kind_of(byte_at(decoded->reveal(), 0));
    if (!kind) return invalid("bad_public_key", kind.error().message);
    return *kind;
}

bool verify(std::string_view public_key, std::string_view message, std::string_view signature) {
    detail::ensure_sodium();
    if (signature.size() != crypto_sign_BYTES || !kind_of_public_key(public_key)) return false;
    const auto decoded = decode_checked(public_key, kKeySize + 1);
    return crypto_sign_verify_detached(
               bytes_of(signature),
               bytes_of(message),
               message.size(),
               bytes_of(decoded->reveal()) + 1
           ) == 0;
}

}  // namespace berth::identity
