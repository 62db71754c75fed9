// SPDX-License-Identifier: Apache-2.0
// What words in a chat must never do: decide another command than the one meant, act long after
// they were said, or be lost without a word.
#include <gtest/gtest.h>

#include "chat/settings.hpp"
#include "chat/store.hpp"
#include "service/proto_time.hpp"
#include "support/chat/bridge_world.hpp"
#include "support/has.hpp"

namespace berth::testing {
namespace {

using std::chrono::minutes;

/// An answer that says `words`.
bool answered(BridgeWorld& world, const std::string& words) {
    return world.chat().wait_for([&](const Shown& m) { return has(m.content.markdown, words); }
    ).has_value();
}

/// That nothing else is done by what was said before: a conversation keeps its order.
bool all_done(BridgeWorld& world, const std::string& person, const std::string& name) {
    world.chat().tell_surely(said("whoami", person));
    return answered(world, "You are `" + name + "`");
}

std::vector<warden::v1::Decide> decided(BridgeWorld& world) {
    const std::lock_guard lock(world.berth().mutex);
    return world.berth().decided;
}

chat::Inbound message(const std::string& text) {
    auto out = said(text, "U2", "A1");
    out.kind = chat::InboundKind::kMessage;
    return out;
}

/// Olga has pressed "Deny with comment" on the card of that approval, and is asked why.
void ask_why(BridgeWorld& world, const std::string& approval) {
    world.chat().traits.modals = false;
    world.start();
    world.tell(world.held(approval), "requested");
    ASSERT_TRUE(world.chat().wait_until([](const auto& all) { return all.size() == 2; }));
    world.chat().tell_surely(clicked(world.chat().in("A1").at(0), "Deny with comment", "U2"));
    ASSERT_TRUE(answered(world, "Say why"));
}

TEST(BridgeWords, AnIdIsFoundHoweverItWasCopied) {
    BridgeWorld world;
    world.start();
    for (const char* id : {"ap_1", "ap_2", "ap_3", "ap_4"}) world.tell(world.held(id), "requested");
    world.chat().tell_surely(said("approve `ap_1` it's fine", "U2"));
    world.chat().tell_surely(said("approve Ap_2", "U2"));
    world.chat().tell_surely(said("deny (AP_3), don't", "U2"));
    ASSERT_TRUE(all_done(world, "U2", "olga"));
    const auto all = decided(world);
    ASSERT_EQ(all.size(), 3U);
    EXPECT_EQ(all[0].approval(), "ap_1");
    EXPECT_EQ(all[0].comment(), "it's fine");
    EXPECT_EQ(all[1].approval(), "ap_2");
    EXPECT_EQ(all[1].comment(), "");
    EXPECT_EQ(all[2].approval(), "ap_3");
    EXPECT_EQ(all[2].comment(), "don't");
}

TEST(BridgeWords, WordsThatAreNoIdDecideNothing) {
    BridgeWorld world;
    world.start();
    world.tell(world.held("ap_1"), "requested");
    for (const char* words :
         {"approve app_2", "approve ap-2", "approve ap_2", "approve fine", "deny not on a Friday"})
        world.chat().tell_surely(said(words, "U2"));
    ASSERT_TRUE(all_done(world, "U2", "olga"));
    EXPECT_TRUE(decided(world).empty());
    EXPECT_TRUE(answered(world, "`app_2` is no approval's id"));
    EXPECT_TRUE(answered(world, "there is no such approval"));
    EXPECT_TRUE(answered(world, "Usage: `/berth deny [APPROVAL [COMMENT...]]`"));
}

TEST(BridgeWords, WithoutAnIdOnlyWhatWaitedWhenTheyWereSaidIsDecided) {
    BridgeWorld world;
    world.start();
    auto early = said("approve", "U2");
    world.tell(world.held("ap_since"), "requested");
    world.chat().tell_surely(early);
    ASSERT_TRUE(answered(world, "asked for after you said that"));
    EXPECT_TRUE(decided(world).empty());
    // Two waited; the one that was meant may be the one that is over.
    auto between = said("approve", "U2", "C2");
    auto other = world.held("ap_over");
    *other.mutable_created_at() = service::to_timestamp(between.at - minutes{1});
    other.set_state(warden::v1::APPROVAL_STATE_EXPIRED);
    *other.mutable_ended_at() = service::to_timestamp(between.at + seconds{1});
    world.tell(other, "expired");
    world.chat().tell_surely(between);
    ASSERT_TRUE(answered(world, "several commands waited"));
    EXPECT_TRUE(decided(world).empty());
    auto plain = said("approve", "U2");
    plain.at += seconds{2};
    world.chat().tell_surely(plain);
    ASSERT_TRUE(answered(world, "approved by `olga`"));
    EXPECT_EQ(decided(world).at(0).approval(), "ap_since");
}

TEST(BridgeWords, WhatActsIsNotDoneLongAfterItWasSaid) {
    BridgeWorld world;
    world.start();
    auto waiting = world.held("ap_1");
    *waiting.mutable_created_at() = service::to_timestamp(Clock::system().now() - minutes{60});
    world.tell(waiting, "requested");
    for (const char* words : {"run make", "cancel rn_1", "release calm-otter", "resume hl_1"}) {
        auto late = said(words);
        late.at -= minutes{11};
        world.chat().tell_surely(late);
    }
    for (const char* words : {"approve", "approve ap_1", "deny ap_1"}) {
        auto late = said(words, "U2");
        late.at -= minutes{11};
        world.chat().tell_surely(late);
    }
    auto halt = said("halt it's late");
    halt.at -= minutes{61};
    world.chat().tell_surely(halt);
    ASSERT_TRUE(all_done(world, "U2", "olga"));
    for (const char* verb : {"run", "cancel", "release", "resume", "approve", "deny", "halt"})
        EXPECT_TRUE(answered(world, "You said `" + std::string(verb) + "` at "));
    const std::lock_guard lock(world.berth().mutex);
    EXPECT_EQ(world.berth().asked, 0);
}

TEST(BridgeWords, WhatWasBegunInTimeIsCarriedOutHoweverLate) {
    BridgeWorld world;
    world.start();
    auto pressed = said("run make");
    pressed.at -= minutes{9};
    world.chat().tell_surely(pressed);
    (void)world.wait_for_run();
    // As a crash leaves it that came after the first command went out.
    auto stored = world.pool().transact([&](store::Transaction& tx) -> Result<bool> {
        static constexpr store::Statement kBegun{
            "INSERT INTO inbound (event_id, command_id, conversation, body, begun) SELECT 'begun', "
            "'cmd_begun', conversation, jsonb_set(jsonb_set(body::jsonb, '{text}', '\"run make "
            "again\"'), '{at}', to_jsonb((body::jsonb->>'at')::bigint - 1800000000))::text, true "
            "FROM inbound",
            "test_begun"};
        BERTH_TRY(tx.exec(kBegun, {}));
        return true;
    });
    ASSERT_TRUE(stored) << stored.error().describe();
    (void)world.wait_for_run(2);
}

TEST(BridgeWords, AClickIsGoodLongAfterItWasMade) {
    BridgeWorld world;
    world.start();
    world.tell(world.held("ap_1"), "requested");
    ASSERT_TRUE(world.chat().wait_until([](const auto& all) { return all.size() == 2; }));
    auto click = clicked(world.chat().in("A1").at(0), "Approve", "U2");
    click.at -= minutes{60};  // what it decides stands in it
    world.chat().tell_surely(click);
    ASSERT_TRUE(answered(world, "approved by `olga`"));
}

TEST(BridgeWords, ACommandIsNotTakenForTheReasonOfADenial) {
    BridgeWorld world;
    ask_why(world, "ap_1");
    world.tell(world.held("ap_2"), "requested");
    world.chat().tell_surely(message("status"));
    ASSERT_TRUE(answered(world, "Berth answers"));
    EXPECT_TRUE(answered(world, "still asked for"));
    world.chat().tell_surely(message("approve ap_2"));
    ASSERT_TRUE(answered(world, "approved by `olga`"));
    world.chat().tell_surely(message("not on a Friday"));
    ASSERT_TRUE(answered(world, "denied by `olga`"));
    const auto all = decided(world);
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0].approval(), "ap_2");
    EXPECT_EQ(all[1].approval(), "ap_1");
    EXPECT_EQ(all[1].comment(), "not on a Friday");
}

