// SPDX-License-Identifier: Apache-2.0
// What every chat bridge promises when something fails or is slow: the platform, the bus, another
// instance.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>

#include "http/client.hpp"
#include "support/chat/bridge_world.hpp"
#include "support/eventually.hpp"
#include "support/free_port.hpp"
#include "support/has.hpp"

namespace berth::testing {
namespace {

using Kind = chat::SendError::Kind;

TEST(Bridge, WaitsAsLongAsThePlatformAsksAndKeepsTheOrder) {
    std::atomic<int> refused{0};
    std::atomic<long long> first{0};
    BridgeWorld world;
    world.chat().on_post([&](const chat::Outgoing&) -> std::optional<PlayedChat::Fault> {
        const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
        if (refused.fetch_add(1) == 0) {
            first = now;
            return PlayedChat::Fault{{Kind::kLater, milliseconds{1'500}, "429"}};
        }
        EXPECT_GE(std::chrono::nanoseconds{now - first.load()}, milliseconds{1'500});
        return std::nullopt;
    });
    world.start();
    for (int i = 0; i < 3; ++i) world.chat().tell_surely(said("nonsense" + std::to_string(i)));
    ASSERT_TRUE(world.chat().wait_until([](const auto& all) { return all.size() == 3; }));
    for (int i = 0; i < 3; ++i)
        EXPECT_TRUE(has(
            world.chat().shown()[static_cast<std::size_t>(i)].content.markdown, std::to_string(i)
        ));
}

// The term that posted ends with the database, before it could store that it did.
TEST(Bridge, WhatWasPostedWhileTheDatabaseWentIsNotPostedAgain) {
    BridgeWorld world;
    world.chat().traits.can_find = false;
    world.start();
    ASSERT_EQ(world.not_ready(), "");
    std::atomic<bool> gone{false};
    world.chat().on_post([&](const chat::Outgoing&) -> std::optional<PlayedChat::Fault> {
        if (!gone.exchange(true)) chat_postgres().kill9();
        return std::nullopt;
    });
    world.chat().tell_surely(said("whoami"));
    ASSERT_TRUE(eventually([&] { return gone && has(world.not_ready(), "lead"); }))
        << world.not_ready();
    ASSERT_TRUE(chat_postgres().restart());
    ASSERT_TRUE(eventually([&] { return world.chat().starts() == 2; }, seconds{60}));
    ASSERT_TRUE(eventually(
        [&] {
            const auto rows = world.pool().exec_autocommit(
                "SELECT count(*) > 0 AND bool_and(state = 'sent') FROM outbound"
            );
            return rows && (*rows)[0].boolean(0);
        },
        seconds{30}
    ));
    EXPECT_EQ(world.chat().posts(), 1);
}

TEST(Bridge, FallsBackToPlainTextAndGivesUpWhereItIsRefusedForGood) {
    BridgeWorld world;
    world.chat().on_post([](const chat::Outgoing& message) -> std::optional<PlayedChat::Fault> {
        if (message.conversation.chat == "C2")
            return PlayedChat::Fault{{Kind::kRefused, milliseconds{0}, "is_archived"}};
        if (!message.plain)
            return PlayedChat::Fault{{Kind::kBadMarkup, milliseconds{0}, "invalid_blocks"}};
        return std::nullopt;
    });
    world.start();
    world.chat().tell_surely(said("whoami"));
    world.chat().tell_surely(said("whoami", "U1", "C2"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) { return m.plain; }));
    const auto letters = world.dead_letters();
    ASSERT_EQ(letters.size(), 1U);
    EXPECT_EQ(letters[0].subject, "berth.dlq.chat.slack");
    EXPECT_EQ(letters[0].header("berth-dlq-reason"), "is_archived");
    EXPECT_EQ(letters[0].header("berth-dlq-chat"), "C2");
}

TEST(Bridge, WhatMayHaveGoneOutIsFoundOrSentOnceMoreOrNeverAgain) {
    for (const bool can_find : {true, false}) {
        std::mutex mutex;
        std::set<std::string> failed;  // outlives the bridge, which asks to its end
        BridgeWorld world;
        world.chat().traits.can_find = can_find;
        world.chat().on_post(
            [&](const chat::Outgoing& message) -> std::optional<PlayedChat::Fault> {
                const std::lock_guard lock(mutex);
                if (!failed.insert(message.key).second) return std::nullopt;
                return PlayedChat::Fault{{Kind::kUnknown, milliseconds{0}, "broken pipe"}, true};
            }
        );
        world.start();
        world.tell(world.held("ap_4"), "requested");
        world.chat().tell_surely(said("whoami"));
        const auto count = [](const std::vector<Shown>& all, const char* chat) {
            return std::count_if(all.begin(), all.end(), [&](const Shown& m) {
                return m.conversation.chat == chat;
            });
        };
        if (can_find) {
            ASSERT_TRUE(world.chat().wait_until([&](const auto& all) {
                return count(all, "C1") == 1 && count(all, "A1") == 1;
            }));
            world.chat().tell_surely(said("leases"));  // what comes after it goes out after it
            ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
                return has(m.content.markdown, "No machine");
            }));
            EXPECT_EQ(count(world.chat().shown(), "C1"), 2);
        } else {
            ASSERT_TRUE(world.chat().wait_until([&](const auto& all) {
                return count(all, "C1") == 2;
            }));
            EXPECT_GE(world.dead_letters().size(), 1U);
        }
        EXPECT_EQ(count(world.chat().shown(), "A1"), 1) << "an approval's card is never doubled";
        // The click on a card that nobody knew was there works, and the card follows.
        const auto card = world.chat().in("A1").at(0);
        world.chat().tell_surely(clicked(card, "Deny", "U2"));
        ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
            return m.conversation.chat == "A1" && title(m) == "Denied by olga";
        }));
    }
}

