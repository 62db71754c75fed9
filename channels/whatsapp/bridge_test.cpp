// SPDX-License-Identifier: Apache-2.0
// The whole path: a person at the fake WhatsApp, the bridge with its public listener, real NATS and
// PostgreSQL, and services that the test plays.
#include <gtest/gtest.h>

#include "support/fakes/bridge_fixture.hpp"
#include "support/free_port.hpp"
#include "whatsapp/whatsapp.hpp"

namespace berth::whatsapp {
namespace {

using berth::testing::BridgeTest;
using berth::testing::BridgeWorld;
using berth::testing::eventually;

constexpr const char* kToken = "EAAB-a_token_of_the_tests_only.0123456";
constexpr const char* kSecret = "an-app-secret-of-the-tests";
constexpr const char* kPhone = "106540352242922";
constexpr const char* kAda = "16505551234";
constexpr const char* kBob = "16505559876";

class WhatsAppBridge : public BridgeTest {
protected:
    WhatsAppBridge()
        : BridgeTest(
              "whatsapp", {"--token", kToken, "--app-secret", kSecret, "--phone-id", kPhone}
          ),
          listen_("127.0.0.1:" + std::to_string(berth::testing::free_port())) {
        world_ = std::make_unique<BridgeWorld>(
            "api_url: " + fake_.api_url() + "\nphone_number_id: \"" + kPhone +
                "\"\nweb_listen: " + listen_ + "\ntoken_file: " + secrets_.file("token", kToken) +
                "\napp_secret_file: " + secrets_.file("secret", kSecret) +
                "\nverify_token_file: " + secrets_.file("verify", "a-verify-token") +
                "\ntemplate: {name: berth_news}\napproval_template: {name: berth_approval}" +
                "\norgs:\n  acme: {approvals: [\"" + kBob + "\"]}\n",
            "whatsapp",
            read_platform
        );
        world_->berth().people[kAda] = BridgeWorld::actor("ada", "operator");
        world_->berth().people[kBob] = BridgeWorld::actor("bob", "approver");
    }
    void start() {
        fake_.tell("template", R"({"name":"berth_news","language":"en"})");
        fake_.tell(
            "template",
            R"({"name":"berth_approval","language":"en","buttons":["Approve","Deny","Deny with comment"]})"
        );
        world_->start();
        const std::string order =
            R"({"verify_token":"a-verify-token","url":"http://)" + listen_ + R"(/whatsapp"})";
        ASSERT_EQ(fake_.tell("hook", order).int_or("status", 0), 200);
    }
    void say(const std::string& text, const std::string& person = kAda) {
        Json order = Json::object();
        order.set("person", person).set("text", text);
        fake_.tell("say", order.dump());
    }
    std::vector<Json> replies(const std::string& person = kAda) {
        std::vector<Json> found;
        const Json chat = fake_.look("chat/" + person);
        for (const Json& message : *chat.find("messages")->as_array()) {
            if (message.bool_or("bot", false)) found.push_back(message);
        }
        return found;
    }
    Json wait_for(const std::string& words, const std::string& person = kAda) {
        return wait_for_one(
            [&] { return replies(person); },
            [&](const Json& message) {
                return message.string_or("text", "").find(words) != std::string::npos;
            },
            words
        );
    }

    void press(const Json& card, const std::string& button, const std::string& person) {
        Json order = Json::object();
        order.set("person", person).set("button", button).set("id", card.string_or("id", ""));
        fake_.tell("click", order.dump());
    }
    /// Of what is said next; a template arrives.
    void lose(int code, int times = 1) {
        fake_.tell(
            "faults",
            R"([{"route":"messages","kind":"undelivered","code":)" + std::to_string(code) +
                R"(,"except":"template","times":)" + std::to_string(times) + "}]"
        );
    }
    bool approved() {
        return eventually([&] {
            const std::lock_guard lock(world_->berth().mutex);
            return world_->berth().decided.size() == 1 && world_->berth().decided[0].approve();
        });
    }
    /// Bob has said something: his window of 24 hours is open.
    void start_with_bob() {
        start();
        say("whoami", kBob);
        wait_for("bob", kBob);
    }
    void approve_by_press(const Json& card) {
        press(card, "Approve", kBob);
        EXPECT_TRUE(approved());
        EXPECT_EQ(wait_for("by bob", kBob).string_or("answers", ""), card.string_or("id", "-"));
    }
    /// As Meta does that did not hear of the answer.
    void tell_again(int count) {
        fake_.tell("redeliver", R"({"count":)" + std::to_string(count) + "}");
        EXPECT_TRUE(eventually([&] { return fake_.look("state").int_or("pending", 1) == 0; }));
    }

