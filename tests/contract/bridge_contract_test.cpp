// SPDX-License-Identifier: Apache-2.0
// What every chat bridge promises to people, shown with a platform that the test plays over real
// NATS and PostgreSQL: commands, runs, approvals.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "chat/settings.hpp"
#include "service/proto_time.hpp"
#include "support/chat/bridge_world.hpp"
#include "support/has.hpp"

namespace berth::testing {
namespace {

TEST(Bridge, AnswersWhereItWasAskedAndNobodyElse) {
    BridgeWorld world;
    world.start();
    world.chat().tell_surely(said("whoami"));
    world.chat().tell_surely(said("leases", "U1", "C2"));
    const auto who =
        world.chat().wait_for([](const Shown& m) { return has(m.content.markdown, "`anna`"); });
    ASSERT_TRUE(who);
    EXPECT_EQ(who->conversation.chat, "C1");
    EXPECT_EQ(who->only_for, "U1");
    const auto leases =
        world.chat().wait_for([](const Shown& m) { return has(m.content.markdown, "No machine"); });
    ASSERT_TRUE(leases);
    EXPECT_EQ(leases->conversation.chat, "C2");
    EXPECT_EQ(world.chat().shown().size(), 2U);
}

TEST(Bridge, ARepeatedEventHasOneEffectAndOneAnswer) {
    BridgeWorld world;
    world.start();
    const auto event = said("run make test");
    for (int i = 0; i < 5; ++i) world.chat().tell_surely(event);
    ASSERT_TRUE(world.chat().tell({event, event}));
    (void)world.wait_for_run();
    world.chat().tell_surely(said("whoami"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) { return has(m.content.markdown, "anna"); }
    ));
    const std::lock_guard lock(world.berth().mutex);
    EXPECT_EQ(world.berth().started.size(), 1U);
    EXPECT_EQ(world.chat().in("C1").size(), 2U);
}

TEST(Bridge, KeepsTheOrderWithinAConversation) {
    BridgeWorld world;
    world.start();
    std::vector<chat::Inbound> all;
    for (int i = 0; i < 60; ++i)
        all.push_back(said("nonsense" + std::to_string(i), "U1", i % 2 == 0 ? "C1" : "C2"));
    ASSERT_TRUE(world.chat().tell(all));
    ASSERT_TRUE(world.chat().wait_until([](const auto& shown) { return shown.size() == 60; }));
    for (const char* chat : {"C1", "C2"}) {
        int next = std::string(chat) == "C1" ? 0 : 1;
        for (const auto& message : world.chat().in(chat)) {
            EXPECT_TRUE(has(message.content.markdown, "`nonsense" + std::to_string(next) + "`"))
                << message.content.markdown;
            next += 2;
        }
    }
}

TEST(Bridge, AWrongCommandIsAnsweredWithUsage) {
    BridgeWorld world;
    world.start();
    world.chat().tell_surely(said("frobnicate"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "`/berth help");
    }));
    world.chat().tell_surely(said("run"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "Usage: `/berth run");
    }));
    world.chat().tell_surely(said("run 'make"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "never closed");
    }));
    world.chat().tell_surely(said("help"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "`/berth approvals`");
    }));
    const std::lock_guard lock(world.berth().mutex);
    EXPECT_EQ(world.berth().asked, 0);
}

TEST(Bridge, ARolesLimitIsKept) {
    BridgeWorld world;
    world.start();
    world.chat().tell_surely(said("run make", "U2"));  // olga approves and does not operate
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "role operator");
    }));
    const std::lock_guard lock(world.berth().mutex);
    EXPECT_TRUE(world.berth().started.empty());
}