TEST(Bridge, WhereNothingCanBeEditedARunsStepsCostNothingAndItsEndIsSaidAtOnce) {
    BridgeWorld world;
    world.chat().traits.edits = false;
    // The card, an answer and the card's end; what is spent does not come back.
    world.chat().traits.per_conversation = {0.0001, 3};
    world.chat().on_edit([](const chat::Outgoing& message) -> std::optional<PlayedChat::Fault> {
        EXPECT_TRUE(message.content.card.buttons.empty()) << message.content.card.title;
        return std::nullopt;
    });
    world.start();
    world.chat().tell_surely(said("run make test"));
    run::v1::Run run = world.wait_for_run();
    world.chat().tell_surely(said("whoami"));
    ASSERT_TRUE(world.chat().wait_until([](const auto& all) { return all.size() == 2; }));
    const auto number = [&](const char* query) {
        const auto rows = world.pool().exec_autocommit(query);
        return rows ? (*rows)[0].int64(0) : 0;
    };
    const auto wait_for_more = [&](const char* query, std::int64_t than) {
        return eventually([&] { return number(query) > than; }, seconds{20});
    };
    ASSERT_TRUE(wait_for_more("SELECT count(*) FROM jobs WHERE state = 2", 0)) << "it is followed";
    constexpr const char* kShown = "SELECT max(shown) FROM outbound";
    for (std::uint64_t step = 2; step < 8; ++step) {
        const auto before = number(kShown);
        run.set_state(step % 2 == 0 ? run::v1::RUN_STATE_RUNNING : run::v1::RUN_STATE_HELD);
        run.set_revision(step);
        world.tell(run, "started");
        ASSERT_TRUE(wait_for_more(kShown, before)) << step;
    }
    run.set_state(run::v1::RUN_STATE_SUCCEEDED);
    run.set_revision(8);
    world.tell(run, "succeeded");
    EXPECT_TRUE(world.chat().wait_for([](const Shown& m) {
        return title(m) == "make test: succeeded";
    }));
}

TEST(Bridge, AFailureThatWasHeardIsNoDoubtButForAnApproval) {
    std::atomic<int> answers{0};
    BridgeWorld world;
    world.chat().traits.can_find = false;
    world.chat().on_post([&](const chat::Outgoing& message) -> std::optional<PlayedChat::Fault> {
        if (message.conversation.chat == "C1" && answers.fetch_add(1) >= 3) return std::nullopt;
        return PlayedChat::Fault{{Kind::kFailed, milliseconds{0}, "500"}};
    });
    world.start();
    world.tell(world.held("ap_8"), "requested");
    world.chat().tell_surely(said("whoami"));
    EXPECT_TRUE(world.chat().wait_for([](const Shown& m) { return has(m.content.markdown, "anna"); }
    ));
    const auto letters = world.dead_letters();
    ASSERT_GE(letters.size(), 1U);
    for (const auto& letter : letters) EXPECT_NE(letter.header("berth-dlq-chat"), "C1");
    EXPECT_EQ(world.chat().posts(), 4 + 2) << "each card once";
}