TEST(BridgeWords, BerthIsCalledTheSameEverywhere) {
    BridgeWorld world;
    world.start();
    for (const char* before :
         {"/berth ", "/Berth ", "/berth\n", "/berth\t", "/berth\u00a0", "berth ", "Berth ", "/"})
        world.chat().tell_surely(message(std::string(before) + "whoami"));
    ASSERT_TRUE(world.chat().wait_until([](const auto& all) { return all.size() == 8; }));
    for (const Shown& shown : world.chat().in("A1"))
        EXPECT_TRUE(has(shown.content.markdown, "You are `olga`")) << shown.content.markdown;
    world.berth().codes["CODE"] = "nina";
    auto pair = said("berth pair CODE", "U9", "C1");
    pair.kind = chat::InboundKind::kMessage;
    world.chat().tell_surely(pair);
    EXPECT_TRUE(answered(world, "You are linked"));
}

TEST(BridgeWords, ACommandIsNoReasonHoweverItIsSpelt) {
    BridgeWorld world;
    ask_why(world, "ap_1");
    int number = 1;
    for (const char* before :
         {"/Berth ", "/", "berth ", "Berth, ", "/berth\u00a0", "/BERTH\n", " /Berth\t"}) {
        const std::string id = "ap_" + std::to_string(++number);
        world.tell(world.held(id), "requested");
        world.chat().tell_surely(message(before + ("approve " + id)));
    }
    world.chat().tell_surely(message("/usr/bin/env is not for agents"));
    EXPECT_TRUE(answered(world, "There is no command `usr/bin/env`"));
    EXPECT_TRUE(answered(world, "Why you deny is still asked for"));
    world.chat().tell_surely(message("`approve ap_1`"));
    EXPECT_TRUE(answered(world, "may be a command or why you deny"));
    ASSERT_TRUE(all_done(world, "U2", "olga"));
    const auto all = decided(world);
    ASSERT_EQ(all.size(), 7U);
    for (const auto& each : all) {
        EXPECT_TRUE(each.approve());
        EXPECT_NE(each.approval(), "ap_1");
    }
}

