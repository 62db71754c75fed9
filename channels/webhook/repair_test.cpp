// SPDX-License-Identifier: Apache-2.0
// What an admin does about a subscriber that fails: tests, another url, enabling, replays, and a
// restart in between.
#include <set>

#include "service/proto_time.hpp"
#include "support/eventually.hpp"
#include "webhook/test_world.hpp"

namespace berth::webhook {
namespace {

using berth::testing::eventually;

/// Sets what is said to wait, without the rows.
void set_pending(store::Pool& pool, const std::string& id, std::int64_t pending) {
    const auto done = pool.exec_autocommit(store::Statement(
        "UPDATE subscribers SET pending = " + std::to_string(pending) + " WHERE id = '" + id + "'"
    ));
    ASSERT_TRUE(done) << done.error().describe();
}

TEST_F(WebhookTest, EnabledAfterABacklogItGoesOnWithWhatWaited) {
    const auto id = add(sink.url("/hook"), {"berth.evt.acme.run.>"});
    sink.status = 503;
    std::set<std::string> wanted{publish("rn_1"), publish("rn_2")};
    ASSERT_TRUE(eventually([&] { return look(id).has_failing_since() && log(id).size() == 2; }));
    const auto disabled = [&] { return look(id).reason() == "backlog"; };
    set_pending(*pool, id, kMaxBacklog + 2);
    sender->wake();
    ASSERT_TRUE(eventually(disabled));
    sink.status = 0;
    const auto before = sink.posts("/hook").size();
    ASSERT_TRUE(enable(id));
    ASSERT_TRUE(sink.wait("/hook", before + 2));
    wanted.insert(publish("rn_3"));
    ASSERT_TRUE(sink.wait("/hook", before + 3));
    ASSERT_TRUE(eventually([&] { return look(id).pending() == kMaxBacklog; }));
    EXPECT_EQ(look(id).state(), v1::SUBSCRIBER_STATE_ENABLED);
    std::set<std::string> seen;
    for (const auto& post : sink.posts("/hook"))
        seen.insert(std::string(post.headers.get("webhook-id")));
    EXPECT_EQ(seen, wanted);
    // What has been drained is no allowance for later.
    set_pending(*pool, id, 1);
    publish("rn_4");
    ASSERT_TRUE(sink.wait("/hook", before + 4));
    ASSERT_TRUE(eventually([&] { return look(id).pending() == 1; }));
    set_pending(*pool, id, kMaxBacklog + 2);
    sender->wake();
    EXPECT_TRUE(eventually(disabled));
}

TEST_F(WebhookTest, ATestAndARepairedUrlWaitForNoBackoff) {
    const auto id = add(sink.url("/busy"), {"berth.evt.acme.run.>"});
    sink.status = 429;
    sink.retry_after = 3'600;
    publish("rn_1");
    ASSERT_TRUE(eventually([&] { return look(id).has_next_attempt_at(); }));
    ASSERT_TRUE(sink.wait("/busy", 1));
    const auto failed = try_out(id);
    ASSERT_TRUE(failed) << failed.error().describe();
    ASSERT_TRUE(sink.wait("/busy", 2)) << "a test is sent at once";
    EXPECT_EQ(sink.posts("/busy")[1].headers.get("webhook-id"), failed->event());
    sink.status = 0;
    sink.retry_after = 0;
    const auto tested = try_out(id);
    ASSERT_TRUE(tested) << tested.error().describe();
    ASSERT_TRUE(sink.wait("/busy", 3)) << "and again";
    EXPECT_EQ(sink.posts("/busy")[2].headers.get("webhook-id"), tested->event());
    ASSERT_TRUE(eventually([&] { return log(id)[0].state() == v1::DELIVERY_STATE_DELIVERED; }));
    ASSERT_EQ(log(id).size(), 3U);
    EXPECT_EQ(look(id).pending(), 2);
    EXPECT_EQ(log(id)[2].state(), v1::DELIVERY_STATE_PENDING)
        << "the others wait as they were told";
    const auto now = Clock::system().now();
    EXPECT_GT(service::to_wall_time(log(id)[2].next_attempt_at()), now + std::chrono::minutes{50});

    v1::ChangeSubscriber change;
    change.set_subscriber(id);
    change.set_url(sink.url("/repaired"));
    const auto changed = ask<v1::Subscriber>("berth.cmd.webhook.change", change);
    ASSERT_TRUE(changed) << changed.error().describe();
    EXPECT_FALSE(changed->has_failing_since());
    EXPECT_FALSE(changed->has_next_attempt_at());
    EXPECT_TRUE(sink.wait("/repaired", 2));
    EXPECT_TRUE(eventually([&] { return look(id).pending() == 0; }));
    EXPECT_EQ(sink.posts("/busy").size(), 3U);
}

TEST_F(WebhookTest, WhatWasUnderWayWhenTheUrlWasRepairedSaysNothingAnyMore) {
    const auto id = add(sink.url("/silent"), {"berth.evt.acme.run.>"});
    const auto event = publish("rn_1");
    ASSERT_TRUE(sink.wait("/silent", 1));
    v1::ChangeSubscriber change;
    change.set_subscriber(id);
    change.set_url(sink.url("/repaired"));
    ASSERT_TRUE(ask<v1::Subscriber>("berth.cmd.webhook.change", change));
    ASSERT_TRUE(sink.wait("/repaired", 1));
    ASSERT_TRUE(eventually([&] { return look(id).pending() == 0; }));
    sink.release(410);
    // One after the other, so the late answer was heard when this one is delivered.
    publish("rn_2");
    ASSERT_TRUE(sink.wait("/repaired", 2));
    ASSERT_TRUE(eventually([&] { return look(id).pending() == 0; }));
    EXPECT_EQ(look(id).state(), v1::SUBSCRIBER_STATE_ENABLED);
    EXPECT_EQ(sink.posts("/repaired")[0].headers.get("webhook-id"), event);
}

TEST_F(WebhookTest, ARestartForgetsNoBackoff) {
    const auto busy = add(sink.url("/busy"), {"berth.evt.acme.run.>"});
    sink.status = 503;
    sink.retry_after = 3'600;
    publish("rn_1");
    ASSERT_TRUE(eventually([&] { return !log(busy).empty() && log(busy)[0].attempts() == 1; }));
    stop();
    start();
    // One it was never sent, and a witness that it was taken in and looked at.
    const auto witness = add(sink.url("/other"), {"berth.evt.acme.run.>"});
    publish("rn_2");
    ASSERT_TRUE(eventually([&] { return log(busy).size() == 2; }));
    ASSERT_TRUE(sink.wait("/other", 1));
    ASSERT_TRUE(eventually([&] { return look(witness).pending() == 0; }));
    EXPECT_EQ(sink.posts("/busy").size(), 1U) << "an hour is an hour";
    EXPECT_TRUE(look(busy).has_next_attempt_at());
    sink.status = 0;
    clock.advance(std::chrono::minutes{61});
    sender->wake();
    EXPECT_TRUE(sink.wait("/busy", 3));
}

TEST_F(WebhookTest, AReplayOfWhatIsNotThereIsRefused) {
    const auto id = add(sink.url("/ok"), {"berth.evt.acme.run.>"});
    const auto other = add(sink.url("/silent"), {"berth.evt.acme.run.>"});
    publish("rn_1");
    ASSERT_TRUE(eventually([&] { return log(id, v1::DELIVERY_STATE_DELIVERED).size() == 1; }));
    v1::Replay replay;
    replay.set_subscriber(id);
    const auto ask_again = [&] { return ask<v1::Replayed>("berth.cmd.webhook.replay", replay); };
    for (const std::string& delivery : {std::string("999999"), log(other).at(0).id()}) {
        replay.set_delivery(delivery);
        const auto refused = ask_again();
        ASSERT_FALSE(refused) << delivery;
        EXPECT_EQ(refused.error().code, "delivery_not_found");
        EXPECT_EQ(refused.error().fault, Fault::kNotFound);
    }
    ASSERT_TRUE(sink.wait("/silent", 1));
    replay.set_subscriber(other);
    replay.set_delivery(log(other).at(0).id());
    const auto waits = ask_again();
    ASSERT_TRUE(waits) << waits.error().describe();
    EXPECT_EQ(waits->deliveries(), 0U);
    EXPECT_EQ(waits->waiting(), 1U);
    replay.set_subscriber(id);
    replay.set_delivery(log(id).at(0).id());
    ASSERT_TRUE(enable(id, false));
    const auto disabled = ask_again();
    ASSERT_FALSE(disabled);
    EXPECT_EQ(disabled.error().code, "webhook_disabled");
    EXPECT_EQ(disabled.error().fault, Fault::kConflict);
    ASSERT_TRUE(enable(id));
    const auto done = ask_again();
    ASSERT_TRUE(done) << done.error().describe();
    EXPECT_EQ(done->deliveries(), 1U);
    EXPECT_EQ(done->waiting(), 0U);
    EXPECT_TRUE(sink.wait("/ok", 2));
}

}  // namespace
}  // namespace berth::webhook
