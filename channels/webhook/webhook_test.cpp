// SPDX-License-Identifier: Apache-2.0
// Events by HTTP as a subscriber sees them: what comes, in which form and order, what is tried
// again, and where nothing is ever sent.
#include <set>

#include "core/json.hpp"
#include "core/text.hpp"
#include "support/eventually.hpp"
#include "webhook/signature.hpp"
#include "webhook/test_world.hpp"

namespace berth::webhook {
namespace {

using berth::testing::eventually;

TEST_F(WebhookTest, AnEventComesSignedAsACloudEvent) {
    const auto id = add(sink.url("/ok?key=1"), {"berth.evt.acme.run.>"});
    EXPECT_TRUE(id.starts_with("wh_"));
    const auto event = publish("rn_1");
    ASSERT_TRUE(sink.wait("/ok", 1));
    const auto post = sink.posts("/ok").front();
    EXPECT_EQ(post.headers.get("Content-Type"), "application/cloudevents+json; charset=utf-8");
    EXPECT_EQ(post.headers.get("webhook-id"), event);
    const auto json = Json::parse(post.body);
    ASSERT_TRUE(json) << post.body;
    EXPECT_EQ(json->string_or("specversion", ""), "1.0");
    EXPECT_EQ(json->string_or("id", ""), event);
    EXPECT_EQ(json->string_or("type", ""), "berth.webhook.v1.SubscriberTested");
    EXPECT_EQ(json->string_or("source", ""), "berth/run");
    EXPECT_EQ(json->string_or("subject", ""), "berth.evt.acme.run.run.changed.rn_1");
    EXPECT_EQ(json->find("data")->string_or("user", ""), "n1");
    const auto at = std::stoll(std::string(post.headers.get("webhook-timestamp")));
    EXPECT_EQ(
        post.headers.get("webhook-signature"),
        sign(secret, {}, event, from_unix_micros(at * 1'000'000), post.body)
    );
    ASSERT_TRUE(eventually([&] { return look(id).pending() == 0; }));
    ASSERT_EQ(log(id).size(), 1U);
    EXPECT_EQ(log(id)[0].state(), v1::DELIVERY_STATE_DELIVERED);
    EXPECT_EQ(log(id)[0].status(), 200U);
    EXPECT_EQ(log(id)[0].attempts(), 1U);
}

TEST_F(WebhookTest, BinaryModeHasTheAttributesInHeaders) {
    add(sink.url("/ok"), {"berth.evt.acme.run.>"}, true);
    const auto event = publish("rn_1");
    ASSERT_TRUE(sink.wait("/ok", 1));
    const auto post = sink.posts("/ok").front();
    EXPECT_EQ(post.headers.get("Content-Type"), "application/json");
    EXPECT_EQ(post.headers.get("ce-specversion"), "1.0");
    EXPECT_EQ(post.headers.get("ce-id"), event);
    EXPECT_EQ(post.headers.get("ce-type"), "berth.webhook.v1.SubscriberTested");
    EXPECT_EQ(post.headers.get("ce-subject"), "berth.evt.acme.run.run.changed.rn_1");
    EXPECT_EQ(Json::parse(post.body)->string_or("user", ""), "n1");
}

TEST_F(WebhookTest, OnlyWhatMatchesAndOnlyOfTheOrg) {
    const auto id = add(sink.url("/ok"), {"berth.evt.acme.run.run.ended.*", "berth.evt.acme.x.>"});
    publish("rn_1", "acme", "changed");
    publish("rn_1", "globex", "ended");
    const auto wanted = publish("rn_1", "acme", "ended");
    ASSERT_TRUE(sink.wait("/ok", 1));
    EXPECT_EQ(sink.posts("/ok")[0].headers.get("webhook-id"), wanted);
    ASSERT_TRUE(eventually([&] { return look(id).pending() == 0; }));
    EXPECT_EQ(log(id).size(), 1U);
    v1::AddSubscriber command;
    command.set_url(sink.url("/ok"));
    command.set_box_key(box.public_key());
    command.add_subjects("berth.evt.globex.>");
    EXPECT_EQ(
        ask<v1::SubscriberSecret>("berth.cmd.webhook.add", command).error().code, "bad_subject"
    );
    command.set_subjects(0, "berth.evt.acme.run");
    const auto never = ask<v1::SubscriberSecret>("berth.cmd.webhook.add", command).error();
    EXPECT_EQ(never.code, "bad_subject");
    EXPECT_NE(never.message.find("berth.evt.acme.run.>"), std::string::npos) << never.message;
    EXPECT_EQ(look("wh_nobody").id(), "");
    v1::GetSubscriber query;
    query.set_subscriber(id);
    EXPECT_EQ(
        ask<v1::Subscriber>("berth.qry.webhook.subscriber", query, "globex").error().code,
        "webhook_not_found"
    );
}

TEST_F(WebhookTest, EventsOfAnEntityKeepTheirOrderThroughFailures) {
    const auto id = add(sink.url("/ok"), {"berth.evt.acme.run.>"});
    sink.status = 503;
    std::vector<std::string> wanted;
    for (int i = 0; i < 40; ++i) wanted.push_back(publish(i % 2 == 0 ? "rn_a" : "rn_b"));
    ASSERT_TRUE(eventually([&] { return log(id).size() == 40 && log(id).back().attempts() > 0; }));
    sink.status = 0;
    clock.advance(std::chrono::hours{2});
    sender->wake();
    ASSERT_TRUE(eventually([&] { return look(id).pending() == 0; })) << look(id).DebugString();
    std::vector<std::string> even, odd;
    std::set<std::string> seen;
    for (const auto& post : sink.posts("/ok")) {
        const std::string event(post.headers.get("webhook-id"));
        if (!seen.insert(event).second) continue;
        const auto at = std::find(wanted.begin(), wanted.end(), event) - wanted.begin();
        (at % 2 == 0 ? even : odd).push_back(event);
    }
    for (std::size_t i = 0; i < 20; ++i) {
        EXPECT_EQ(even.at(i), wanted[2 * i]);
        EXPECT_EQ(odd.at(i), wanted[2 * i + 1]);
    }
}

TEST_F(WebhookTest, ADeadSubscriberDelaysNoOther) {
    const auto dead = add(sink.url("/silent"), {"berth.evt.acme.run.>"});
    const auto refused = add("http://127.0.0.1:1/", {"berth.evt.acme.run.>"});
    const auto alive = add(sink.url("/ok"), {"berth.evt.acme.run.>"});
    for (int i = 0; i < 100; ++i) publish("rn_" + std::to_string(i));
    const auto began = std::chrono::steady_clock::now();
    ASSERT_TRUE(sink.wait("/ok", 100));
    EXPECT_LT(std::chrono::steady_clock::now() - began, seconds{10});
    ASSERT_TRUE(eventually([&] { return look(alive).pending() == 0; }));
    EXPECT_EQ(look(dead).pending(), 100U);
    EXPECT_EQ(look(refused).pending(), 100U);
    EXPECT_TRUE(eventually([&] { return look(refused).has_failing_since(); }));
    EXPECT_FALSE(look(alive).has_failing_since());
    EXPECT_LE(sink.posts("/silent").size(), kWindow);
}

TEST_F(WebhookTest, DisabledAfterADayWithAnEventAndGoesOnWhenEnabled) {
    const auto id = add(sink.url("/hook"), {"berth.evt.acme.run.>"});
    const auto other = add(sink.url("/other"), {"berth.evt.acme.webhook.>"});
    sink.status = 500;
    publish("rn_1");
    ASSERT_TRUE(sink.wait("/hook", 1));
    for (int hours = 0; hours < 23; ++hours) {
        clock.advance(std::chrono::hours{1});
        sender->wake();
        (void)sink.wait("/hook", sink.posts("/hook").size() + 1, milliseconds{300});
    }
    EXPECT_GE(sink.posts("/hook").size(), 8U) << "it is tried again all day";
    EXPECT_EQ(look(id).state(), v1::SUBSCRIBER_STATE_ENABLED);
    clock.advance(std::chrono::hours{3});
    sender->wake();
    ASSERT_TRUE(eventually([&] { return look(id).state() == v1::SUBSCRIBER_STATE_DISABLED; }));
    EXPECT_EQ(look(id).reason(), "failing");
    sink.status = 0;
    clock.advance(std::chrono::hours{3});
    sender->wake();
    ASSERT_TRUE(eventually([&] {
        for (const auto& post : sink.posts("/other")) {
            if (post.body.find("webhook.subscriber.disabled." + id) != std::string::npos)
                return true;
        }
        return false;
    }));
    const auto before = sink.posts("/hook").size();
    // Nobody keeps an event for a disabled one; another one shows that it was taken in meanwhile.
    (void)add(sink.url("/witness"), {"berth.evt.acme.run.>"});
    publish("rn_2");
    ASSERT_TRUE(sink.wait("/witness", 1));
    v1::ChangeSubscriber change;
    change.set_subscriber(id);
    change.set_enabled(true);
    ASSERT_TRUE(ask<v1::Subscriber>("berth.cmd.webhook.change", change));
    ASSERT_TRUE(sink.wait("/hook", before + 1));
    ASSERT_TRUE(eventually([&] { return look(id).pending() == 0; }));
    EXPECT_EQ(log(id).size(), 1U);
    EXPECT_EQ(look(id).state(), v1::SUBSCRIBER_STATE_ENABLED);
    (void)other;
}

TEST_F(WebhookTest, DisabledWhereTooMuchWaits) {
    const auto id = add(sink.url("/hook"), {"berth.evt.acme.run.>"});
    add(sink.url("/other"), {"berth.evt.acme.webhook.>"});
    ASSERT_TRUE(pool->exec_autocommit(store::Statement(
        "UPDATE subscribers SET pending = " + std::to_string(kMaxBacklog + 1) + " WHERE id = '" +
        id + "'"
    )));
    sender->wake();
    ASSERT_TRUE(eventually([&] { return look(id).state() == v1::SUBSCRIBER_STATE_DISABLED; }));
    EXPECT_EQ(look(id).reason(), "backlog");
    EXPECT_TRUE(eventually([&] {
        const auto posts = sink.posts("/other");
        return std::any_of(posts.begin(), posts.end(), [&](const auto& post) {
            return post.body.find("webhook.subscriber.disabled." + id) != std::string::npos;
        });
    }));
}

TEST_F(WebhookTest, GoneDisablesAtOnceAndRetryAfterIsObeyed) {
    const auto gone = add(sink.url("/status/410"), {"berth.evt.acme.run.>"});
    publish("rn_1");
    ASSERT_TRUE(eventually([&] { return look(gone).state() == v1::SUBSCRIBER_STATE_DISABLED; }));
    EXPECT_EQ(look(gone).reason(), "gone");
    const auto busy = add(sink.url("/busy"), {"berth.evt.acme.run.>"});
    sink.status = 429;
    sink.retry_after = 3'600;
    publish("rn_2");
    ASSERT_TRUE(sink.wait("/busy", 1));
    ASSERT_TRUE(eventually([&] { return !log(busy).empty() && log(busy)[0].status() == 429; }));
    sink.status = 0;
    publish("rn_3");
    clock.advance(std::chrono::minutes{55});
    sender->wake();
    ASSERT_TRUE(eventually([&] { return log(busy).size() == 2; }));
    EXPECT_FALSE(sink.wait("/busy", 2, milliseconds{500})) << "an hour is an hour";
    clock.advance(std::chrono::minutes{6});
    sender->wake();
    EXPECT_TRUE(sink.wait("/busy", 3));
}

TEST_F(WebhookTest, NothingIsSentInsideAndANameIsAskedForOnce) {
    {
        const std::lock_guard lock(names_mutex);
        names["inside.test"] = {"10.0.0.7"};
        names["metadata.test"] = {"169.254.169.254"};
        names["mixed.test"] = {"127.0.0.1", "10.0.0.7"};
        names["rebind.test"] = {"127.0.0.1"};
    }
    std::vector<std::string> refused;
    for (const char* host : {"inside.test", "metadata.test", "mixed.test"})
        refused.push_back(add(sink.url("/ok", host), {"berth.evt.acme.run.>"}));
    const auto good = add(sink.url("/rebind", "rebind.test"), {"berth.evt.acme.run.>"});
    publish("rn_1");
    ASSERT_TRUE(sink.wait("/rebind", 1));
    EXPECT_TRUE(sink.posts("/rebind")[0].headers.get("Host").starts_with("rebind.test:"));
    {
        // From now on the name leads inside; what was checked is what is connected to.
        const std::lock_guard lock(names_mutex);
        EXPECT_EQ(resolved["rebind.test"], 1);
        names["rebind.test"] = {"10.0.0.7"};
    }
    for (int i = 0; i < 20; ++i) publish("rn_" + std::to_string(i + 2));
    ASSERT_TRUE(sink.wait("/rebind", 21));
    {
        const std::lock_guard lock(names_mutex);
        EXPECT_EQ(resolved["rebind.test"], 1);
    }
    for (const auto& id : refused) {
        ASSERT_TRUE(eventually([&] { return look(id).has_failing_since(); }));
        EXPECT_NE(log(id).back().error().find("public internet"), std::string::npos);
        EXPECT_EQ(log(id).back().status(), 0U);
    }
    EXPECT_TRUE(sink.posts("/ok").empty());
    for (const char* url :
         {"http://10.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest", "ftp://x/"}) {
        v1::AddSubscriber command;
        command.set_url(url);
        command.set_box_key(box.public_key());
        EXPECT_FALSE(ask<v1::SubscriberSecret>("berth.cmd.webhook.add", command)) << url;
    }
    (void)good;
}

TEST_F(WebhookTest, ARedirectIsNotFollowed) {
    const auto id = add(sink.url("/status/302"), {"berth.evt.acme.run.>"});
    publish("rn_1");
    ASSERT_TRUE(eventually([&] { return !log(id).empty() && log(id)[0].attempts() > 0; }));
    EXPECT_EQ(log(id)[0].status(), 302U);
    EXPECT_EQ(log(id)[0].error(), "redirects are not followed");
    EXPECT_EQ(log(id)[0].state(), v1::DELIVERY_STATE_PENDING);
}

TEST_F(WebhookTest, TheLogPagesReplaysAndTests) {
    const auto id = add(sink.url("/ok"), {"berth.evt.acme.run.>"});
    std::vector<std::string> events;
    for (int i = 0; i < 5; ++i) events.push_back(publish("rn_" + std::to_string(i)));
    ASSERT_TRUE(eventually([&] { return log(id, v1::DELIVERY_STATE_DELIVERED).size() == 5; }));
    v1::ListDeliveries page;
    page.set_subscriber(id);
    page.mutable_page()->set_limit(2);
    std::vector<std::string> seen;
    for (int i = 0; i < 5; ++i) {
        const auto reply = ask<v1::DeliveriesReply>("berth.qry.webhook.deliveries", page);
        ASSERT_TRUE(reply);
        for (const auto& each : reply->deliveries()) seen.push_back(each.event());
        if (reply->next_cursor().empty()) break;
        page.mutable_page()->set_cursor(reply->next_cursor());
    }
    EXPECT_EQ(seen, std::vector<std::string>(events.rbegin(), events.rend()));

    v1::Replay replay;
    replay.set_subscriber(id);
    replay.set_delivery(log(id).back().id());
    EXPECT_EQ(ask<v1::Replayed>("berth.cmd.webhook.replay", replay)->deliveries(), 1U);
    ASSERT_TRUE(sink.wait("/ok", 6));
    EXPECT_EQ(sink.posts("/ok").back().headers.get("webhook-id"), events[0]);
    ASSERT_TRUE(eventually([&] { return look(id).pending() == 0; }));
    replay.clear_delivery();
    replay.mutable_since()->set_seconds(1);
    EXPECT_EQ(ask<v1::Replayed>("berth.cmd.webhook.replay", replay)->deliveries(), 5U);
    ASSERT_TRUE(sink.wait("/ok", 11));
    ASSERT_TRUE(eventually([&] { return look(id).pending() == 0; }));
    replay.set_failed_only(true);
    EXPECT_EQ(ask<v1::Replayed>("berth.cmd.webhook.replay", replay)->deliveries(), 0U);

    v1::TestSubscriber test;
    test.set_subscriber(id);
    const auto delivery = ask<v1::Delivery>("berth.cmd.webhook.test", test);
    ASSERT_TRUE(delivery) << delivery.error().describe();
    ASSERT_TRUE(sink.wait("/ok", 12));
    EXPECT_EQ(sink.posts("/ok").back().headers.get("webhook-id"), delivery->event());
    EXPECT_NE(sink.posts("/ok").back().body.find("webhook.subscriber.tested."), std::string::npos);
}

TEST_F(WebhookTest, ARotatedSecretSignsBesideTheNewOneForADay) {
    const auto id = add(sink.url("/ok"), {"berth.evt.acme.run.>"});
    const Secret old = secret;
    v1::RotateSecret rotate;
    rotate.set_subscriber(id);
    rotate.set_box_key(box.public_key());
    const auto made = ask<v1::SubscriberSecret>("berth.cmd.webhook.rotate", rotate);
    ASSERT_TRUE(made);
    secret = box.open(made->sealed_secret()).value();
    EXPECT_NE(secret.reveal(), old.reveal());
    const auto signature_of = [&](std::size_t count) {
        publish("rn_" + std::to_string(count));
        EXPECT_TRUE(sink.wait("/ok", count));
        const auto post = sink.posts("/ok").back();
        const auto at = std::stoll(std::string(post.headers.get("webhook-timestamp")));
        const std::string event(post.headers.get("webhook-id"));
        const auto when = from_unix_micros(at * 1'000'000);
        const std::string signature(post.headers.get("webhook-signature"));
        if (signature == sign(secret, old, event, when, post.body)) return 2;
        return signature == sign(secret, {}, event, when, post.body) ? 1 : 0;
    };
    ASSERT_TRUE(eventually([&] { return look(id).revision() == 2; }));
    std::size_t count = 0;
    ASSERT_TRUE(eventually([&] { return signature_of(++count) == 2; }));
    clock.advance(kOldSecretLife + std::chrono::minutes{1});
    EXPECT_EQ(signature_of(++count), 1);
}

TEST_F(WebhookTest, NobodysEventStandsForAnothersOfTheSameId) {
    add(sink.url("/ok"), {"berth.evt.acme.run.>"});
    const auto event = publish("rn_forged");
    publish("rn_real", "acme", "changed", event);
    ASSERT_TRUE(sink.wait("/ok", 2));
    publish("rn_real", "acme", "changed", event);  // the same again
    publish("rn_last");
    ASSERT_TRUE(sink.wait("/ok", 3));
    const auto posts = sink.posts("/ok");
    EXPECT_EQ(posts[0].headers.get("webhook-id"), event);
    EXPECT_TRUE(posts[1].headers.get("webhook-id").starts_with(event + "."));
    EXPECT_NE(posts[1].body.find("rn_real"), std::string::npos);
    EXPECT_NE(posts[2].body.find("rn_last"), std::string::npos);
}

TEST_F(WebhookTest, NoSecretLiesOpenInTheDatabaseOrOnTheBus) {
    std::vector<std::string> said;
    std::mutex mutex;
    auto ear = asker_bus->subscribe("berth.>", [&](bus::Message message) {
        const std::lock_guard lock(mutex);
        said.push_back(message.payload);
    });
    ASSERT_TRUE(ear);
    add(sink.url("/ok"));
    publish("rn_1");
    ASSERT_TRUE(sink.wait("/ok", 1));
    const std::string word = secret.reveal().substr(6);
    const auto found = pool->exec_autocommit(store::Statement(
        "SELECT (SELECT count(*) FROM subscribers s WHERE s::text LIKE '%" + word +
        "%') + (SELECT count(*) FROM inbox i WHERE i::text LIKE '%" + word + "%' OR position('" +
        word + "'::bytea in i.outcome) > 0)"
    ));
    ASSERT_TRUE(found) << found.error().describe();
    EXPECT_EQ((*found)[0].int64(0), 0);
    const std::lock_guard lock(mutex);
    EXPECT_FALSE(said.empty());
    for (const auto& payload : said) EXPECT_EQ(payload.find(word), std::string::npos);
}

TEST_F(WebhookTest, AnotherReplicaGoesOnWhereTheFirstStopped) {
    add(sink.url("/ok"), {"berth.evt.acme.run.>"});
    const auto second_bus = server.connect();
    Sender second(
        {*second_bus,
         *pool,
         pool->settings(),
         *relay,
         metrics,
         settings,
         key,
         clock,
         [this](const std::string& host) { return resolve(host); }}
    );
    publish("rn_0");
    ASSERT_TRUE(sink.wait("/ok", 1));
    second.start();
    std::set<std::string> wanted;
    for (int i = 1; i <= 300; ++i) {
        wanted.insert(publish("rn_" + std::to_string(i)));
        if (i == 150) sender->stop();
    }
    ASSERT_TRUE(eventually([&] {
        std::set<std::string> seen;
        for (const auto& post : sink.posts("/ok"))
            seen.insert(std::string(post.headers.get("webhook-id")));
        return std::includes(seen.begin(), seen.end(), wanted.begin(), wanted.end());
    }));
    second.stop();
}

TEST_F(WebhookTest, RemovedIsForgottenAndStrangersManageNothing) {
    const auto id = add(sink.url("/ok"), {"berth.evt.acme.run.>"});
    publish("rn_1");
    ASSERT_TRUE(sink.wait("/ok", 1));
    v1::RemoveSubscriber remove;
    remove.set_subscriber(id);
    EXPECT_FALSE(ask<common::v1::Empty>("berth.cmd.webhook.remove", remove, "globex"));
    ASSERT_TRUE(ask<common::v1::Empty>("berth.cmd.webhook.remove", remove));
    EXPECT_EQ(look(id).id(), "");
    publish("rn_2");
    EXPECT_FALSE(sink.wait("/ok", 2, milliseconds{300}));
    v1::ListSubscribers query;
    query.mutable_actor()->set_org("acme");
    query.mutable_actor()->add_roles("operator");
    bus::Ask ask;
    ask.subject = "berth.qry.webhook.subscribers";
    ask.type = query.GetTypeName();
    ask.payload = query.SerializeAsString();
    EXPECT_EQ(asker->ask_wait(ask).error().code, "role_missing");
}

}  // namespace
}  // namespace berth::webhook