TEST(BridgeWords, BerthMayBeCalledByItsNameWhereAReasonIsAskedFor) {
    BridgeWorld world;
    ask_why(world, "ap_1");
    int number = 1;
    for (const char* before :
         {"@berth ", "@Berth, ", "\u200e/berth ", "\ufeff", "\u200e@berth\u200e "}) {
        const std::string id = "ap_" + std::to_string(++number);
        world.tell(world.held(id), "requested");
        world.chat().tell_surely(message(before + ("approve " + id)));
    }
    world.chat().tell_surely(message("whoami"));
    ASSERT_TRUE(answered(world, "You are `olga`"));
    const auto all = decided(world);
    ASSERT_EQ(all.size(), 5U);
    for (const auto& each : all) {
        EXPECT_TRUE(each.approve());
        EXPECT_NE(each.approval(), "ap_1");
    }
}

TEST(BridgeWords, WhatNamesAnApprovalIsNoReason) {
    for (const char* words :
         {"please approve ap_2",
          "ap_2 approve",
          "I meant `AP_2`",
          "ok, approve it",
          "hey @berth let it run",
          "\u200erun it on staging first"}) {
        BridgeWorld world;
        ask_why(world, "ap_1");
        world.tell(world.held("ap_2"), "requested");
        world.chat().tell_surely(message(words));
        EXPECT_TRUE(answered(world, "may be a command or why you deny")) << words;
        EXPECT_TRUE(decided(world).empty()) << words;
    }
}

