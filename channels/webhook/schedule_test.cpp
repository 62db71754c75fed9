// SPDX-License-Identifier: Apache-2.0
// A day of failures in a test: when it is tried again, when it is given up, when a subscriber is
// disabled.
#include "webhook/schedule.hpp"

#include <gtest/gtest.h>

#include "webhook/settings.hpp"

namespace berth::webhook {
namespace {

const WallTime kStart = from_unix_micros(1'800'000'000LL * 1'000'000);

TEST(WebhookSchedule, BacksOffToAnHourWithJitter) {
    SeededRandom random(1);
    for (int i = 1; i < 40; ++i) {
        const auto plain = std::min<long long>(5'000LL << std::min(i - 1, 20), 3'600'000LL);
        const auto pause = backoff(i, random).count();
        EXPECT_GE(pause, plain * 4 / 5) << i;
        EXPECT_LE(pause, plain * 6 / 5) << i;
    }
}

TEST(WebhookSchedule, ADeadSubscriberIsDisabledAfterADayAndNotBefore) {
    SeededRandom random(2);
    Health health;
    Attempts attempts;
    WallTime now = kStart;
    for (int i = 0; i < 1'000; ++i) {
        const Verdict verdict = decide(health, attempts, {503, {}}, now, random);
        if (verdict == Verdict::kDisable) {
            EXPECT_GE(now - kStart, kGiveUpAfter);
            EXPECT_LE(now - kStart, kGiveUpAfter + kSlowestRetry * 2);
            EXPECT_GT(attempts.made, 20);
            EXPECT_LT(attempts.made, 60);
            return;
        }
        ASSERT_EQ(verdict, Verdict::kAgain);
        ASSERT_GT(attempts.next_at, now);
        now = std::max(attempts.next_at, health.quiet_until());
    }
    FAIL() << "it was never disabled";
}

TEST(WebhookSchedule, OneThatIsRefusedForADayWhileOthersGoIsGivenUpAlone) {
    SeededRandom random(3);
    Health health;
    Attempts poison;
    WallTime now = kStart;
    for (int i = 0; i < 1'000; ++i) {
        const Verdict verdict = decide(health, poison, {400, {}}, now, random);
        if (verdict == Verdict::kGivenUp) {
            EXPECT_GE(now - kStart, kGiveUpAfter);
            return;
        }
        ASSERT_EQ(verdict, Verdict::kAgain);
        Attempts other;
        ASSERT_EQ(decide(health, other, {204, {}}, now, random), Verdict::kDelivered);
        EXPECT_FALSE(health.failing_since);
        EXPECT_LE(health.quiet_until(), now) << "the others do not wait";
        now = poison.next_at;
    }
    FAIL() << "it was never given up";
}

TEST(WebhookSchedule, GoneIsGoneAtOnceAndRetryAfterIsObeyed) {
    SeededRandom random(4);
    Health health;
    Attempts attempts;
    EXPECT_EQ(decide(health, attempts, {410, {}}, kStart, random), Verdict::kDisable);
    health = {};
    attempts = {};
    EXPECT_EQ(
        decide(health, attempts, {429, milliseconds{120'000}}, kStart, random), Verdict::kAgain
    );
    EXPECT_GE(attempts.next_at, kStart + seconds{120});
    EXPECT_GE(health.quiet_until(), kStart + seconds{120}) << "of the subscriber as a whole";
    Health other = health;
    Attempts beside;
    EXPECT_EQ(decide(other, beside, {200, {}}, kStart, random), Verdict::kDelivered);
    EXPECT_GE(other.quiet_until(), kStart + seconds{120}) << "whatever was under way beside it";
    EXPECT_EQ(decide(health, attempts, {301, {}}, kStart, random), Verdict::kAgain)
        << "a redirect is no delivery";
    EXPECT_EQ(decide(health, attempts, {0, {}}, kStart, random), Verdict::kAgain);
    EXPECT_GT(health.next_at, kStart);
    EXPECT_EQ(decide(health, attempts, {200, {}}, kStart, random), Verdict::kDelivered);
    EXPECT_EQ(health.failures, 0);
}

TEST(WebhookSchedule, ReadsRetryAfterInBothForms) {
    EXPECT_EQ(parse_retry_after("120", kStart), milliseconds{120'000});
    EXPECT_EQ(parse_retry_after("0", kStart), milliseconds{0});
    EXPECT_EQ(parse_retry_after("99999999999999999999", kStart), milliseconds{kGiveUpAfter});
    EXPECT_EQ(parse_retry_after("9999999", kStart), milliseconds{kGiveUpAfter});
    // 1,800,000,000 is Fri, 15 Jan 2027 08:00:00 GMT.
    EXPECT_EQ(parse_retry_after("Fri, 15 Jan 2027 08:01:00 GMT", kStart), milliseconds{60'000});
    EXPECT_EQ(parse_retry_after("Fri, 15 Jan 2027 07:00:00 GMT", kStart), milliseconds{0});
    for (const char* wrong : {"", "-1", "1.5", "soon", "Fri, 15 Jan 2027", "120s"})
        EXPECT_FALSE(parse_retry_after(wrong, kStart)) << wrong;
}

}  // namespace
}  // namespace berth::webhook
