// SPDX-License-Identifier: Apache-2.0
// Order per entity, a window, and one at a time for who fails.
#include "webhook/lane.hpp"

#include <gtest/gtest.h>

namespace berth::webhook {
namespace {

const WallTime kNow = from_unix_micros(1'800'000'000LL * 1'000'000);

PendingRow row(std::int64_t id, const std::string& entity) {
    PendingRow out;
    out.id = id;
    out.event.subject = "berth.evt.default.run.run.changed." + entity;
    return out;
}

TEST(WebhookLane, SendsAnEntitysEventsOneAfterTheOther) {
    SeededRandom random(1);
    Lane lane(Health{});
    lane.add({row(1, "a"), row(2, "a"), row(3, "b")});
    ASSERT_EQ(lane.next(kNow)->row.id, 1);
    ASSERT_EQ(lane.next(kNow)->row.id, 3) << "b does not wait for a";
    EXPECT_EQ(lane.next(kNow), nullptr);
    EXPECT_FALSE(lane.due()) << "an answer is needed first";
    EXPECT_EQ(lane.answered(1, {200, {}}, kNow, random)->verdict, Verdict::kDelivered);
    EXPECT_EQ(lane.next(kNow)->row.id, 2);
    EXPECT_FALSE(lane.answered(1, {200, {}}, kNow, random)) << "answered before";
}

TEST(WebhookLane, AFailedOneHoldsBackItsEntityAndTheSubscriberGetsOneAtATime) {
    SeededRandom random(1);
    Lane lane(Health{});
    lane.add({row(1, "a"), row(2, "a"), row(3, "b"), row(4, "c")});
    ASSERT_EQ(lane.next(kNow)->row.id, 1);
    ASSERT_EQ(lane.answered(1, {500, {}}, kNow, random)->verdict, Verdict::kAgain);
    ASSERT_EQ(lane.next(kNow)->row.id, 3) << "2 waits for 1";
    EXPECT_EQ(lane.next(kNow), nullptr) << "one at a time while it fails";
    ASSERT_EQ(lane.answered(3, {200, {}}, kNow, random)->verdict, Verdict::kDelivered);
    ASSERT_EQ(lane.next(kNow)->row.id, 4);
    ASSERT_EQ(lane.answered(4, {200, {}}, kNow, random)->verdict, Verdict::kDelivered);
    EXPECT_EQ(lane.next(kNow), nullptr);
    ASSERT_TRUE(lane.due());
    EXPECT_GT(*lane.due(), kNow);
    EXPECT_EQ(lane.next(*lane.due())->row.id, 1);
}

TEST(WebhookLane, ADeadSubscriberIsAskedLessAndLess) {
    SeededRandom random(1);
    Lane lane(Health{});
    std::vector<PendingRow> rows;
    for (int i = 1; i <= 200; ++i) rows.push_back(row(i, "e" + std::to_string(i)));
    lane.add(std::move(rows));
    int first = 0;
    while (lane.next(kNow) != nullptr) ++first;
    EXPECT_EQ(first, static_cast<int>(kWindow));
    for (int i = 1; i <= first; ++i) ASSERT_TRUE(lane.answered(i, {0, {}}, kNow, random));
    EXPECT_EQ(lane.next(kNow), nullptr);
    int sent = 0;
    WallTime now = kNow;
    while (now < kNow + std::chrono::hours{12}) {
        const auto due = lane.due();
        ASSERT_TRUE(due);
        now = std::max(now, *due);
        Lane::Item* item = lane.next(now);
        ASSERT_NE(item, nullptr);
        ASSERT_EQ(lane.next(now), nullptr);
        ++sent;
        ASSERT_TRUE(lane.answered(item->row.id, {0, {}}, now, random));
    }
    EXPECT_LT(sent, 30) << "twelve hours of a dead subscriber";
    EXPECT_GT(sent, 8);
}

TEST(WebhookLane, ATestGoesAtOnceAndNoOtherSoonerForIt) {
    SeededRandom random(1);
    Lane lane(Health{});
    lane.add({row(1, "a"), row(2, "b")});
    ASSERT_EQ(lane.next(kNow)->row.id, 1);
    ASSERT_TRUE(lane.answered(1, {503, milliseconds{60'000}}, kNow, random));
    ASSERT_EQ(lane.next(kNow), nullptr) << "Retry-After";
    lane.hurry(row(9, "a"));
    ASSERT_TRUE(lane.due());
    EXPECT_LE(*lane.due(), kNow);
    ASSERT_EQ(lane.next(kNow)->row.id, 9) << "though an older one of its entity waits";
    EXPECT_EQ(lane.next(kNow), nullptr);
    ASSERT_EQ(lane.answered(9, {500, {}}, kNow, random)->verdict, Verdict::kAgain);
    EXPECT_EQ(lane.next(kNow), nullptr) << "once";
    lane.hurry(row(10, "a"));
    ASSERT_EQ(lane.next(kNow)->row.id, 10);
    ASSERT_EQ(lane.answered(10, {200, {}}, kNow, random)->verdict, Verdict::kDelivered);
    EXPECT_EQ(lane.next(kNow), nullptr) << "what the subscriber asked for stands";
    EXPECT_GE(*lane.due(), kNow + seconds{60});
    EXPECT_EQ(lane.next(kNow + seconds{60})->row.id, 1);
}

TEST(WebhookLane, TakesRowsInAnyOrderOnce) {
    Lane lane(Health{});
    lane.add({row(5, "a")});
    lane.add({row(2, "a"), row(5, "a")});
    EXPECT_EQ(lane.held(), 2U);
    EXPECT_EQ(lane.next(kNow)->row.id, 2);
    EXPECT_EQ(entity_of("berth.evt.default.run.run.changed.rn_1"), "run.run.rn_1");
    EXPECT_EQ(entity_of("strange"), "strange");
}

}  // namespace
}  // namespace berth::webhook