TEST(BridgeWords, WhatMayBeAReasonOrACommandIsNeither) {
    BridgeWorld world;
    world.berth().people["U2"].add_roles("operator");
    ask_why(world, "ap_1");
    world.chat().tell_surely(message("run it on staging first"));
    ASSERT_TRUE(answered(world, "nothing was done"));
    EXPECT_TRUE(answered(world, "deny ap_1 WHY"));
    {
        const std::lock_guard lock(world.berth().mutex);
        EXPECT_EQ(world.berth().asked, 0);
    }
    world.chat().tell_surely(message("run make test"));  // and no reason is asked for any more
    EXPECT_EQ(world.wait_for_run().argv(0), "make");
    EXPECT_TRUE(decided(world).empty());
}

TEST(BridgeWords, ADenialThatFailsIsToldAndAsksForNoReasonAnyMore) {
    BridgeWorld world;
    ask_why(world, "ap_1");
    {
        const std::lock_guard lock(world.berth().mutex);
        auto& over = world.berth().approvals["ap_1"];
        over.set_state(warden::v1::APPROVAL_STATE_APPROVED);
        over.set_decided_by("otto");
    }
    world.chat().tell_surely(message("not on a Friday"));
    ASSERT_TRUE(answered(world, "decided by otto. Nothing was done"));
    world.chat().tell_surely(message("leases"));
    ASSERT_TRUE(answered(world, "No machine"));
    EXPECT_FALSE(world.chat().wait_for(
        [](const Shown& m) { return has(m.content.markdown, "still asked for"); }, milliseconds{0}
    ));
}

TEST(BridgeWords, WhyIsNotAskedForAnyMoreOnceACommandDecided) {
    BridgeWorld world;
    ask_why(world, "ap_1");
    world.chat().tell_surely(message("/berth approve ap_1"));
    ASSERT_TRUE(answered(world, "approved by `olga`"));
    world.chat().tell_surely(message("sorry for the noise"));  // nobody's answer any more
    ASSERT_TRUE(answered(world, "There is no command `sorry`"));
    EXPECT_FALSE(world.chat().wait_for(
        [](const Shown& m) { return has(m.content.markdown, "still asked for"); }, milliseconds{0}
    ));
    EXPECT_EQ(decided(world).size(), 1U);
}

TEST(BridgeWords, WhyIsNotAskedForAnyMoreOnceAnotherDecided) {
    for (const auto& [words, answer] :
         {std::pair{"status", "Berth answers"}, {"approve ap_1", "decided by otto"}}) {
        BridgeWorld world;
        ask_why(world, "ap_1");
        {
            const std::lock_guard lock(world.berth().mutex);
            auto& over = world.berth().approvals["ap_1"];
            over.set_state(warden::v1::APPROVAL_STATE_APPROVED);
            over.set_decided_by("otto");
        }
        world.chat().tell_surely(message(words));
        ASSERT_TRUE(answered(world, answer)) << words;
        world.chat().tell_surely(message("sorry for the noise"));
        ASSERT_TRUE(answered(world, "There is no command `sorry`")) << words;
        EXPECT_FALSE(world.chat().wait_for(
            [](const Shown& m) { return has(m.content.markdown, "still asked for"); },
            milliseconds{0}
        )) << words;
    }
}

TEST(BridgeWords, WhyIsNotAskedOfWhatIsOver) {
    BridgeWorld world;
    world.chat().traits.modals = false;
    world.start();
    auto held = world.held("ap_1");
    world.tell(held, "requested");
    ASSERT_TRUE(world.chat().wait_until([](const auto& all) { return all.size() == 2; }));
    const Shown card = world.chat().in("A1").at(0);
    held.set_state(warden::v1::APPROVAL_STATE_EXPIRED);
    held.set_decided_by("berth");
    held.set_revision(held.revision() + 1);
    world.tell(held, "expired");
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) { return has(title(m), "Expired"); }));
    world.chat().tell_surely(clicked(card, "Deny with comment", "U2"));
    EXPECT_TRUE(answered(world, "decided by berth"));
    EXPECT_FALSE(world.chat().wait_for(
        [](const Shown& m) { return has(m.content.markdown, "Say why"); }, milliseconds{0}
    ));
}

