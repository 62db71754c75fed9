// SPDX-License-Identifier: Apache-2.0
// Signatures by the vector of Standard Webhooks, and by both secrets after a rotation.
#include "webhook/signature.hpp"

#include <gtest/gtest.h>

#include "core/text.hpp"

namespace berth::webhook {
namespace {

// The vector of the libraries' own tests (standard-webhooks/standard-webhooks, and svix before it).
TEST(WebhookSignature, IsThatOfTheStandard) {
    const Secret secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    const auto at = from_unix_micros(1'614'265'330LL * 1'000'000);
    EXPECT_EQ(
        sign(secret, {}, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, R"({"test": 2432232314})"),
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    );
}

TEST(WebhookSignature, IsTwoWhileTwoSecretsAreGood) {
    const Secret now("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    const Secret before = make_secret();
    const auto at = from_unix_micros(1'000'000);
    EXPECT_EQ(
        sign(now, before, "a", at, "x"),
        sign(now, {}, "a", at, "x") + " " + sign(before, {}, "a", at, "x")
    );
}

TEST(WebhookSignature, SecretsAreLongAndNeverTheSame) {
    const Secret one = make_secret();
    ASSERT_TRUE(one.reveal().starts_with("whsec_"));
    EXPECT_EQ(decode_base64(one.reveal().substr(6))->size(), 32U);
    EXPECT_NE(one.reveal(), make_secret().reveal());
}

}  // namespace
}  // namespace berth::webhook