/// A run's card whose end meets `fault` each time.
struct EndOfACard {
    EndOfACard(bool in_place, chat::SendError fault) {
        world.chat().traits.edits = in_place;
        world.chat().on_edit(
            [this, fault](const chat::Outgoing& message) -> std::optional<PlayedChat::Fault> {
                if (message.content.card.title != "make test: succeeded") return std::nullopt;
                ++tries;
                return PlayedChat::Fault{fault};
            }
        );
        world.start();
        world.chat().tell_surely(said("run make test"));
        run::v1::Run run = world.wait_for_run();
        EXPECT_TRUE(eventually(
            [&] { return is_true("SELECT count(*) > 0 FROM jobs WHERE state = 2"); }, seconds{20}
        ));
        run.set_state(run::v1::RUN_STATE_SUCCEEDED);
        run.set_revision(8);
        world.tell(run, "succeeded");
    }
    bool is_true(const char* query) {
        const auto rows = world.pool().exec_autocommit(query);
        return rows && (*rows)[0].boolean(0);
    }
    bool given_up() {
        return eventually(
            [&] {
                return tries > 0 && is_true("SELECT bool_and(shown >= revision) FROM outbound");
            },
            seconds{20}
        );
    }

    std::atomic<int> tries{0};  // outlives the bridge
    BridgeWorld world;
};

TEST(Bridge, WhereNothingCanBeEditedAnEndThatMayHaveGoneOutIsSaidOnceMoreAtMost) {
    EndOfACard end(false, {Kind::kUnknown, milliseconds{0}, "broken pipe"});
    ASSERT_TRUE(end.given_up());
    EXPECT_EQ(end.tries, 2);
    EXPECT_TRUE(
        has(std::string(end.world.dead_letters().at(0).header("berth-dlq-reason")), "broken pipe")
    );
}

TEST(Bridge, AnEditIsMadeAgainUntilItIsTooOld) {
    for (const Kind kind : {Kind::kUnknown, Kind::kFailed, Kind::kLater}) {
        EndOfACard end(true, {kind, milliseconds{0}, "503"});
        ASSERT_TRUE(eventually([&] { return end.tries >= 3; }, seconds{20}));
        // Again and again: an attempt under way writes when the first one was.
        ASSERT_TRUE(eventually(
            [&] {
                EXPECT_TRUE(end.world.pool().exec_autocommit(
                    "UPDATE outbound SET edit_since = edit_since - interval '2 days' WHERE "
                    "edit_since > now() - interval '1 day'"
                ));
                return end.is_true("SELECT bool_and(shown >= revision) FROM outbound");
            },
            seconds{20}
        ));
        EXPECT_EQ(end.world.dead_letters().at(0).header("berth-dlq-reason"), "503");
    }
}

TEST(Bridge, AnEditWaitsLongerEachTime) {
    EndOfACard end(true, {Kind::kLater, milliseconds{0}, "503"});
    ASSERT_TRUE(eventually(
        [&] {
            return end.is_true(
                "SELECT count(*) > 0 FROM outbound WHERE edit_due_at - edit_since > interval '4 s'"
            );
        },
        seconds{20}
    ));
    EXPECT_LE(end.tries, 6);
}

TEST(Bridge, AnEditThatIsRefusedIsADeadLetterAndOneOfNothingIsNone) {
    EndOfACard refused(true, {Kind::kRefused, milliseconds{0}, "cant_update_message"});
    ASSERT_TRUE(refused.given_up());
    EXPECT_EQ(refused.tries, 1);
    EXPECT_EQ(refused.world.dead_letters().at(0).header("berth-dlq-reason"), "cant_update_message");
    for (const Kind kind : {Kind::kGone, Kind::kUnchanged}) {
        EndOfACard end(true, {kind, milliseconds{0}, "message_not_found"});
        ASSERT_TRUE(end.given_up());
        EXPECT_EQ(end.tries, 1);
        EXPECT_TRUE(end.is_true("SELECT count(*) = 0 FROM outbox"));
    }
}

TEST(Bridge, AWaitThatTheRouteAskedForEverywhereHoldsEveryChat) {
    std::atomic<int> refused{0};
    BridgeWorld world;
    world.chat().on_post([&](const chat::Outgoing&) -> std::optional<PlayedChat::Fault> {
        if (refused.fetch_add(1) > 0) return std::nullopt;
        return PlayedChat::Fault{{Kind::kLater, std::chrono::minutes{30}, "429", true}};
    });
    world.start();
    world.chat().tell_surely(said("whoami"));
    ASSERT_TRUE(eventually([&] { return world.chat().posts() == 1; }, seconds{20}));
    ASSERT_TRUE(eventually(
        [&] {  // longer than an answer lives: it is not asked for earlier all the same
            const auto rows = world.pool().exec_autocommit(
                "SELECT count(*) FROM outbound WHERE due_at > now() + interval '29 min'"
            );
            return rows && (*rows)[0].int64(0) == 1;
        },
        seconds{20}
    ));
    world.chat().tell_surely(said("whoami", "U1", "C2"));
    EXPECT_FALSE(world.chat().wait_until([](const auto& all) { return !all.empty(); }, seconds{2}));
}