TEST(BridgeWords, WhoMayNotDecideIsNotAskedWhy) {
    BridgeWorld world;
    world.chat().traits.modals = false;
    world.berth().people["U1"].add_roles("approver");  // anna, who asked
    world.berth().people["U4"] = BridgeWorld::actor("otto", "operator");
    world.start();
    world.tell(world.held("ap_1"), "requested");
    ASSERT_TRUE(world.chat().wait_until([](const auto& all) { return all.size() == 2; }));
    const Shown card = world.chat().in("A1").at(0);
    world.chat().tell_surely(clicked(card, "Deny with comment", "U1"));
    EXPECT_TRUE(answered(world, "whoever asked does not decide"));
    world.chat().tell_surely(clicked(card, "Deny with comment", "U4"));
    EXPECT_TRUE(answered(world, "you may not decide this"));
    EXPECT_FALSE(world.chat().wait_for(
        [](const Shown& m) { return has(m.content.markdown, "Say why"); }, milliseconds{0}
    ));
}

TEST(BridgeWords, WhoseUserIsDisabledIsToldSo) {
    BridgeWorld world;
    world.berth().disabled.insert("U7");
    world.start();
    world.chat().tell_surely(said("status", "U7"));
    EXPECT_TRUE(answered(world, "Your user of Berth is disabled"));
}

TEST(BridgeWords, AFlagTakesItsValueBothWays) {
    BridgeWorld world;
    world.start();
    world.chat().tell_surely(said("run --profile=big make --profile=x"));
    const auto run = world.wait_for_run();
    EXPECT_EQ(run.argv_size(), 2);
    EXPECT_EQ(run.argv(1), "--profile=x");
    {
        const std::lock_guard lock(world.berth().mutex);
        EXPECT_EQ(world.berth().acquired.at(0).profile(), "big");
    }
    world.chat().tell_surely(said("run --profile= make"));
    EXPECT_TRUE(answered(world, "`--profile` needs a value. Usage"));
    world.chat().tell_surely(said("run --profil=x make"));
    EXPECT_TRUE(answered(world, "run does not know `--profil=x`"));
}

TEST(BridgeWords, WhatDeceivesIsShownEscaped) {
    BridgeWorld world;
    world.start();
    world.chat().tell_surely(said("run echo a\u202eb 'c\nd'"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return title(m) == "echo $'a\\u202eb' $'c\\nd': starting";
    }));
    world.chat().tell_surely(said("history"));
    EXPECT_TRUE(answered(world, "`echo $'a\\u202eb' $'c\\nd'`"));
    world.chat().tell_surely(said("run echo " + std::string(100, 'x')));
    (void)world.wait_for_run(2);
    world.chat().tell_surely(said("history"));
    EXPECT_TRUE(answered(world, "(cut; whole by `berth runs --json`)"));
    world.chat().tell_surely(said("run echo $'a\\u202eb' $'c\\nd'"));  // as it was shown
    const auto again = world.wait_for_run(3);
    EXPECT_EQ(again.argv(1), "a\u202eb");
    EXPECT_EQ(again.argv(2), "c\nd");
    world.chat().tell_surely(said("run echo $'\\q'"));
    EXPECT_TRUE(answered(world, "has an escape that is not known"));
    EXPECT_TRUE(answered(world, "Usage: `/berth run "));
}

