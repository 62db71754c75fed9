// SPDX-License-Identifier: Apache-2.0
// Proves the nkeys encoding against published vectors and that nothing malformed passes.
#include "identity/nkeys.hpp"

#include <gtest/gtest.h>

#include "core/text.hpp"
#include "identity/sodium.hpp"

namespace berth::identity {
namespace {

// The example seed of the NATS documentation on nkeys.
constexpr const char* kDocumentedSeed =
    "SUAGMJH5XLGZKQQWAWKRZJIGMOU4HPFUYLXJMXOO5NLFEO2OOQJ5LPRDPM";

TEST(Nkeys, CrcIsXmodem) {
    EXPECT_EQ(crc16("123456789"), 0x31C3U);  // the catalogue's check value of CRC-16/XMODEM
    EXPECT_EQ(crc16(""), 0U);
}

TEST(Nkeys, DocumentedUserSeedIsRead) {
    const auto key = KeyPair::from_seed(Secret(kDocumentedSeed));
    ASSERT_TRUE(key) << key.error().describe();
    EXPECT_EQ(key->kind(), KeyKind::kUser);
    EXPECT_EQ(key->seed().reveal(), kDocumentedSeed);
    EXPECT_EQ(kind_of_public_key(key->public_key()).value(), KeyKind::kUser);
}

TEST(Nkeys, RoundTripOfEveryKind) {
    for (const auto& [kind, seed, letter] :
         {std::tuple{KeyKind::kOperator, "SO", 'O'},
          std::tuple{KeyKind::kAccount, "SA", 'A'},
          std::tuple{KeyKind::kUser, "SU", 'U'}}) {
        const KeyPair key = KeyPair::create(kind);
        EXPECT_EQ(key.seed().reveal().substr(0, 2), seed);
        EXPECT_EQ(key.seed().reveal().size(), 58U);
        EXPECT_EQ(key.public_key().front(), letter);
        EXPECT_EQ(key.public_key().size(), 56U);
        const auto again = KeyPair::from_seed(key.seed());
        ASSERT_TRUE(again);
        EXPECT_EQ(again->public_key(), key.public_key());
        EXPECT_EQ(again->kind(), kind);
    }
    EXPECT_NE(
        KeyPair::create(KeyKind::kUser).public_key(), KeyPair::create(KeyKind::kUser).public_key()
    );
}

TEST(Nkeys, SignatureHoldsForItsMessageAndKeyOnly) {
    const KeyPair key = KeyPair::create(KeyKind::kUser);
    std::string signature = key.sign("nonce");
    EXPECT_TRUE(verify(key.public_key(), "nonce", signature));
    EXPECT_FALSE(verify(key.public_key(), "Nonce", signature));
    EXPECT_FALSE(verify(KeyPair::create(KeyKind::kUser).public_key(), "nonce", signature));
    EXPECT_FALSE(verify(key.seed().reveal(), "nonce", signature));
    EXPECT_FALSE(verify(key.public_key(), "nonce", signature.substr(1)));
    signature[5] = static_cast<char>(signature[5] ^ 1);
    EXPECT_FALSE(verify(key.public_key(), "nonce", signature));
}

TEST(Nkeys, EveryChangedCharacterOfASeedIsRefused) {
    for (std::size_t i = 0; i < std::string(kDocumentedSeed).size(); ++i) {
        std::string changed = kDocumentedSeed;
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        const auto key = KeyPair::from_seed(Secret(changed));
        ASSERT_FALSE(key) << i;
        EXPECT_EQ(key.error().code, "bad_seed");
        EXPECT_EQ(key.error().message.find(changed.substr(0, 8)), std::string::npos)
            << "a seed in an error text";
    }
    for (const std::string& text :
         {std::string(),
          std::string("SU"),
          KeyPair::create(KeyKind::kUser).public_key(),
          std::string(kDocumentedSeed) + "AA",
          std::string(5000, 'A')}) {
        EXPECT_FALSE(KeyPair::from_seed(Secret(text)));
    }
}

TEST(Nkeys, Sha512_256MatchesFips) {
    EXPECT_EQ(
        hex(detail::sha512_256("abc")),
        "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
    );
}

}  // namespace
}  // namespace berth::identity