TEST(Bridge, ThePlatformIsNotAskedForAMessageBeforeItsWaitIsOver) {
    std::atomic<int> asked{0};
    BridgeWorld world;
    world.chat().on_post([](const chat::Outgoing& message) -> std::optional<PlayedChat::Fault> {
        if (!has(message.content.markdown, "anna")) return std::nullopt;
        return PlayedChat::Fault{{Kind::kUnknown, milliseconds{0}, "broken pipe"}};
    });
    world.chat().on_find([&]() -> std::optional<chat::SendError> {
        ++asked;
        return chat::SendError{Kind::kLater, seconds{600}, "429"};
    });
    world.start();
    world.chat().tell_surely(said("whoami"));
    world.chat().tell_surely(said("leases"));
    ASSERT_TRUE(eventually([&] { return asked == 1; }, seconds{20}));
    EXPECT_FALSE(world.chat().wait_until([](const auto& all) { return !all.empty(); }, seconds{3}));
    EXPECT_EQ(asked, 1);
    // What nobody can say anything about holds up its conversation no longer than it lives.
    ASSERT_TRUE(world.pool().exec_autocommit(
        "UPDATE outbound SET expires_at = now() - interval '1 s' WHERE state = 'sending'"
    ));
    EXPECT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "No machine");
    }));
    EXPECT_EQ(world.dead_letters().size(), 1U);
}

TEST(Bridge, ATooOldMessageIsNeverSent) {
    BridgeWorld world;
    world.chat().on_post([](const chat::Outgoing&) -> std::optional<PlayedChat::Fault> {
        return PlayedChat::Fault{{Kind::kLater, milliseconds{200}, "503"}};
    });
    world.start();
    world.chat().tell_surely(said("whoami"));
    ASSERT_TRUE(world.chat().wait_until([&](const auto&) { return true; }));
    const auto state = [&] {
        const auto rows =
            world.pool().exec_autocommit("SELECT coalesce(max(state), '') FROM outbound");
        return rows ? std::string((*rows)[0].text(0)) : std::string();
    };
    ASSERT_TRUE(eventually([&] { return world.chat().posts() > 0; }, seconds{20}));
    ASSERT_TRUE(
        world.pool().exec_autocommit("UPDATE outbound SET expires_at = now() - interval '1 s'")
    );
    EXPECT_TRUE(eventually([&] { return state() == "expired"; }, seconds{20})) << state();
    const int posts = world.chat().posts();
    world.chat().on_post({});
    world.chat().tell_surely(said("leases"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "No machine");
    }));
    EXPECT_EQ(world.chat().posts(), posts + 1);
    EXPECT_EQ(world.chat().shown().size(), 1U);
}

TEST(Bridge, LongMarkdownIsPartedWithinThePlatformsLimit) {
    BridgeWorld world;
    world.chat().traits.max_text = 400;
    for (int i = 0; i < 30; ++i) {
        run::v1::Run run;
        run.set_id("rn_" + std::to_string(i));
        run.set_state(run::v1::RUN_STATE_SUCCEEDED);
        run.add_argv("make");
        run.add_argv("@everyone");
        world.berth().runs[run.id()] = run;
    }
    world.start();
    world.chat().tell_surely(said("history"));
    ASSERT_TRUE(world.chat().wait_until([](const auto& all) {
        std::string text;
        for (const auto& each : all) text += each.content.markdown;
        return has(text, "`rn_9`") && has(text, "`rn_29`");
    }));
    EXPECT_GT(world.chat().shown().size(), 1U);
    for (const auto& each : world.chat().shown()) {
        EXPECT_LE(each.content.markdown.size(), 460U);
        EXPECT_FALSE(has(each.content.markdown, "@everyone"));
    }
}

TEST(Bridge, OfTwoInstancesOneReceivesAndTheOtherTakesOver) {
    BridgeWorld world;
    world.start();
    world.start_another();
    world.chat().tell_surely(said("whoami"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) { return has(m.content.markdown, "anna"); }
    ));
    EXPECT_EQ(world.chat().starts(), 1);
    world.stop();
    world.chat().tell_surely(said("leases"));
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) {
        return has(m.content.markdown, "No machine");
    }));
    EXPECT_EQ(world.chat().starts(), 2);
    EXPECT_EQ(world.chat().shown().size(), 2U);
}

