// SPDX-License-Identifier: Apache-2.0
// Proves the token form, the stored hash, and that derived ids separate callers and keys.
#include "identity/token.hpp"

#include <gtest/gtest.h>

#include "core/id.hpp"
#include "core/text.hpp"
#include "identity/seal.hpp"

namespace berth::identity {
namespace {

TEST(Sha256Test, BothWaysAgreeInPiecesOfEverySize) {
    std::string bytes;
    for (int i = 0; i < 700; ++i) bytes += static_cast<char>(i * 7 + i / 251);
    for (std::size_t size = 0; size <= bytes.size(); ++size) {
        Sha256 fast;
        Sha256 slow(false);
        const std::string_view text = std::string_view(bytes).substr(0, size);
        slow.update(text);
        const std::size_t piece = 1 + size % 131;
        for (std::size_t at = 0; at < size; at += piece) fast.update(text.substr(at, piece));
        ASSERT_EQ(hex(fast.finish()), hex(slow.finish())) << size;
    }
    Sha256 million;
    for (int i = 0; i < 1'000; ++i) million.update(std::string(1'000, 'a'));
    EXPECT_EQ(
        hex(million.finish()), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    );
}

TEST(Token, HasItsFormAndIsNew) {
    const Secret token = make_token();
    EXPECT_EQ(token.reveal().size(), 49U);
    EXPECT_TRUE(looks_like_token(token.reveal()));
    EXPECT_NE(token.reveal(), make_token().reveal());
    EXPECT_FALSE(looks_like_token(token.reveal() + "a"));
    EXPECT_FALSE(looks_like_token(std::string("Berth_") + token.reveal().substr(6)));
    EXPECT_FALSE(looks_like_token("berth_" + std::string(42, 'a') + "="));
}

TEST(Token, HashIsSha256) {
    EXPECT_EQ(
        hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    EXPECT_EQ(hash_token(Secret("abc")), hex(sha256("abc")));
}

TEST(HmacSha256, IsRfc4231s) {
    // Test cases 1, 2 and 6: a short key, a shorter one, and one longer than a block.
    EXPECT_EQ(
        hex(hmac_sha256(std::string(20, '\x0b'), "Hi There")),
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    );
    EXPECT_EQ(
        hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    EXPECT_EQ(
        hex(hmac_sha256(
            std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First"
        )),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    );
}

TEST(DerivedCommandId, IsStableAndSeparatesCallers) {
    const std::string id = derive_command_id("default", "us_1", "key");
    EXPECT_EQ(id, derive_command_id("default", "us_1", "key"));
    EXPECT_EQ(normalize_ulid(id).value(), id);
    EXPECT_NE(id, derive_command_id("default", "us_2", "key"));
    EXPECT_NE(id, derive_command_id("other", "us_1", "key"));
    EXPECT_NE(id, derive_command_id("default", "us_1", "key2"));
    EXPECT_NE(derive_command_id("a", "bc", ""), derive_command_id("ab", "c", ""));
}

TEST(Tokens, AreDerivedFromKeyAndBytes) {
    const Secret key(std::string(32, 'k'));
    const Secret token = derive_token(key, "a");
    EXPECT_TRUE(looks_like_token(token.reveal()));
    EXPECT_EQ(derive_token(key, "a").reveal(), token.reveal());
    EXPECT_NE(derive_token(key, "b").reveal(), token.reveal());
    EXPECT_NE(derive_token(Secret(std::string(32, 'x')), "a").reveal(), token.reveal());
}

TEST(Seals, OpenForTheirKeyAndUnchanged) {
    const Secret key(std::string(32, 'k'));
    const std::string sealed = seal(key, Secret("device code"));
    EXPECT_NE(seal(key, Secret("device code")), sealed);
    EXPECT_EQ(unseal(key, sealed)->reveal(), "device code");
    EXPECT_EQ(unseal(key, seal(key, Secret("")))->reveal(), "");
    EXPECT_EQ(unseal(Secret(std::string(32, 'x')), sealed).error().code, "bad_seal");
    std::string changed = sealed;
    changed[40] = changed[40] == 'A' ? 'B' : 'A';
    for (const std::string& text : {changed, std::string(), std::string("!"), sealed.substr(0, 20)})
        EXPECT_FALSE(unseal(key, text));
}

}  // namespace
}  // namespace berth::identity
