// SPDX-License-Identifier: Apache-2.0
// The whole path: a person at the fake Telegram, the bridge with real NATS and PostgreSQL, and
// services that the test plays.
#include <gtest/gtest.h>

#include <map>

#include "support/fakes/bridge_fixture.hpp"
#include "telegram/telegram.hpp"

namespace berth::telegram {
namespace {

using berth::testing::BridgeTest;
using berth::testing::BridgeWorld;
using berth::testing::eventually;

constexpr const char* kToken = "700100200:AAE-a_token_of_the_tests_only-0123456";
constexpr const char* kGroup = "-1007";

class TelegramBridge : public BridgeTest {
protected:
    TelegramBridge() : BridgeTest("telegram", {"--token", kToken}) {
        fake_.tell("chat", std::string(R"({"id":)") + kGroup + R"(,"title":"ops"})");
        world_ = std::make_unique<BridgeWorld>(
            "api_url: " + fake_.api_url() + "\ntoken_file: " + secrets_.file("token", kToken) +
                "\norgs:\n  acme: {chats: [\"-1007\"], approvals: [\"-1007\"]}\n",
            "telegram",
            read_platform
        );
        world_->berth().people["5"] = BridgeWorld::actor("anna", "operator");
        world_->berth().people["6"] = BridgeWorld::actor("olga", "approver");
    }
    std::int64_t say(const std::string& text, const std::string& chat = kGroup, int person = 5) {
        Json order = Json::object();
        order.set("person", person).set("text", text).set("chat", std::int64_t{std::stoll(chat)});
        return fake_.tell("say", order.dump()).int_or("message", 0);
    }
    std::vector<Json> seen(const std::string& chat = kGroup) {
        return *fake_.look("chat/" + chat).find("messages")->as_array();
    }
    /// The bot's message that holds `words`, when it is there.
    Json wait_for(const std::string& words, const std::string& chat = kGroup) {
        return wait_for_one(
            [&] { return seen(chat); },
            [&](const Json& message) {
                return message.bool_or("bot", false) &&
                       message.string_or("text", "").find(words) != std::string::npos;
            },
            words
        );
    }
    std::string click(const Json& message, const std::string& button, int person) {
        return fake_
            .tell(
                "click",
                std::string(R"({"chat":)") + kGroup + R"(,"person":)" + std::to_string(person) +
                    R"(,"button":")" + button + R"(","message":)" +
                    std::to_string(message.int_or("message", 0)) + "}"
            )
            .string_or("query", "");
    }
};

TEST_F(TelegramBridge, PairsAndAnswersInTheChatItWasAskedIn) {
    world_->berth().codes["ABC123"] = "carl";
    world_->start();
    say("/whoami", "9", 9);
    wait_for("pair", "9");
    say("/start ABC123", "9", 9);
    wait_for("carl", "9");
    say("/whoami", "9", 9);
    EXPECT_TRUE(eventually([&] {
        int told = 0;
        for (const Json& message : seen("9"))
            told += message.bool_or("bot", false) &&
                            message.string_or("text", "").find("carl") != std::string::npos
                        ? 1
                        : 0;
        return told >= 2;
    })) << fake_.look("chat/9").dump();
    EXPECT_TRUE(seen().empty()) << "nothing of it in the group";
}

TEST_F(TelegramBridge, ACommandRunsAndItsCardFollowsIt) {
    world_->start();
    say("/run make test");
    run::v1::Run run = world_->wait_for_run();
    EXPECT_TRUE(eventually([&] { return !seen().empty() && seen().size() >= 2; }));
    run.set_state(run::v1::RUN_STATE_SUCCEEDED);
    run.set_revision(5);
    world_->write(run, 0, "all <good> & well\n", true);
    world_->tell(run, "succeeded");
    const Json card = wait_for("all <good> & well");
    EXPECT_EQ(card.find("buttons")->dump(), "[]") << "no button on what ended";
    EXPECT_EQ(seen().size(), 2U) << "one card, edited";
    say("/nonsense@berth_test_bot");
    wait_for("help");
}

TEST_F(TelegramBridge, AnApprovalIsDecidedByAClickAndEditedInPlace) {
    world_->start();
    world_->tell(world_->held("ap_1"), "requested");
    const Json card = wait_for("git push --force");
    EXPECT_EQ(card.find("notified")->dump(), "[]");
    const std::string stranger = click(card, "Approve", 7);
    const std::string query = click(card, "Approve", 6);
    EXPECT_TRUE(eventually([&] {
        const std::lock_guard lock(world_->berth().mutex);
        return world_->berth().decided.size() == 1;
    }));
    EXPECT_TRUE(eventually([&] {
        for (const Json& message : seen()) {
            if (message.int_or("message", 0) == card.int_or("message", 1))
                return message.find("buttons")->dump() == "[]" &&
                       message.string_or("text", "").find("olga") != std::string::npos;
        }
        return false;
    })) << fake_.look(std::string("chat/") + kGroup).dump();
    for (const std::string& one : {stranger, query}) {
        EXPECT_TRUE(eventually([&] {
            return fake_.look("query/" + one).find("answer")->is_object();
        })) << "the waiting sign went";
    }
}

TEST_F(TelegramBridge, TheSettingsAreChecked) {
    const auto problem = [](const std::string& text) {
        config::Reader reader(config::Document::parse(text, "test")->root());
        (void)read_platform(reader);
        const auto finished = reader.finish();
        return finished ? std::string() : finished.error().describe();
    };
    EXPECT_NE(problem("api_url: x").find("token_file"), std::string::npos);
    EXPECT_EQ(problem("token_file: " + secrets_.file("token", kToken)), "");
    EXPECT_NE(problem("token_file: /nowhere").find("token_file"), std::string::npos);
    EXPECT_NE(
        problem("webhook_url: https://x/h\ntoken_file: " + secrets_.file("token", kToken))
            .find("webhook_secret_file"),
        std::string::npos
    );
    EXPECT_NE(
        problem(
            "webhook_url: https://x/h\nwebhook_secret_file: " + secrets_.file("token", kToken) +
            "\ntoken_file: " + secrets_.file("token", kToken)
        )
            .find("must hold"),
        std::string::npos
    );
    EXPECT_EQ(
        problem("token_file: " + secrets_.file("token", kToken) + "\nwebhook_secret_file: /x"), ""
    );
    const std::string hook =
        "webhook_url: https://x/h\nwebhook_secret_file: " + secrets_.file("secret", "good") +
        "\ntoken_file: " + secrets_.file("token", kToken);
    EXPECT_NE(problem(hook).find("needs web_listen"), std::string::npos) << problem(hook);
    EXPECT_EQ(problem(hook + "\nweb_listen: 127.0.0.1:7482"), "");
}

TEST_F(TelegramBridge, OfTwoInstancesOnePollsAndTheOtherTakesOver) {
    constexpr int kSaid = 4;  // less than a private chat's burst
    world_->berth().people["9"] = BridgeWorld::actor("nina", "operator");
    const auto replies = [&] {
        std::vector<std::string> out;
        for (const Json& message : seen("9")) {
            if (message.bool_or("bot", false)) out.push_back(message.string_or("text", ""));
        }
        return out;
    };
    world_->start();
    world_->start_another();
    for (int i = 0; i < kSaid; ++i) say("/nonsense" + std::to_string(i) + "x", "9", 9);
    ASSERT_TRUE(eventually([&] { return replies().size() == kSaid; }));
    world_->stop();
    for (int i = kSaid; i < 2 * kSaid; ++i) say("/nonsense" + std::to_string(i) + "x", "9", 9);
    ASSERT_TRUE(eventually([&] { return replies().size() == 2 * kSaid; }, seconds{60}));
    for (int i = 0; i < 2 * kSaid; ++i) {
        const std::string wanted = "nonsense" + std::to_string(i) + "x";
        EXPECT_NE(replies()[static_cast<std::size_t>(i)].find(wanted), std::string::npos) << i;
    }
    // The poll that the first one left behind may still hang when the second one begins.
    EXPECT_LE(fake_.look("state").int_or("conflicts", 9), 1) << "never two at once";
}

TEST_F(TelegramBridge, LosesAndRepeatsNothingOverFaultsAndRestarts) {
    constexpr int kChats = 6;
    constexpr int kEach = 25;
    world_->berth().people.clear();
    for (int chat = 0; chat < kChats; ++chat)
        world_->berth().people[std::to_string(100 + chat)] = BridgeWorld::actor("anna", "operator");
    world_->start();
    fake_.tell(
        "faults", R"([
        {"method":"getUpdates","kind":"drop_after","times":2,"skip":2},{"method":"getUpdates","kind":"error","status":502,"times":2,"skip":3},
        {"method":"sendMessage","kind":"error","status":429,"retry_after":1,"times":3,"skip":20},
        {"method":"sendMessage","kind":"error","status":502,"times":4,"skip":40},{"method":"sendMessage","kind":"drop","times":2,"skip":60}])"
    );
    for (int chat = 0; chat < kChats; ++chat) {
        for (int i = 0; i < kEach; ++i) {
            if (i == 10 && chat % 2 == 0) {
                world_->stop();
                fake_.tell("redeliver", R"({"count":5})");
                world_->start();
            }
            say("/berth nonsense" + std::to_string(i) + "x", std::to_string(100 + chat), 100 + chat
            );
        }
    }
    for (int chat = 0; chat < kChats; ++chat) {
        const auto replies = [&] {
            std::vector<std::string> said;
            for (const Json& message : seen(std::to_string(100 + chat))) {
                if (message.bool_or("bot", false)) said.push_back(message.string_or("text", ""));
            }
            return said;
        };
        ASSERT_TRUE(eventually([&] { return replies().size() >= kEach; }, seconds{90}))
            << replies().size();
        const auto all = replies();
        std::map<int, int> told;
        int next = 0;
        for (const std::string& text : all) {
            // A message whose connection broke under it may be there twice; none is missing, none
            // out of order.
            for (int i = std::max(next - 1, 0); i < kEach; ++i) {
                if (text.find("nonsense" + std::to_string(i) + "x") == std::string::npos) continue;
                EXPECT_GE(i + 1, next) << text;
                ++told[i];
                next = i + 1;
                break;
            }
        }
        EXPECT_EQ(told.size(), static_cast<std::size_t>(kEach));
        EXPECT_EQ(all.size(), static_cast<std::size_t>(kEach))
            << "a connection that broke before the effect repeats nothing";
    }
}

}  // namespace
}  // namespace berth::telegram
