// SPDX-License-Identifier: Apache-2.0
// The Gateway against the fake: every way in which a session ends, and that nothing said is lost.
#include "discord/test_world.hpp"

namespace berth::discord {
namespace {

using berth::testing::eventually;

class GatewayTest : public World {
protected:
    /// Something is said after `act`, whatever that does to the connection; it arrives, once, and
    /// after what was said before.
    void survives(const std::function<void()>& act, const std::string& what) {
        const std::size_t before = heard_.events().size();
        say("before " + what);
        act();
        say("after " + what);
        ASSERT_TRUE(heard_.wait_events(before + 2, seconds{30})) << what;
        ASSERT_TRUE(eventually([&] { return fake_.look("state").int_or("live", 0) == 1; })) << what;
        std::vector<std::string> texts;
        std::vector<std::string> ids;
        const auto events = heard_.events();
        for (std::size_t i = before; i < events.size(); ++i) {
            if (std::find(ids.begin(), ids.end(), events[i].event_id) != ids.end())
                continue;  // a repetition
            ids.push_back(events[i].event_id);
            texts.push_back(events[i].text);
        }
        EXPECT_EQ(texts, (std::vector<std::string>{"before " + what, "after " + what}));
    }
    std::function<void()> order(std::string body) {
        return [this, body = std::move(body)] { tell("gateway", body); };
    }
};

TEST_F(GatewayTest, ResumesAfterEveryEndThatAllowsIt) {
    start();
    survives(order("{'do':'reconnect'}"), "op 7");
    survives(order("{'do':'drop'}"), "a dropped socket");
    survives(order("{'do':'invalid','resumable':true}"), "op 9 true");
    survives(order("{'do':'close','code':4000}"), "4000");
    EXPECT_EQ(counted("identified"), 1);
    EXPECT_GE(counted("resumed"), 4);
    EXPECT_TRUE(heard_.wait_ready());
}

TEST_F(GatewayTest, IdentifiesAgainWhereTheSessionIsLost) {
    start();
    tell("gateway", "{'do':'invalid','resumable':false}");
    ASSERT_TRUE(eventually([&] { return counted("identified") == 2; }, seconds{20}));
    ASSERT_TRUE(heard_.wait_ready());
    tell("gateway", "{'do':'close','code':4009}");
    ASSERT_TRUE(eventually([&] { return counted("identified") == 3; }, seconds{20}));
    ASSERT_TRUE(heard_.wait_ready());
    EXPECT_EQ(counted("identify refused"), 0);
    say("still here");
    EXPECT_EQ(heard(0).text, "still here");
}

TEST_F(GatewayTest, AsksForWhatWasSaidWithoutASession) {
    start();
    say("alone", "general", "ben");
    ASSERT_TRUE(heard_.wait_events(1));
    survives(order("{'do':'invalid','resumable':false}"), "op 9 false");
    survives(order("{'do':'close','code':4009}"), "4009");
    EXPECT_EQ(counted("identified"), 3);
    EXPECT_EQ(counted("identify refused"), 0);
    for (const auto& event : heard_.events()) {
        EXPECT_EQ(event.conversation, (chat::Conversation{general_, ""}));
        EXPECT_FALSE(event.direct);
    }
    // Also where nothing was said before.
    const std::size_t known = heard_.events().size();
    tell("gateway", "{'do':'invalid','resumable':false}");
    say("first words", "other");
    ASSERT_TRUE(heard_.wait_events(known + 1));
    for (const auto& event : heard_.events()) {
        if (event.text == "first words") {
            EXPECT_EQ(event.conversation, (chat::Conversation{other_, ""}));
        }
    }
    // Nor where the next process finds the session lost, and Discord busy.
    platform_->stop();
    const std::size_t before = heard_.events().size();
    tell("gateway", "{'do':'forget'}");
    say("missed");
    tell("message", "{'person':'ann','channel':'general','text':'chatter'}");
    tell("faults", "[{'method':'GET','path':'/messages','kind':'error','status':502}]");
    start();
    ASSERT_TRUE(heard_.wait_events(before + 1));
    EXPECT_EQ(heard_.events()[before].text, "missed");
    EXPECT_EQ(heard_.events().size(), before + 1);
}

TEST_F(GatewayTest, BeatsAtTheIntervalAndLeavesAZombie) {
    tell("settings", "{'heartbeat_interval':300}");
    start();
    ASSERT_TRUE(eventually([&] { return counted("heartbeat") >= 3; }));
    const auto beats = counted("heartbeat");
    tell("gateway", "{'do':'ask_beat'}");
    ASSERT_TRUE(eventually([&] { return counted("heartbeat") > beats; }));
    survives(order("{'do':'mute'}"), "a zombie");
    EXPECT_EQ(counted("resumed"), 1);
    EXPECT_EQ(counted("identified"), 1);
    EXPECT_EQ(counted("no heartbeat"), 0);
}

TEST_F(GatewayTest, WhatIsNotStoredIsNotCounted) {
    start();
    say("one");
    ASSERT_TRUE(heard_.wait_events(1));
    heard_.fail(1'000'000);
    say("two");
    say("three");
    ASSERT_TRUE(eventually([&] { return heard_.asked() >= 3; }));
    platform_.reset();  // as killed: what was not stored is in no file
    heard_.fail(0);
    say("four");
    start();
    ASSERT_TRUE(heard_.wait_events(4));
    std::vector<std::string> texts;
    for (const auto& event : heard_.events()) texts.push_back(event.text);
    EXPECT_EQ(texts, (std::vector<std::string>{"one", "two", "three", "four"}));
    EXPECT_EQ(counted("identified"), 1);
}

TEST_F(GatewayTest, ARevokedTokenIsToldAndANewOneTaken) {
    start();
    tell("token", "{'token':'another'}");
    EXPECT_TRUE(heard_.wait_unready("4004", seconds{30})) << heard_.state().reason;
    change_token("another");
    EXPECT_TRUE(heard_.wait_ready(seconds{30})) << heard_.state().reason;
}

TEST_F(GatewayTest, AWrongTokenFromTheStartIsTold) {
    change_token("wrong");
    make();
    ASSERT_TRUE(platform_->start(heard_));
    EXPECT_TRUE(heard_.wait_unready("401", seconds{30})) << heard_.state().reason;
}

TEST_F(GatewayTest, MistakesThatStayAreToldAndNotRepeated) {
    start();
    tell("gateway", "{'do':'close','code':4014}");
    EXPECT_TRUE(heard_.wait_unready("4014"));
    const auto connected = counted("connected");
    EXPECT_FALSE(eventually([&] { return counted("connected") > connected; }, seconds{3}));
}

TEST_F(GatewayTest, TheDaysSessionsAreNotOverdrawn) {
    tell("settings", "{'identify_remaining':0,'identify_reset_after':86400000}");
    make();
    ASSERT_TRUE(platform_->start(heard_));
    EXPECT_TRUE(heard_.wait_unready("no more sessions"));
    EXPECT_EQ(counted("connected"), 0);
}

TEST_F(GatewayTest, ManyAtOnceKeepTheirOrder) {
    tell("settings", "{'answer_within':60}");  // the modal stands behind all of them
    start();
    const auto posted = platform_->post(card("Approve?"));
    ASSERT_TRUE(posted.value) << posted.error.reason;
    constexpr int kMany = 5'000;
    constexpr int kAtOnce = 1'000;
    heard_.hold(true);
    for (int i = 0; i < kMany; i += kAtOnce) {
        tell(
            "message",
            "{'person':'ann','channel':'general','text':'{n}','mention':true,'count':1000,'from':" +
                std::to_string(i) + "}"
        );
        if (i == 0) {
            // A modal is answered as soon as it comes: then all that was said before it is there.
            const std::string asking = tell(
                                           "click",
                                           "{'person':'bob','channel':'general','message':'" +
                                               posted.value->message + "','button':'Deny'}"
            )
                                           .string_or("interaction", "");
            ASSERT_TRUE(eventually([&] {
                return fake_.look("interaction/" + asking).int_or("answer", 0) == 9;
            }));
        }
        heard_.hold(false);
        ASSERT_TRUE(heard_.wait_events(static_cast<std::size_t>(i + kAtOnce), seconds{60}));
        if (i == 0) {
            EXPECT_LT(heard_.asked(), kAtOnce / 2) << "what came meanwhile is stored together";
        }
    }
    const auto events = heard_.events();
    for (int i = 0; i < kMany; ++i)
        ASSERT_EQ(events[static_cast<std::size_t>(i)].text, std::to_string(i));
}

}  // namespace
}  // namespace berth::discord
