// SPDX-License-Identifier: Apache-2.0
// The whole suite behind each chat platform: runs, approvals, and every verb.
#include "bridge_system.hpp"

#include <signal.h>

namespace berth::testing {
namespace {

TEST_F(BridgeSystem, ARunHasACardThatFollowsItAndItsOutput) {
    const Watch here = home();
    say(here, "run sh -c 'for i in 1 2 3; do echo line $i; done; exit 3'");
    const Seen card = here.wait_for(": failed");
    EXPECT_TRUE(has(card.text, "line 3")) << card.text;
    EXPECT_TRUE(has(card.text, "Exit code")) << card.text;
    EXPECT_TRUE(card.buttons.empty()) << "an ended run has no button";
    say(here, "run seq 1 500");
    const Seen file = here.wait_for("\\n2\\n3\\n4\\n5\\n6\\n");  // the card has the last lines
    EXPECT_TRUE(has(file.text, "\\n499\\n500\\n"));
    say(here, "history");
    EXPECT_TRUE(has(here.wait_for(" failed, exit code 3").text, "seq 1 500"));
    say(here, "leases");
    (void)here.wait_for(", profile ");
    release(here);
}

TEST_F(BridgeSystem, ACanceledRunEnds) {
    const Watch here = home();
    say(here, "run sleep 600");
    click(here, here.wait_for("sleep 600", "Cancel"), "Cancel", "ann");
    EXPECT_TRUE(here.wait_for("sleep 600: canceled").buttons.empty());
    say(here, "run sleep 601");
    (void)here.wait_for("sleep 601", "Cancel");
    say(here, "cancel");
    (void)here.wait_for("sleep 601: canceled");
    release(here);
}

TEST_F(BridgeSystem, ARunThatWasStartedElsewhereIsFollowed) {
    const Watch here = home();
    const auto leased = suite_->api("POST", "/v1/leases", "{}");
    const std::string lease = Json::parse(leased.body).value().string_or("id", "");
    (void)suite_->api("GET", "/v1/leases/" + lease + "?wait=active&timeout=30s");
    const auto made = suite_->api(
        "POST",
        "/v1/runs",
        R"({"lease":")" + lease +
            R"(","argv":["sh","-c","until test -e ../go; do sleep 0.05; done; echo followed"]})"
    );
    const std::string run = Json::parse(made.body).value().string_or("id", "");
    ASSERT_FALSE(run.empty()) << made.body;
    say(here, "attach " + run);
    (void)here.wait_for(run, "Cancel");
    const auto open =
        suite_->api("POST", "/v1/runs", R"({"lease":")" + lease + R"(","argv":["touch","../go"]})");
    ASSERT_LT(open.status, 300) << open.body;
    const Seen ended = here.wait_for(": succeeded");
    EXPECT_TRUE(has(ended.text, "followed")) << ended.text;
    EXPECT_TRUE(has(ended.text, run));
    EXPECT_EQ(suite_->api("POST", "/v1/leases/" + lease + "/release").status, 200);
}

TEST_F(BridgeSystem, AnApprovalByClickStartsTheHeldCommandAndEveryCardFollows) {
    const Watch here = home();
    const Watch there = approvals();
    say(here, "run sh -c 'uname -s; echo after'");
    const Seen mine = here.wait_for("May this run?", "Approve");
    const Seen theirs = there.wait_for("May this run?", "Approve");
    EXPECT_TRUE(has(theirs.text, "uname"));
    EXPECT_TRUE(has(theirs.text, "a person shall say"));
    // Whoever asked may not decide; warden says so.
    click(here, mine, "Approve", "ann");
    (void)here.wait_for("whoever asked does not decide");
    click(there, theirs, "Approve", "olga");
    for (const auto& [where, card] : {std::pair(&here, &mine), std::pair(&there, &theirs)}) {
        const Seen decided = where->wait_for("Approved by olga");
        EXPECT_TRUE(decided.buttons.empty()) << decided.text;
        EXPECT_EQ(decided.id == card->id, chat_->edits()) << "edited in place where that can be";
    }
    EXPECT_TRUE(has(here.wait_for(": succeeded").text, "Linux"));
    release(here);
}

TEST_F(BridgeSystem, AStrangersClickChangesNothingAndIsAudited) {
    if (chat_->platform() == "whatsapp") GTEST_SKIP() << "nobody else sees a card there";
    const Watch here = home();
    const Watch there = approvals();
    say(here, "run uname -s");
    const Seen card = there.wait_for("May this run?", "Approve");
    click(there, card, "Approve", "mallory");
    Said audited;
    ASSERT_TRUE(eventually([&] {
        audited = suite_->berth({"audit", "query", "--fact", "stranger_refused"});
        return has(audited.out, chat_->platform() + ":");
    })) << audited.out
        << audited.err;
    EXPECT_TRUE(has(audited.out, "clicked")) << audited.out;
    click(there, card, "Deny", "olga");
    (void)there.wait_for("Denied by olga");
    release(here);
}