TEST(Bridge, StrangersGetOneRefusalAnHourAndOtherChatsNone) {
    BridgeWorld world;
    world.start();
    for (int i = 0; i < 5; ++i) world.chat().tell_surely(said("leases", "U3"));
    for (int i = 0; i < 3; ++i) world.chat().tell_surely(said("leases", "U1", "C9"));
    world.chat().tell_surely(said("whoami", "U1"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) { return has(m.content.markdown, "anna"); }
    ));
    const auto all = world.chat().shown();
    ASSERT_EQ(all.size(), 2U);
    EXPECT_TRUE(has(all[0].content.markdown, "berth chat pair"));
    EXPECT_EQ(all[0].only_for, "U3");
    EXPECT_TRUE(world.chat().in("C9").empty());
}

TEST(Bridge, HelpAndWrongCodesAreAnsweredOnceAnHourWhereSomebodyIsNotLinked) {
    BridgeWorld world;
    world.berth().codes["ABCD"] = "nils";
    world.start();
    for (int i = 0; i < 3; ++i) {
        world.chat().tell_surely(said("help", "U3"));
        world.chat().tell_surely(said("pair WRONG" + std::to_string(i), "U3"));
        world.chat().tell_surely(said("pair", "U3"));
        world.chat().tell_surely(said("pair 'x", "U3"));
        world.chat().tell_surely(said("help pair", "U3"));
    }
    world.chat().tell_surely(said("pair ABCD", "U3"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "linked: here you are `nils`");
    }));
    const auto all = world.chat().shown();
    ASSERT_EQ(all.size(), 3U);
    EXPECT_TRUE(has(all[0].content.markdown, "leases"));
    EXPECT_TRUE(has(all[1].content.markdown, "not good"));
    for (const auto& each : all) EXPECT_EQ(each.only_for, "U3");
    for (int i = 0; i < 2; ++i) world.chat().tell_surely(said("help", "U3"));
    EXPECT_TRUE(world.chat().wait_until([](const auto& shown) { return shown.size() == 5; }));
}

TEST(Bridge, WhatWasSaidLongAgoIsNotDoneAnyMore) {
    BridgeWorld world;
    world.start();
    auto old = said("leases");
    old.at -= chat::kInboundKept;
    world.chat().tell_surely(old);
    auto late = said("history");
    late.at -= chat::kInboundKept - std::chrono::hours{1};
    world.chat().tell_surely(late);
    world.chat().tell_surely(said("whoami"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) { return has(m.content.markdown, "anna"); }
    ));
    EXPECT_EQ(world.chat().shown().size(), 2U);
}

TEST(Bridge, AListOfPeopleIsKeptAlsoInPrivate) {
    BridgeWorld world("orgs:\n  acme: {chats: [C1], people: [U1]}\n");
    world.start();
    auto direct = said("leases", "U2", "D2");
    direct.direct = true;
    world.chat().tell_surely(direct);
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "list of people");
    }));
    direct = said("whoami", "U1", "D1");
    direct.direct = true;
    world.chat().tell_surely(direct);
    const auto mine =
        world.chat().wait_for([](const Shown& m) { return has(m.content.markdown, "anna"); });
    ASSERT_TRUE(mine);
    EXPECT_EQ(mine->conversation.chat, "D1");
    EXPECT_EQ(mine->only_for, "");  // a private chat needs no whisper
}

TEST(Bridge, ACodeLinksAPerson) {
    BridgeWorld world;
    world.berth().codes["ABCD"] = "nils";
    world.start();
    world.chat().tell_surely(said("pair WRONG", "U3"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "not good");
    }));
    world.chat().tell_surely(said("pair ABCD", "U3"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "linked: here you are `nils`");
    }));
    world.chat().tell_surely(said("whoami", "U3"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "You are `nils`");
    }));
}

