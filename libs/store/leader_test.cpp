// SPDX-License-Identifier: Apache-2.0
// One leader at a time, and yesterday's leader writes nothing.
#include "store/leader.hpp"

#include <future>

#include "store/test_database.hpp"

namespace berth::store {
namespace {

using test::fresh_schema;

Result<void> guarded_write(Pool& pool, std::int64_t token) {
    return pool.transact([&](Transaction& tx) { return check_fence(tx, "reaper", token); });
}

TEST(Leader, OneOfTwoLeadsAndTheOtherFollowsItsRelease) {
    const PoolSettings settings = fresh_schema();
    LeaderLock one(settings, "reaper");
    LeaderLock two(settings, "reaper");
    LeaderLock elsewhere(settings, "sweeper");
    const auto first = one.try_lead();
    ASSERT_TRUE(first);
    EXPECT_EQ(one.try_lead(), first) << "leading already: the same token";
    EXPECT_FALSE(two.try_lead());
    EXPECT_FALSE(two.last_error());
    EXPECT_TRUE(elsewhere.try_lead()) << "another office is another lock";
    EXPECT_TRUE(one.still_leading());
    one.release();
    EXPECT_FALSE(one.still_leading());
    const auto second = two.try_lead();
    ASSERT_TRUE(second);
    EXPECT_GT(*second, *first);
    EXPECT_FALSE(one.try_lead());
}

TEST(Leader, AKilledConnectionEndsTheLeadershipAndItsTokenIsFenced) {
    const PoolSettings settings = fresh_schema();
    Pool pool(settings);
    LeaderLock one(settings, "reaper");
    LeaderLock two(settings, "reaper");
    const auto old_token = one.try_lead();
    ASSERT_TRUE(old_token);
    ASSERT_TRUE(guarded_write(pool, *old_token));
    ASSERT_TRUE(
        pool.exec_autocommit("SELECT pg_terminate_backend($1::int, 5000)", {one.backend_pid()})
    );
    const auto new_token = two.try_lead();
    ASSERT_TRUE(new_token) << (two.last_error() ? two.last_error()->describe() : "held");
    // `one` does not know yet; the database does.
    const auto late = guarded_write(pool, *old_token);
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, "fenced");
    EXPECT_TRUE(guarded_write(pool, *new_token));
    EXPECT_FALSE(one.still_leading());
    EXPECT_TRUE(one.last_error());
    EXPECT_FALSE(one.try_lead());
}

TEST(Leader, ANewLeaderWaitsForTheGuardedTransactionsOfTheOld) {
    const PoolSettings settings = fresh_schema();
    Pool pool(settings);
    LeaderLock two(settings, "reaper");
    std::int64_t old_token = 0;
    auto one = std::make_unique<LeaderLock>(settings, "reaper");
    old_token = one->try_lead().value();
    std::future<std::optional<std::int64_t>> next;
    const Result<void> done = pool.transact([&](Transaction& tx) -> Result<void> {
        BERTH_TRY(check_fence(tx, "reaper", old_token));
        one.reset();
        next = std::async(std::launch::async, [&] { return two.try_lead(); });
        EXPECT_TRUE(test::eventually([&] {
            return !pool.exec_autocommit(
                            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
                            "query LIKE 'INSERT INTO leader_fence%'"
            )
                        ->empty();
        }));
        EXPECT_EQ(next.wait_for(seconds{0}), std::future_status::timeout);
        return {};
    });
    ASSERT_TRUE(done) << done.error().describe();
    ASSERT_EQ(next.wait_for(seconds{10}), std::future_status::ready);
    EXPECT_GT(next.get().value(), old_token);
    EXPECT_EQ(guarded_write(pool, old_token).error().code, "fenced");
}

TEST(Leader, ALeaderWhoseDatabaseIsAwayIsNone) {
    PoolSettings settings;
    settings.conninfo = "host=/nonexistent";
    LeaderLock lock(settings, "reaper");
    EXPECT_FALSE(lock.try_lead());
    ASSERT_TRUE(lock.last_error());
    EXPECT_EQ(lock.last_error()->code, "database_unavailable");
}

}  // namespace
}  // namespace berth::store