    const std::string listen_;
};

TEST_F(WhatsAppBridge, PairsAndAnswers) {
    world_->berth().codes["ABC123"] = "carl";
    start();
    say("/berth pair ABC123", "16505550000");
    wait_for("carl", "16505550000");
    say("whoami");
    wait_for("ada");
    EXPECT_EQ(replies("16505550000").size(), 1U);
}

TEST_F(WhatsAppBridge, ACommandRunsAndTellsHowItEnded) {
    start();
    say("/berth run make test");
    run::v1::Run run = world_->wait_for_run();
    run.set_state(run::v1::RUN_STATE_SUCCEEDED);
    run.set_revision(5);
    world_->write(run, 0, "all is well\n", true);
    world_->tell(run, "succeeded");
    wait_for("all is well");
}

TEST_F(WhatsAppBridge, AnApprovalIsDecidedByAPress) {
    start_with_bob();
    world_->tell(world_->held("ap_1"), "requested");
    const Json card = wait_for("git push --force", kBob);
    approve_by_press(card);
}

TEST_F(WhatsAppBridge, ACardAfterADayOfSilenceHasButtons) {
    start_with_bob();
    fake_.tell("silence", std::string(R"({"person":")") + kBob + R"(","hours":25})");
    world_->tell(world_->held("ap_1"), "requested");
    const Json card = wait_for("git push --force", kBob);
    EXPECT_EQ(card.string_or("template", ""), "berth_approval");
    approve_by_press(card);
}

TEST_F(WhatsAppBridge, ACardThatDidNotArriveIsAskedByATemplate) {
    start_with_bob();
    lose(131'047);
    world_->tell(world_->held("ap_1"), "requested");
    const Json card = wait_for("git push --force", kBob);
    EXPECT_EQ(card.string_or("template", ""), "berth_approval");
    lose(131'047, 2);  // the answer, and what it came to
    press(card, "Approve", kBob);
    EXPECT_TRUE(approved());
    EXPECT_EQ(wait_for("Approved by bob", kBob).string_or("template", ""), "berth_news");
    tell_again(5);
    EXPECT_EQ(wait_for("It is approved by bob", kBob).string_or("template", ""), "berth_news");
    EXPECT_EQ(replies(kBob).size(), 4U);
}

TEST_F(WhatsAppBridge, WhatDidNotArriveGoesOutAsATemplateOnceOrIsGivenUp) {
    start();
    lose(131'047);
    say("whoami");
    EXPECT_EQ(wait_for("ada").string_or("template", ""), "berth_news");
    const std::string known = replies().front().string_or("id", "");
    lose(131'026);
    say("nonsense");
    ASSERT_TRUE(eventually([&] { return world_->dead_letters().size() == 1; }));
    EXPECT_NE(
        world_->dead_letters()[0].header("berth-dlq-reason").find("131026 Message undeliverable"),
        std::string::npos
    );
    EXPECT_EQ(world_->dead_letters()[0].header("berth-dlq-chat"), kAda);
    // Told again, of the template too, and of what nobody knows.
    tell_again(4);
    fake_.tell(
        "status",
        std::string(R"({"person":")") + kAda +
            R"(","id":"wamid.unknown","status":"failed","code":131047})"
    );
    fake_.tell(
        "status",
        std::string(R"({"person":")") + kAda + R"(","id":")" + known +
            R"(","status":"failed","code":131047})"
    );
    ASSERT_TRUE(eventually([&] { return world_->dead_letters().size() == 2; }));
    tell_again(3);
    say("last");
    wait_for("`last`");
    EXPECT_EQ(replies().size(), 2U);
    EXPECT_TRUE(eventually([&] { return world_->dead_letters().size() == 2; }));
}

TEST_F(WhatsAppBridge, ForgeriesDoNothing) {
    start();
    const std::string body = R"({\"object\":\"whatsapp_business_account\",\"entry\":[]})";
    for (const char* how : {"none", "wrong", "other"}) {
        EXPECT_EQ(
            fake_.tell("deliver", R"({"body":")" + body + R"(","signature":")" + how + "\"}")
                .int_or("status", 0),
            401
        ) << how;
    }
    EXPECT_EQ(
        fake_
            .tell(
                "deliver",
                R"({"body":")" + std::string((1U << 20U) + 1, 'x') + R"(","signature":"right"})"
            )
            .int_or("status", 0),
        413
    );
    const auto refused = [&] {
        const std::lock_guard lock(world_->berth().mutex);
        return world_->berth().refused;
    };
    ASSERT_TRUE(eventually([&] { return !refused().empty(); }));
    ASSERT_EQ(refused().size(), 1U) << "of one address once a minute";
    EXPECT_EQ(refused()[0].surface(), "whatsapp");
    EXPECT_EQ(refused()[0].user(), "") << "nothing that it says is believed";
    EXPECT_EQ(refused()[0].from(), "127.0.0.1");
    EXPECT_EQ(refused()[0].reason(), "the signature is not WhatsApp's");
    // The others were counted; a stop writes down how many.
    world_->stop();
    world_->start();
    ASSERT_TRUE(eventually([&] { return refused().size() > 1; }));
    EXPECT_EQ(refused()[1].from(), "127.0.0.1");
    EXPECT_EQ(
        refused()[1].reason(),
        "the signature is not WhatsApp's; 2 more requests since the last record"
    );
}

TEST_F(WhatsAppBridge, WithoutAListenerTheSettingsAreRefused) {
    const auto problem = [&](const std::string& more) {
        const std::string file = secrets_.file("token", kToken);
        config::Reader reader(config::Document::parse(
                                  "phone_number_id: \"1\"\ntoken_file: " + file +
                                      "\napp_secret_file: " + file +
                                      "\nverify_token_file: " + file + more,
                                  "test"
        )
                                  ->root());
        (void)read_platform(reader);
        const auto finished = reader.finish();
        return finished ? std::string() : finished.error().describe();
    };
    EXPECT_NE(problem("").find("web_listen"), std::string::npos) << problem("");
    EXPECT_EQ(problem("\nweb_listen: 127.0.0.1:7484"), "");
}

TEST_F(WhatsAppBridge, AChallengeWithAnotherVerifyTokenIsAudited) {
    start();
    const auto ask = [&](const char* token) {
        return fake_
            .tell(
                "hook",
                R"({"verify_token":")" + std::string(token) + R"(","url":"http://)" + listen_ +
                    R"(/whatsapp"})"
            )
            .int_or("status", 0);
    };
    EXPECT_EQ(ask("a-verify-tokem"), 403);
    EXPECT_EQ(ask(""), 403);
    const auto refused = [&] {
        const std::lock_guard lock(world_->berth().mutex);
        return world_->berth().refused;
    };
    ASSERT_TRUE(eventually([&] { return !refused().empty(); }));
    EXPECT_EQ(ask("a-verify-token"), 200);
    ASSERT_EQ(refused().size(), 1U) << "of one address once a minute";
    EXPECT_EQ(refused()[0].surface(), "whatsapp");
    EXPECT_EQ(refused()[0].user(), "");
    EXPECT_EQ(refused()[0].from(), "127.0.0.1");
    EXPECT_NE(refused()[0].reason().find("verify token"), std::string::npos);
}

TEST_F(WhatsAppBridge, LosesAndRepeatsNothingOverFaultsAndRestarts) {
    constexpr int kEach = 20;
    start();
    fake_.tell(
        "faults",
        R"([{"route":"messages","kind":"error","status":429,"code":130429,"times":2,"skip":5},
        {"route":"messages","kind":"error","status":502,"text":"<html>","times":2,"skip":9},{"route":"messages","kind":"drop","skip":12}])"
    );
    for (int i = 0; i < kEach; ++i) {
        if (i == 8) {
            world_->stop();
            fake_.tell("redeliver", R"({"count":3})");
            world_->start();
        }
        say("nonsense" + std::to_string(i) + "x");
    }
    ASSERT_TRUE(eventually([&] { return replies().size() >= kEach; }, seconds{90}))
        << replies().size();
    const auto all = replies();
    ASSERT_EQ(all.size(), static_cast<std::size_t>(kEach));
    for (int i = 0; i < kEach; ++i) {
        EXPECT_NE(
            all[static_cast<std::size_t>(i)]
                .string_or("text", "")
                .find("nonsense" + std::to_string(i) + "x"),
            std::string::npos
        );
    }
}

}  // namespace
}  // namespace berth::whatsapp