TEST(Bridge, ARunHasOneCardThatFollowsItAndItsOutputAsAFile) {
    BridgeWorld world;
    world.start();
    auto event = said("run make test");
    event.conversation.thread = "17.5";
    world.chat().tell_surely(event);
    run::v1::Run run = world.wait_for_run();
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return title(m) == "make test: starting";
    }));
    {
        const std::lock_guard lock(world.berth().mutex);
        ASSERT_EQ(world.berth().acquired.size(), 1U);
        EXPECT_TRUE(world.berth().acquired[0].reuse());
        EXPECT_EQ(world.berth().acquired[0].label(), "chat slack C1/17.5");
        EXPECT_EQ(world.berth().started[0].argv_size(), 2);
    }
    run.set_state(run::v1::RUN_STATE_RUNNING);
    run.set_revision(2);
    *run.mutable_started_at() = service::to_timestamp(Clock::system().now());
    world.tell(run, "started");
    std::string text;
    for (int i = 0; i < 40; ++i) text += "line " + std::to_string(i) + "\n";
    world.write(run, 0, text, false);
    const auto live =
        world.chat().wait_for([](const Shown& m) { return has(m.content.card.code, "line 39"); });
    ASSERT_TRUE(live);
    EXPECT_EQ(title(*live), "make test: running");
    EXPECT_FALSE(has(live->content.card.code, "line 5\n"));
    world.write(run, text.size(), "done\n", true);
    run.set_state(run::v1::RUN_STATE_FAILED);
    run.set_exit_code(3);
    run.set_output_bytes(text.size() + 5);
    run.set_revision(3);
    *run.mutable_ended_at() = service::to_timestamp(Clock::system().now());
    world.tell(run, "failed");
    const auto ended =
        world.chat().wait_for([](const Shown& m) { return title(m) == "make test: failed"; });
    ASSERT_TRUE(ended);
    EXPECT_TRUE(ended->content.card.buttons.empty());
    EXPECT_TRUE(has(ended->content.card.code, "done"));
    const auto file =
        world.chat().wait_for([](const Shown& m) { return !m.content.file_name.empty(); });
    ASSERT_TRUE(file);
    EXPECT_EQ(file->content.file_bytes, text + "done\n");
    EXPECT_EQ(file->conversation, event.conversation);
    EXPECT_EQ(world.chat().shown().size(), 2U);
}

TEST(Bridge, AShortOutputNeedsNoFileAndACancelReachesTheRun) {
    BridgeWorld world;
    world.start();
    world.chat().tell_surely(said("run sleep 100"));
    run::v1::Run run = world.wait_for_run();
    const auto card =
        world.chat().wait_for([](const Shown& m) { return title(m) == "sleep 100: starting"; });
    ASSERT_TRUE(card);
    world.chat().tell_surely(clicked(*card, "Cancel"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "Canceling");
    }));
    {
        const std::lock_guard lock(world.berth().mutex);
        ASSERT_GE(world.berth().canceled.size(), 1U);
        EXPECT_EQ(world.berth().canceled[0].run(), run.id());
    }
    world.write(run, 0, "bye\n", true);
    run.set_state(run::v1::RUN_STATE_CANCELED);
    run.set_output_bytes(4);
    run.set_revision(2);
    world.tell(run, "canceled");
    const auto ended =
        world.chat().wait_for([](const Shown& m) { return title(m) == "sleep 100: canceled"; });
    ASSERT_TRUE(ended);
    EXPECT_EQ(ended->content.card.code, "bye");
    EXPECT_EQ(world.chat().shown().size(), 2U);
}

