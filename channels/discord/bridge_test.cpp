// SPDX-License-Identifier: Apache-2.0
// The whole path: people at the fake Discord, the bridge with real NATS and PostgreSQL, and
// services that the test plays.
#include <gtest/gtest.h>
#include <unistd.h>

#include "discord/discord.hpp"
#include "support/fakes/bridge_fixture.hpp"

namespace berth::discord {
namespace {

using berth::testing::BridgeTest;
using berth::testing::BridgeWorld;
using berth::testing::eventually;

constexpr const char* kToken = "MTAw.token.of-the-tests";

class DiscordBridge : public BridgeTest {
protected:
    DiscordBridge() : BridgeTest("discord", {"--token", kToken}) {
        const Json state = fake_.look("state");
        const std::string general = state.find("channels")->string_or("general", "");
        world_ = std::make_unique<BridgeWorld>(
            "api_url: " + fake_.api_url() + "/api/v10\ntoken_file: " +
                secrets_.file("token", kToken) + "\norgs:\n  acme: {chats: [\"" + general +
                "\"], approvals: [\"" + general + "\"]}\n",
            "discord",
            read_platform
        );
        know("anna", "operator");
        know("olga", "approver");
        tell("settings", "{'limits':{}}");
    }

    void know(const std::string& name, const std::string& role) {
        const std::string id = tell("person", "{'name':'" + name + "'}").string_or("id", "");
        world_->berth().people[id] = BridgeWorld::actor(name, role);
    }
    Json tell(const std::string& what, std::string body) {
        for (char& c : body) c = c == '\'' ? '"' : c;
        return fake_.tell(what, body);
    }
    void say(const std::string& person, const std::string& channel, const std::string& text) {
        tell(
            "message",
            "{'person':'" + person + "','channel':'" + channel + "','text':'" + text +
                "','mention':true}"
        );
    }
    std::string command(
        const std::string& person,
        const std::string& channel,
        const std::string& verb,
        const std::string& arguments = {}
    ) {
        const std::string inner =
            arguments.empty()
                ? ""
                : ",'options':[{'type':3,'name':'arguments','value':'" + arguments + "'}]";
        return tell(
                   "command",
                   "{'person':'" + person + "','channel':'" + channel +
                       "','options':[{'type':1,'name':'" + verb + "'" + inner + "}]}"
        )
            .string_or("interaction", "");
    }
    std::string click(const Json& message, const std::string& button, const std::string& person) {
        return tell(
                   "click",
                   "{'person':'" + person + "','channel':'general','message':'" +
                       message.string_or("id", "") + "','button':'" + button + "'}"
        )
            .string_or("interaction", "");
    }
    /// What the bot said there and still stands.
    std::vector<Json> seen(const std::string& channel = "general", const std::string& viewer = {}) {
        std::vector<Json> out;
        const Json all = fake_.look("channel/" + channel + (viewer.empty() ? "" : "?as=" + viewer));
        for (const Json& message : *all.find("messages")->as_array()) {
            if (message.bool_or("bot", false)) out.push_back(message);
        }
        return out;
    }
    /// Waits for the bot's message that holds `words`.
    Json wait_for(
        const std::string& words,
        const std::string& channel = "general",
        const std::string& viewer = {}
    ) {
        return wait_for_one(
            [&] { return seen(channel, viewer); },
            [&](const Json& message) { return message.dump().find(words) != std::string::npos; },
            words
        );
    }
    std::vector<warden::v1::Decide> decided() {
        const std::lock_guard lock(world_->berth().mutex);
        return world_->berth().decided;
    }
};

TEST_F(DiscordBridge, OfTwoInstancesOneIsConnectedAndTheOtherTakesOver) {
    constexpr int kSaid = 5;
    const auto replies = [&] {
        std::vector<std::string> out;
        const Json all = fake_.look("channel/general");
        for (const Json& message : *all.find("messages")->as_array()) {
            const std::string text = message.string_or("content", "");
            if (message.bool_or("bot", false) && text.find("nonsense") != std::string::npos)
                out.push_back(text);
        }
        return out;
    };
    world_->start();
    world_->start_another();
    for (int i = 0; i < kSaid; ++i) say("anna", "general", "nonsense" + std::to_string(i) + "x");
    ASSERT_TRUE(eventually([&] { return replies().size() == kSaid; }));
    EXPECT_EQ(fake_.look("state").int_or("live", 0), 1);
    world_->stop();
    for (int i = kSaid; i < 2 * kSaid; ++i)
        say("anna", "general", "nonsense" + std::to_string(i) + "x");
    ASSERT_TRUE(eventually([&] { return replies().size() == 2 * kSaid; }, seconds{60}));
    for (int i = 0; i < 2 * kSaid; ++i) {
        const std::string wanted = "nonsense" + std::to_string(i) + "x";
        EXPECT_NE(replies()[static_cast<std::size_t>(i)].find(wanted), std::string::npos) << i;
    }
}

TEST_F(DiscordBridge, WhatIsSaidWhileItsSessionIsLostIsAnsweredOnce) {
    const auto answers = [&](const std::string& words) {
        const auto all = seen();
        return std::count_if(all.begin(), all.end(), [&](const Json& message) {
            return message.string_or("content", "").find(words) != std::string::npos;
        });
    };
    world_->start();
    say("anna", "general", "nonsense0x");
    ASSERT_TRUE(eventually([&] { return answers("nonsense0x") == 1; }));
    tell("gateway", "{'do':'invalid','resumable':false}");
    say("anna", "general", "nonsense1x");
    say("anna", "general", "nonsense2x");
    ASSERT_TRUE(eventually([&] { return answers("nonsense2x") == 1; }, seconds{60}));
    world_->stop();
    tell("gateway", "{'do':'forget'}");
    say("anna", "general", "nonsense3x");
    world_->start();
    ASSERT_TRUE(eventually([&] { return answers("nonsense3x") == 1; }, seconds{60}));
    for (const char* words : {"nonsense0x", "nonsense1x", "nonsense2x", "nonsense3x"})
        EXPECT_EQ(answers(words), 1) << words;
    EXPECT_EQ(fake_.look("state").find("counts")->int_or("identified", 0), 3);
}

TEST_F(DiscordBridge, PairsAndAnswersWhereItWasAsked) {
    world_->berth().codes["ABC123"] = "carl";
    world_->start();
    command("carl", "dm:carl", "whoami");
    wait_for("pair", "dm:carl", "carl");
    command("carl", "dm:carl", "pair", "ABC123");
    wait_for("carl", "dm:carl", "carl");
    EXPECT_TRUE(seen().empty()) << "nothing of it in the channel";
}

TEST_F(DiscordBridge, ACommandRunsInAThreadAndItsCardFollowsIt) {
    world_->start();
    command("anna", "thread", "run", "make test");
    run::v1::Run run = world_->wait_for_run();
    ASSERT_TRUE(eventually([&] { return !seen("thread").empty(); }));
    run.set_state(run::v1::RUN_STATE_SUCCEEDED);
    run.set_revision(5);
    world_->write(run, 0, "all *good* @everyone\n", true);
    world_->tell(run, "succeeded");
    const Json card = wait_for("all *good* @everyone", "thread");
    EXPECT_EQ(card.find("components")->dump(), "[]") << "no button on what ended";
    EXPECT_EQ(seen("thread").size(), 1U)
        << "one card, in place of \"thinking\", edited: " << fake_.look("channel/thread").dump();
    EXPECT_TRUE(seen().empty()) << "nothing outside of the thread";
    say("anna", "general", "nonsense");
    wait_for("help");
}

TEST_F(DiscordBridge, AnApprovalIsDecidedByAClickAndEditedInPlace) {
    world_->start();
    world_->tell(world_->held("ap_1"), "requested");
    const Json card = wait_for("git push --force");
    const std::string stranger = click(card, "Approve", "mallory");
    const std::string decision = click(card, "Approve", "olga");
    ASSERT_TRUE(eventually([&] { return decided().size() == 1; }));
    EXPECT_TRUE(eventually([&] {
        for (const Json& message : seen()) {
            if (message.string_or("id", "") == card.string_or("id", "-"))
                return message.find("components")->dump() == "[]" &&
                       message.dump().find("olga") != std::string::npos;
        }
        return false;
    })) << fake_.look("channel/general").dump();
    for (const std::string& one : {stranger, decision}) {
        EXPECT_TRUE(eventually([&] {
            return fake_.look("interaction/" + one).int_or("answer", 0) == 6;
        }));
    }
}

TEST_F(DiscordBridge, ADenialSaysWhyInAModal) {
    world_->start();
    world_->tell(world_->held("ap_2"), "requested");
    const Json card = wait_for("git push --force");
    std::string asking;
    for (const Json& row : *card.find("components")->as_array()) {
        for (const Json& button : *row.find("components")->as_array()) {
            if (button.string_or("custom_id", "").starts_with("c:"))
                asking = button.string_or("custom_id", "");
        }
    }
    ASSERT_FALSE(asking.empty()) << card.dump();
    const std::string interaction = click(card, asking, "olga");
    ASSERT_TRUE(eventually([&] {
        return fake_.look("interaction/" + interaction).int_or("answer", 0) == 9;
    }));
    tell("submit", "{'interaction':'" + interaction + "','values':{'comment':'not on a Friday'}}");
    ASSERT_TRUE(eventually([&] { return decided().size() == 1; }));
    EXPECT_EQ(decided()[0].comment(), "not on a Friday");
    wait_for("not on a Friday");
}

TEST_F(DiscordBridge, TheSettingsAreChecked) {
    const auto problem = [](const std::string& text) {
        config::Reader reader(config::Document::parse(text, "test")->root());
        (void)read_platform(reader);
        const auto finished = reader.finish();
        return finished ? std::string() : finished.error().describe();
    };
    EXPECT_NE(problem("api_url: https://x").find("token_file"), std::string::npos);
    EXPECT_NE(problem("token_file: /nowhere").find("token_file"), std::string::npos);
    EXPECT_EQ(problem("token_file: " + secrets_.file("token", kToken)), "");
    EXPECT_NE(
        problem("api_url: ftp://x\ntoken_file: " + secrets_.file("token", kToken)).find("api_url"),
        std::string::npos
    );
}

TEST_F(DiscordBridge, LosesAndRepeatsNothingOverFaultsAndRestarts) {
    constexpr int kPeople = 5;
    constexpr int kEach = 24;
    for (int i = 0; i < kPeople; ++i) know("p" + std::to_string(i), "operator");
    world_->start();
    tell(
        "faults",
        "[{'method':'POST','path':'/messages$','kind':'429','retry_after':0.3,'times':3,'skip':15},"
        "{'method':'POST','path':'/"
        "messages$','kind':'error','status':502,'when':'after','times':2,'skip':25},"
        "{'method':'POST','path':'/messages$','kind':'error','status':503,'times':2,'skip':30},"
        "{'method':'POST','path':'/messages$','kind':'drop','when':'after','times':2,'skip':40},"
        "{'method':'POST','path':'/messages$','kind':'drop','times':2,'skip':50}]"
    );
    for (int i = 0; i < kEach; ++i) {
        if (i == 6) tell("gateway", "{'do':'reconnect'}");
        if (i == 10) tell("gateway", "{'do':'drop'}");
        if (i == 14) {
            world_->stop();
            for (int p = 0; p < kPeople; ++p)
                say("p" + std::to_string(p),
                    "dm:p" + std::to_string(p),
                    "nonsense" + std::to_string(i) + "x");
            world_->start();
            continue;
        }
        if (i == 18) tell("gateway", "{'do':'invalid','resumable':true}");
        for (int p = 0; p < kPeople; ++p)
            say("p" + std::to_string(p),
                "dm:p" + std::to_string(p),
                "nonsense" + std::to_string(i) + "x");
    }
    for (int p = 0; p < kPeople; ++p) {
        const std::string place = "dm:p" + std::to_string(p);
        ASSERT_TRUE(eventually([&] { return seen(place).size() >= kEach; }, seconds{90}))
            << seen(place).size();
        const auto replies = seen(place);
        ASSERT_EQ(replies.size(), static_cast<std::size_t>(kEach)) << "none twice";
        for (int i = 0; i < kEach; ++i) {
            const std::string text = replies[static_cast<std::size_t>(i)].string_or("content", "");
            EXPECT_NE(text.find("nonsense" + std::to_string(i) + "x"), std::string::npos) << text;
        }
    }
}

}  // namespace
}  // namespace berth::discord