TEST_F(BridgeSystem, ADenialWithACommentReachesTheCommand) {
    const Watch here = home();
    const Watch there = approvals();
    say(here, "run sh -c 'uname -s; echo after $?'");
    const Seen card = there.wait_for("May this run?", "Deny with comment");
    (void)here.wait_for("May this run?", "Approve");  // a card that came later would say nothing
    click(there, card, "Deny with comment", "olga");
    if (chat_->platform() == "telegram" || chat_->platform() == "whatsapp")
        (void)there.wait_for("Say why");
    chat_->comment("olga", there.place(), card, "not on a Friday");
    EXPECT_TRUE(there.wait_for("Denied by olga").buttons.empty());
    EXPECT_TRUE(here.wait_for("Denied by olga").buttons.empty());
    EXPECT_TRUE(has(here.wait_for("after 126").text, "not on a Friday"));
    release(here);
}

TEST_F(BridgeSystem, ApprovalsAreListedAndDecidedByWords) {
    const Watch here = home();
    const Watch there = approvals();
    say(there, "approvals", "olga");
    (void)there.wait_for("Nothing waits for a decision");
    say(here, "run sh -c 'uname -s; echo after $?'");
    const std::string first = id_in(there.wait_for("May this run?", "Approve"), "ap");
    ASSERT_FALSE(first.empty()) << there.told();
    say(there, "approvals", "olga");
    EXPECT_TRUE(has(there.wait_for("asked by").text, first));
    say(there, "deny " + first + " nor on a Monday", "olga");
    (void)there.wait_for("Denied by olga");
    EXPECT_TRUE(has(here.wait_for("after 126").text, "nor on a Monday"));
    const Watch again = approvals();
    say(here, "run sh -c 'uname -s; echo twice $?'");
    const std::string second = id_in(again.wait_for("May this run?", "Approve"), "ap");
    ASSERT_FALSE(second.empty()) << again.told();
    say(again, "approve `A" + second.substr(1) + "`", "olga");  // copied, and by a phone
    (void)again.wait_for("Approved by olga");
    EXPECT_TRUE(has(here.wait_for("twice 0").text, "Linux"));
    release(here);
}

TEST_F(BridgeSystem, ACardThatNobodyDecidesExpiresEverywhere) {
    const Watch here = home();
    const Watch there = approvals();
    say(here, "run sh -c 'uptime; echo late $?'");
    const Seen card = there.wait_for("May this run?", "Approve");
    for (const Watch* where : {&here, &there})
        EXPECT_TRUE(where->wait_for("Expired: nobody decided in time").buttons.empty());
    (void)here.wait_for("late 126");
    if (!chat_->edits()) {  // the old buttons still stand there
        click(there, card, "Approve", "olga");
        (void)there.wait_for(" expired: nobody had decided by its deadline; the command was refused"
        );
    }
    release(here);
}

TEST_F(BridgeSystem, AHaltRevokesWhatWaitsAndAnotherPersonEndsIt) {
    const Watch here = home();
    const Watch there = approvals();
    say(here, "run sh -c 'uname -s; sleep 600'");
    // Where a platform takes one message in 3 s, one of them may be much later.
    for (const Watch* where : {&here, &there}) (void)where->wait_for("May this run?", "Approve");
    say(here, "halt the cat is on the keyboard");
    const Seen halted = here.wait_for("every run of");
    const std::string halt = id_in(halted, "hl");
    ASSERT_FALSE(halt.empty()) << halted.text;
    for (const Watch* where : {&here, &there})
        EXPECT_TRUE(where->wait_for("Revoked by").buttons.empty());
    say(here, "status");
    EXPECT_TRUE(has(here.wait_for("Berth answers").text, "the cat is on the keyboard"));
    say(here, "run echo unheard");
    (void)here.wait_for("echo unheard: ");
    say(here, "resume " + halt);
    (void)here.wait_for("another must");
    say(there, "resume " + halt, "olga");
    (void)there.wait_for("is over");
    EXPECT_EQ(here.count("echo unheard: succeeded"), 0U);
    say(here, "run echo heard");
    (void)here.wait_for("echo heard: succeeded");
    release(here);
}

TEST_F(BridgeSystem, AWrongCommandIsAnsweredWithUsage) {
    const Watch here = home();
    say(here, "attach");
    (void)here.wait_for("Usage: ");
    say(here, "help");
    EXPECT_TRUE(has(here.wait_for("runs commands on machines").text, "resume"));
    say(here, "whoami");
    (void)here.wait_for("You are ");
}

}  // namespace
}  // namespace berth::testing