TEST(Bridge, OfTwoBotsInOneChatOnlyTheOneWhoseChatItIsAnswers) {
    BridgeWorld mine("orgs:\n  acme: {chats: [C1], approvals: [A1]}\n");
    BridgeWorld other("orgs:\n  acme: {chats: [C2], approvals: [A2]}\n");
    mine.start();
    other.start();
    // The platform tells both of what is said where both are, and a person talks to each alone.
    auto here = said("whoami", "U1", "C1");
    auto there = said("whoami", "U1", "C2");
    auto direct = said("leases", "U1", "D1");
    direct.direct = true;
    for (BridgeWorld* world : {&mine, &other}) {
        world->chat().tell_surely(here);
        world->chat().tell_surely(there);
    }
    other.chat().tell_surely(direct);
    ASSERT_TRUE(other.chat().wait_until([](const auto& all) { return all.size() == 2; }));
    mine.tell(mine.held("ap_5"), "requested");
    ASSERT_TRUE(mine.chat().wait_until([](const auto& all) { return all.size() == 2; }));
    EXPECT_EQ(mine.chat().in("C1").size(), 1U);
    EXPECT_EQ(mine.chat().in("A1").size(), 1U);
    EXPECT_EQ(other.chat().in("C2").size(), 1U);
    EXPECT_EQ(other.chat().in("D1").size(), 1U);
    EXPECT_EQ(mine.chat().shown().size(), 2U);
    EXPECT_EQ(other.chat().shown().size(), 2U);
}

TEST(Bridge, AnOutageOfTheBusLosesAndDoublesNothing) {
    BridgeWorld world;
    world.start();
    world.nats().kill9();
    for (int i = 0; i < 5; ++i) world.chat().tell_surely(said("run job" + std::to_string(i)));
    world.nats().restart();
    ASSERT_NO_THROW((void)world.wait_for_run(5));
    ASSERT_TRUE(world.chat().wait_until(
        [](const auto& all) {
            return std::count_if(all.begin(), all.end(), [](const Shown& m) {
                       return has(title(m), ": starting");
                   }) == 5;
        },
        seconds{60}
    ));
    const std::lock_guard lock(world.berth().mutex);
    EXPECT_EQ(world.berth().started.size(), 5U);
    EXPECT_EQ(world.chat().shown().size(), 5U);
}

TEST(Bridge, ThePublicListenerTakesNoMoreThanAMegabyte) {
    const std::string address = "127.0.0.1:" + std::to_string(free_port());
    BridgeWorld world("web_listen: \"" + address + "\"\norgs:\n  acme: {chats: [C1]}\n");
    world.start();
    http::Client client;
    http::Request request;
    request.method = "POST";
    request.url = "http://" + address + "/slack/events";
    request.body = "{}";
    auto answer = client.send(request);
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "POST /slack/events");
    request.body = std::string((1U << 20U) + 1, 'x');
    answer = client.send(request);
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->status, 413);
}

TEST(Bridge, SaysWhyItIsNotReady) {
    std::atomic<bool> revoked{true};
    BridgeWorld world;
    world.start();
    EXPECT_EQ(world.not_ready(), "");
    world.chat().set_health({false, "the token was revoked (invalid_auth)"});
    EXPECT_EQ(world.not_ready(), "the token was revoked (invalid_auth)");
    EXPECT_TRUE(has(world.metrics(), "berth_slack_platform_connected 0"));
    world.chat().set_health({true, {}});
    world.chat().on_post([&](const chat::Outgoing&) -> std::optional<PlayedChat::Fault> {
        if (!revoked) return std::nullopt;
        return PlayedChat::Fault{{Kind::kUnauthorized, milliseconds{0}, "token_revoked"}};
    });
    world.chat().tell_surely(said("whoami"));
    EXPECT_TRUE(eventually([&] { return has(world.not_ready(), "token_revoked"); }, seconds{20}))
        << world.not_ready();
    revoked = false;
    ASSERT_TRUE(world.chat().wait_for([](const Shown& m) { return has(m.content.markdown, "anna"); }
    ));
    EXPECT_TRUE(eventually([&] { return world.not_ready().empty(); }, seconds{20}))
        << world.not_ready();
}

}  // namespace
}  // namespace berth::testing
