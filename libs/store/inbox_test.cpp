// SPDX-License-Identifier: Apache-2.0
// One command id, one effect, whoever races for it.
#include "store/inbox.hpp"

#include <atomic>
#include <future>

#include "store/test_database.hpp"

namespace berth::store {
namespace {

using test::fresh_schema;

Result<Claim::Kind> handle(
    Pool& pool,
    const std::string& id,
    const std::string& digest,
    std::atomic<int>* effects = nullptr
) {
    return pool.transact([&](Transaction& tx) -> Result<Claim::Kind> {
        BERTH_ASSIGN(const Claim claim, Inbox::claim(tx, id, digest));
        if (claim.is_new()) {
            Inbox::settle(tx, id, {"berth.Reply", "ok", std::string("\0\xff", 2) + id});
            if (effects != nullptr) ++*effects;
        }
        if (claim.is_known()) {
            EXPECT_EQ(claim.outcome.payload, std::string("\0\xff", 2) + id);
        }
        return claim.kind;
    });
}

TEST(Inbox, FiftyRacersForOneCommandHaveOneEffectAndOneAnswer) {
    PoolSettings settings = fresh_schema();
    settings.max_connections = 25;
    Pool one(settings);
    Pool two(settings);
    for (int round = 0; round < 5; ++round) {
        std::atomic<int> effects{0};
        std::atomic<int> known{0};
        test::in_parallel(50, [&](int i) {
            auto kind =
                handle(i % 2 == 0 ? one : two, "cmd-" + std::to_string(round), "d", &effects);
            ASSERT_TRUE(kind) << kind.error().describe();
            if (*kind == Claim::Kind::kKnown) ++known;
        });
        EXPECT_EQ(effects, 1);
        EXPECT_EQ(known, 49);
    }
}

TEST(Inbox, WhatIsRecordedWithItsOutcomeHappensForOneOfFiftyRacers) {
    PoolSettings settings = fresh_schema();
    settings.max_connections = 25;
    Pool pool(settings);
    ASSERT_TRUE(pool.exec_autocommit("CREATE TABLE effects (racer bigint)"));
    std::atomic<int> done{0};
    test::in_parallel(50, [&](int i) {
        auto outcome = pool.transact([&](Transaction& tx) -> Result<void> {
            BERTH_TRY(tx.exec("INSERT INTO effects VALUES ($1)", {i}));
            Inbox::record(tx, "cmd", "d", {"berth.Reply", "ok", std::to_string(i)});
            return {};
        });
        if (outcome) {
            ++done;
        } else {
            EXPECT_TRUE(Inbox::was_claimed(outcome.error())) << outcome.error().describe();
        }
    });
    EXPECT_EQ(done, 1);
    auto effects = pool.exec_autocommit("SELECT racer::text FROM effects");
    ASSERT_TRUE(effects) << effects.error().describe();
    ASSERT_EQ(effects->size(), 1U);
    EXPECT_EQ(Inbox::look_up(pool, "cmd", "d")->outcome.payload, (*effects)[0].text(0));
}

TEST(Inbox, TheSameIdForAnotherCommandIsAConflict) {
    Pool pool(fresh_schema());
    EXPECT_EQ(*handle(pool, "cmd", "one"), Claim::Kind::kNew);
    EXPECT_EQ(*handle(pool, "cmd", "two"), Claim::Kind::kConflict);
    EXPECT_EQ(*handle(pool, "cmd", "one"), Claim::Kind::kKnown);
    EXPECT_TRUE(Inbox::look_up(pool, "other", "one")->is_new());
    EXPECT_EQ(Inbox::look_up(pool, "cmd", "one")->outcome.status, "ok");
}

TEST(Inbox, ALoserWaitsForTheWinnerAndTakesOverWhenItRollsBack) {
    Pool pool(fresh_schema());
    std::future<Result<Claim::Kind>> loser;
    const Result<void> winner = pool.transact([&](Transaction& tx) -> Result<void> {
        BERTH_TRY(Inbox::claim(tx, "cmd", "d"));
        loser = std::async(std::launch::async, [&] { return handle(pool, "cmd", "d"); });
        EXPECT_TRUE(test::eventually([&] {
            return !pool.exec_autocommit(
                            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
                            "query LIKE 'INSERT INTO inbox%'"
            )
                        ->empty();
        }));
        return invalid("changed_my_mind", "rolled back");
    });
    EXPECT_EQ(winner.error().code, "changed_my_mind");
    ASSERT_EQ(loser.wait_for(seconds{10}), std::future_status::ready);
    EXPECT_EQ(*loser.get(), Claim::Kind::kNew);
}

TEST(Inbox, AnIntentWithoutAnOutcomeIsPending) {
    Pool pool(fresh_schema());
    ASSERT_TRUE(pool.transact([](Transaction& tx) { return Inbox::claim(tx, "cmd", "d"); }));
    EXPECT_EQ(*handle(pool, "cmd", "d"), Claim::Kind::kPending);
    ASSERT_TRUE(pool.transact([](Transaction& tx) -> Result<void> {
        Inbox::settle(tx, "cmd", {"t", "failure", ""});
        return {};
    }));
    EXPECT_EQ(Inbox::look_up(pool, "cmd", "d")->outcome.status, "failure");
}

TEST(Inbox, PurgeTakesTheOldInBatchesAndLeavesTheYoung) {
    Pool pool(fresh_schema());
    ASSERT_TRUE(pool.exec_autocommit(
        "INSERT INTO inbox (command_id, digest, received_at) "
        "SELECT 'old' || n, '', now() - interval '25 hours' FROM generate_series(1, 25) n"
    ));
    EXPECT_EQ(*handle(pool, "young", "d"), Claim::Kind::kNew);
    auto purged = Inbox::purge_older_than(pool, std::chrono::hours{24}, 10);
    ASSERT_TRUE(purged) << purged.error().describe();
    EXPECT_EQ(*purged, 25);
    EXPECT_EQ(*handle(pool, "young", "d"), Claim::Kind::kKnown);
}

}  // namespace
}  // namespace berth::store
