// SPDX-License-Identifier: Apache-2.0
// Proves that claims survive their JWT, that tampering is refused, and that .creds files are read
// and private.
#include "identity/jwt.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "core/fd.hpp"
#include "core/json.hpp"
#include "core/text.hpp"
#include "identity/creds.hpp"

namespace berth::identity {
namespace {

const WallTime kNow = parse_rfc3339("2026-01-31T09:05:00Z").value();

struct Keys {
    KeyPair op = KeyPair::create(KeyKind::kOperator);
    KeyPair account = KeyPair::create(KeyKind::kAccount);
    KeyPair user = KeyPair::create(KeyKind::kUser);
};

UserClaims claims_of(const Keys& keys) {
    UserClaims claims;
    claims.name = "lease";
    claims.subject = keys.user.public_key();
    claims.permissions = {{"berth.rpl.*.*.lease.>"}, {}, {"_INBOX.lease.>"}, {"x.>"}, 1};
    claims.expires_at = kNow + std::chrono::minutes(15);
    claims.issuer = keys.account.public_key();
    return claims;
}

TEST(Jwt, UserSurvivesItsRoundTrip) {
    const Keys keys;
    const auto jwt = encode_user(claims_of(keys), keys.account, kNow);
    ASSERT_TRUE(jwt) << jwt.error().describe();
    const auto decoded = decode_user(*jwt);
    ASSERT_TRUE(decoded) << decoded.error().describe();
    EXPECT_EQ(*decoded, claims_of(keys));
}

TEST(Jwt, ShapeIsWhatNatsReads) {
    const Keys keys;
    const auto jwt = encode_user(claims_of(keys), keys.account, kNow).value();
    const auto parts = split(jwt, '.');
    EXPECT_EQ(decode_base64url(parts[0]).value(), R"({"typ":"JWT","alg":"ed25519-nkey"})");
    const auto body = Json::parse(decode_base64url(parts[1]).value()).value();
    EXPECT_EQ(body.string_or("jti", "").size(), 52U);
    EXPECT_EQ(body.int_or("iat", 0), 1769850300);
    EXPECT_EQ(body.int_or("exp", 0), 1769850300 + 900);
    EXPECT_EQ(body.find("nats")->int_or("subs", 0), -1);
}

TEST(Jwt, VerifyAsksForIssuerAndTime) {
    const Keys keys;
    const auto jwt = encode_user(claims_of(keys), keys.account, kNow).value();
    EXPECT_TRUE(verify_user(jwt, keys.account.public_key(), kNow));
    EXPECT_EQ(verify_user(jwt, Keys().account.public_key(), kNow).error().code, "wrong_issuer");
    EXPECT_TRUE(verify_user(jwt, keys.account.public_key(), kNow + std::chrono::seconds(899)));
    EXPECT_EQ(
        verify_user(jwt, keys.account.public_key(), kNow + std::chrono::seconds(900)).error().code,
        "expired"
    );
}

TEST(Jwt, TamperedIsRefused) {
    const Keys keys;
    const auto jwt = encode_user(claims_of(keys), keys.account, kNow).value();
    const auto parts = split(jwt, '.');
    auto body = Json::parse(decode_base64url(parts[1]).value()).value();
    body.set("name", "prov");
    const std::string forged =
        std::string(parts[0]) + "." + base64url(body.dump()) + "." + std::string(parts[2]);
    EXPECT_EQ(decode_user(forged).error().code, "bad_jwt");
    // Signed by a key that is no account: a user that issues itself rights.
    body.set("iss", keys.user.public_key());
    const std::string self_signed = std::string(parts[0]) + "." + base64url(body.dump());
    EXPECT_EQ(
        decode_user(self_signed + "." + base64url(keys.user.sign(self_signed))).error().code,
        "bad_jwt"
    );
    const std::string none =
        base64url(R"({"typ":"JWT","alg":"none"})") + "." + std::string(parts[1]) + ".";
    EXPECT_FALSE(decode_user(none));
    for (std::size_t cut = 0; cut < jwt.size(); cut += 7)
        EXPECT_FALSE(decode_user(jwt.substr(0, cut))) << cut;
    for (std::size_t i = 0; i < jwt.size(); ++i) {
        std::string changed = jwt;
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        EXPECT_FALSE(decode_user(changed)) << i;
    }
}

TEST(Jwt, AUserWithoutRulesIsNotMade) {
    const Keys keys;
    UserClaims claims = claims_of(keys);
    claims.permissions.pub_allow.clear();
    EXPECT_EQ(encode_user(claims, keys.account, kNow).error().code, "unrestricted_user");
    claims.permissions.pub_deny = {">"};
    EXPECT_TRUE(encode_user(claims, keys.account, kNow));
    claims.subject = keys.account.public_key();
    EXPECT_EQ(encode_user(claims, keys.account, kNow).error().code, "bad_claims");
}

TEST(Jwt, AccountAndOperatorRoundTrip) {
    const Keys keys;
    const auto account = decode_account(
        encode_account({"BERTH", keys.account.public_key(), true, {}}, keys.op, kNow).value()
    );
    ASSERT_TRUE(account) << account.error().describe();
    EXPECT_TRUE(account->jetstream);
    EXPECT_EQ(account->issuer, keys.op.public_key());
    EXPECT_FALSE(
        decode_account(
            encode_account({"SYS", keys.account.public_key(), false, {}}, keys.op, kNow).value()
        )
            ->jetstream
    );
    const auto op = decode_operator(
        encode_operator(
            {"berth", keys.op.public_key(), keys.account.public_key(), {}}, keys.op, kNow
        )
            .value()
    );
    ASSERT_TRUE(op) << op.error().describe();
    EXPECT_EQ(op->system_account, keys.account.public_key());
    EXPECT_FALSE(encode_account({"x", keys.account.public_key(), true, {}}, keys.account, kNow));
}

class CredsFile : public ::testing::Test {
protected:
    CredsFile() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "berth-creds-XXXXXX").string();
        folder_ = ::mkdtemp(pattern.data());
    }
    ~CredsFile() override { std::filesystem::remove_all(folder_); }
    std::filesystem::path folder_;
};