TEST(BridgeWords, CancelWithoutANameIsOfOnesOwnNewestRun) {
    BridgeWorld world;
    world.berth().people["U4"] = BridgeWorld::actor("otto", "operator");
    world.start();
    world.chat().tell_surely(said("cancel"));
    ASSERT_TRUE(answered(world, "nothing runs here"));
    world.chat().tell_surely(said("run make mine"));
    const auto mine = world.wait_for_run();
    world.chat().tell_surely(said("run make his", "U4"));
    (void)world.wait_for_run(2);
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return title(m) == "make his: starting";
    }));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return title(m) == "make mine: starting";
    }));
    world.chat().tell_surely(said("cancel"));
    ASSERT_TRUE(answered(world, "Canceling"));
    {
        const std::lock_guard lock(world.berth().mutex);
        ASSERT_FALSE(world.berth().canceled.empty());
        for (const auto& each : world.berth().canceled) EXPECT_EQ(each.run(), mine.id());
    }
    world.berth().people["U5"] = BridgeWorld::actor("nina", "operator");
    world.chat().tell_surely(said("cancel", "U5"));
    EXPECT_TRUE(answered(world, "no run of yours"));
}

TEST(BridgeWords, ACardsCancelSaysWhoseTheRunIs) {
    BridgeWorld world;
    world.berth().people["U4"] = BridgeWorld::actor("otto", "operator");
    world.start();
    world.chat().tell_surely(said("run make mine"));
    (void)world.wait_for_run();
    const auto card =
        world.chat().wait_for([](const Shown& m) { return title(m) == "make mine: starting"; });
    ASSERT_TRUE(card);
    world.chat().tell_surely(clicked(*card, "Cancel", "U4"));
    EXPECT_TRUE(answered(world, "that run is anna's to cancel"));
}

TEST(BridgeWords, WordsTooManyAreAnsweredWithUsage) {
    BridgeWorld world;
    world.start();
    for (const char* verb : {"leases", "approvals", "status", "whoami"}) {
        world.chat().tell_surely(said(std::string(verb) + " extra"));
        EXPECT_TRUE(answered(
            world, "`" + std::string(verb) + "` takes nothing behind it. Usage: `/berth " + verb
        ));
    }
    for (const char* verb : {"attach", "cancel", "release", "resume", "history", "help", "pair"}) {
        world.chat().tell_surely(said(std::string(verb) + " 1 2"));
        EXPECT_TRUE(
            answered(world, "`" + std::string(verb) + "` takes one word. Usage: `/berth " + verb)
        );
    }
    world.chat().tell_surely(said("run --profile"));
    EXPECT_TRUE(answered(world, "`--profile` needs a value"));
    const std::lock_guard lock(world.berth().mutex);
    EXPECT_EQ(world.berth().asked, 0);
}

TEST(BridgeWords, SeveralLinesAreNotOneCommand) {
    BridgeWorld world;
    world.start();
    world.chat().tell_surely(said("run rm -rf build\nls src"));
    ASSERT_TRUE(answered(world, "a line ends between the words"));
    EXPECT_TRUE(answered(world, "Usage: `/berth run "));
    world.chat().tell_surely(said("run make \\\n  test"));
    EXPECT_EQ(world.wait_for_run().argv_size(), 2);
}

TEST(BridgeWords, WhatWaitsIsShownWordForWordAndACutIsTold) {
    BridgeWorld world;
    world.start();
    auto ticked = world.held("ap_1");
    ticked.set_shown("sh -c 'echo `id` ``'\nin /work");
    world.tell(ticked, "requested");
    world.chat().tell_surely(said("approvals"));
    EXPECT_TRUE(answered(world, "```\nsh -c 'echo `id` ``'\nin /work\n```"));
    auto longer = world.held("ap_2");
    longer.set_shown(std::string(400, 'x'));
    world.tell(longer, "requested");
    world.chat().tell_surely(said("approvals"));
    EXPECT_TRUE(answered(world, "cut here; whole on its card and by `berth approvals ap_2`"));
    world.chat().tell_surely(said("run echo '`id`'"));
    (void)world.wait_for_run();
    world.chat().tell_surely(said("history"));
    EXPECT_TRUE(answered(world, "``echo '`id`'``"));
}

}  // namespace
}  // namespace berth::testing