TEST(Bridge, AnApprovalIsAskedInEveryPlaceAndEveryCardIsEditedWhenItIsDecided) {
    BridgeWorld world;
    world.start();
    world.chat().tell_surely(said("run git push"));
    const run::v1::Run run = world.wait_for_run();
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return title(m) == "git push: starting";
    }));
    const auto approval = world.held("ap_1", run.id());
    world.tell(approval, "requested");
    const auto cards = [](const std::vector<Shown>& all, const std::string& wanted) {
        std::set<std::string> chats;
        for (const auto& each : all) {
            if (title(each) == wanted) chats.insert(each.conversation.chat);
        }
        return chats;
    };
    const std::set<std::string> everywhere{"A1", "A2", "C1"};
    ASSERT_TRUE(world.chat().wait_until([&](const auto& all) {
        return cards(all, "May this run?") == everywhere;
    }));
    const auto card = world.chat().in("A1").at(0);
    EXPECT_EQ(card.content.card.code, approval.shown());
    std::set<std::string> tokens;
    for (const auto& each : world.chat().shown()) {
        for (const auto& button : each.content.card.buttons) {
            EXPECT_LE(button.token.size(), chat::Button::kMaxToken);
            EXPECT_FALSE(has(button.token, "ap_1"));
            EXPECT_TRUE(tokens.insert(button.token).second) << "one token for each button";
        }
    }
    // Who may not is told so, alone.
    world.chat().tell_surely(clicked(card, "Approve", "U1"));
    const auto refused = world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "may not decide");
    });
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->only_for, "U1");
    const auto click = clicked(card, "Approve", "U2");
    for (int i = 0; i < 3; ++i) world.chat().tell_surely(click);
    ASSERT_TRUE(world.chat().wait_until([&](const auto& all) {
        return cards(all, "Approved by olga") == everywhere;
    }));
    for (const auto& each : world.chat().shown()) {
        EXPECT_TRUE(title(each) != "Approved by olga" || each.content.card.buttons.empty());
    }
    // A second click of the same person on the same button is the same decision; another's is late.
    auto again = click;
    again.event_id += "again";
    world.chat().tell_surely(again);
    ASSERT_TRUE(world.chat().wait_until([](const auto& all) {
        return std::count_if(all.begin(), all.end(), [](const Shown& m) {
                   return has(m.content.markdown, "approved by `olga`");
               }) == 2;
    }));
    world.berth().people["U4"] = BridgeWorld::actor("otto", "approver");
    auto late = clicked(card, "Deny", "U4");
    world.chat().tell_surely(late);
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "decided by olga");
    }));
    const std::lock_guard lock(world.berth().mutex);
    ASSERT_EQ(world.berth().decided.size(), 1U);
    EXPECT_EQ(world.berth().decided[0].surface(), "slack");
    EXPECT_EQ(world.berth().decided[0].actor().user(), "olga");
}

TEST(Bridge, WhomItTurnsAwayIsToldToWarden) {
    BridgeWorld world;
    world.start();
    world.tell(world.held("ap_1"), "requested");
    const auto shown =
        world.chat().wait_for([](const Shown& m) { return has(title(m), "May this run?"); });
    ASSERT_TRUE(shown);
    auto click = clicked(*shown, "Approve", "U3");
    world.chat().tell_surely(click);
    world.chat().tell_surely(click);  // sent again by the platform: one click
    click.event_id += "again";
    world.chat().tell_surely(click);
    for (int i = 0; i < 3; ++i) world.chat().tell_surely(said("approve", "U3"));
    for (int i = 0; i < 3; ++i) world.chat().tell_surely(said("approve", "U5", "C9"));
    const auto refused = [&](std::size_t count) {
        PlayedBerth& berth = world.berth();
        std::unique_lock lock(berth.mutex);
        return berth.changed.wait_for(lock, seconds{30}, [&] {
            return berth.refused.size() >= count;
        });
    };
    ASSERT_TRUE(refused(4));
    world.chat().tell_surely(clicked(*shown, "Approve", "U3"));
    ASSERT_TRUE(refused(5));
    const std::lock_guard lock(world.berth().mutex);
    ASSERT_EQ(world.berth().refused.size(), 5U) << "clicks one by one, words once an hour";
    std::multiset<std::string> told;
    for (const auto& each : world.berth().refused) {
        EXPECT_EQ(each.org(), "acme");
        EXPECT_EQ(each.surface(), "slack");
        told.insert(each.user() + "|" + each.from() + "|" + each.reason() + "|" + each.subject());
    }
    const std::string chat = shown->conversation.chat;
    EXPECT_EQ(told.count("U3|" + chat + "|not linked to a user, clicked|ap_1"), 3U);
    EXPECT_EQ(told.count("U3|C1|not linked to a user, spoke|"), 1U);
    EXPECT_EQ(told.count("U5|C9|a chat that is not in the settings, spoke|"), 1U);
    EXPECT_TRUE(world.berth().decided.empty());
}