TEST_F(CredsFile, RoundTripIsPrivate) {
    const Keys keys;
    const auto path = folder_ / "lease.creds";
    const Creds creds{encode_user(claims_of(keys), keys.account, kNow).value(), keys.user.seed()};
    ASSERT_TRUE(write_creds(path, creds));
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U);
    const auto again = read_creds(path);
    ASSERT_TRUE(again) << again.error().describe();
    EXPECT_EQ(again->jwt, creds.jwt);
    EXPECT_EQ(again->seed.reveal(), creds.seed.reveal());
}

TEST_F(CredsFile, HalvesOfTwoUsersAreRefused) {
    const Keys keys;
    const Creds mixed{
        encode_user(claims_of(keys), keys.account, kNow).value(),
        KeyPair::create(KeyKind::kUser).seed()};
    EXPECT_EQ(parse_creds(format_creds(mixed).reveal()).error().code, "bad_creds");
    EXPECT_FALSE(parse_creds(""));
    EXPECT_EQ(read_creds(folder_ / "none.creds").error().code, "unreadable");
}

TEST_F(CredsFile, SeedFile) {
    const Keys keys;
    ASSERT_TRUE(write_seed(folder_ / "account.seed", keys.account.seed()));
    EXPECT_EQ(read_seed(folder_ / "account.seed").value().reveal(), keys.account.seed().reveal());
    ASSERT_TRUE(write_file_atomic(folder_ / "bad.seed", "SAxx\n", 0600));
    EXPECT_EQ(read_seed(folder_ / "bad.seed").error().code, "bad_seed");
}

}  // namespace
}  // namespace berth::identity