TEST(Bridge, AnApprovalThatExpiresElsewhereLosesItsButtonsHere) {
    BridgeWorld world;
    world.start();
    auto approval = world.held("ap_2");
    world.tell(approval, "requested");
    ASSERT_TRUE(world.chat().wait_until([](const auto& all) { return all.size() == 2; }));
    approval.set_state(warden::v1::APPROVAL_STATE_EXPIRED);
    approval.set_revision(2);
    world.tell(approval, "expired");
    ASSERT_TRUE(world.chat().wait_until([](const auto& all) {
        return std::all_of(all.begin(), all.end(), [](const Shown& m) {
            return has(title(m), "Expired") && m.content.card.buttons.empty();
        });
    }));
    // One that is told late changes nothing.
    auto old = world.held("ap_2");
    world.tell(old, "requested");
    world.chat().tell_surely(said("whoami"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) { return has(m.content.markdown, "anna"); }
    ));
    EXPECT_EQ(world.chat().shown().size(), 3U);
    EXPECT_TRUE(has(title(world.chat().shown()[0]), "Expired"));
}

TEST(Bridge, OneThatIsNewAsksNobodyAboutWhatIsOver) {
    BridgeWorld world;
    const WallTime now = Clock::system().now();
    const auto old = [&](const std::string& id, seconds age) {
        auto approval = world.held(id);
        *approval.mutable_created_at() = service::to_timestamp(now - age);
        approval.clear_deadline();
        return approval;
    };
    // What days of events hold before the bridge hears the first one.
    auto decided = old("ap_decided", seconds{7'200});
    world.tell(decided, "requested");
    decided.set_state(warden::v1::APPROVAL_STATE_DENIED);
    decided.set_decided_by("olga");
    decided.set_revision(2);
    world.tell(decided, "denied");
    auto late = world.held("ap_late");
    *late.mutable_deadline() = service::to_timestamp(now - seconds{1});
    world.tell(late, "requested");
    world.tell(old("ap_ancient", seconds{100'000}), "requested");
    world.tell(old("ap_waiting", seconds{7'200}), "requested");
    world.start();
    ASSERT_TRUE(world.chat().wait_until([](const auto& all) { return all.size() == 2; }));
    world.chat().tell_surely(said("whoami"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) { return has(m.content.markdown, "anna"); }
    ));
    const auto all = world.chat().shown();
    ASSERT_EQ(all.size(), 3U);
    for (const auto& each : all)
        EXPECT_TRUE(!each.content.is_card || each.content.card.footer == "ap_waiting");
}

TEST(Bridge, ACommentIsAskedForInTheConversationWhereThereAreNoModals) {
    BridgeWorld world;
    world.chat().traits.modals = false;
    world.start();
    world.tell(world.held("ap_3"), "requested");
    ASSERT_TRUE(world.chat().wait_until([](const auto& all) { return all.size() == 2; }));
    const auto card = world.chat().in("A1").at(0);
    world.chat().tell_surely(clicked(card, "Deny with comment", "U2"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "Say why");
    }));
    auto reply = said("not on a Friday", "U2", "A1");
    reply.kind = chat::InboundKind::kMessage;
    world.chat().tell_surely(reply);
    const auto denied =
        world.chat().wait_for([](const Shown& m) { return title(m) == "Denied by olga"; });
    ASSERT_TRUE(denied);
    const std::lock_guard lock(world.berth().mutex);
    ASSERT_EQ(world.berth().decided.size(), 1U);
    EXPECT_EQ(world.berth().decided[0].comment(), "not on a Friday");
}

}  // namespace
}  // namespace berth::testing
