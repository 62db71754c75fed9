// SPDX-License-Identifier: Apache-2.0
// Migrations run once, in order, and a rewritten history is refused.
#include "store/migrations.hpp"

#include <atomic>

#include "store/test_database.hpp"

namespace berth::store {
namespace {

using test::empty_schema;

const std::vector<Migration> kTwo{
    {1, "base", "CREATE TABLE a (x int); INSERT INTO a VALUES (1);"},
    {2, "more", "SELECT pg_sleep(0.1); INSERT INTO a VALUES (2);"},
};

TEST(Migrations, ReplicasThatStartTogetherMigrateOnce) {
    const PoolSettings settings = empty_schema();
    Pool one(settings);
    Pool two(settings);
    std::atomic<int> applied{0};
    test::in_parallel(8, [&](int i) {
        auto done = migrate(i % 2 == 0 ? one : two, settings.schema, kTwo);
        ASSERT_TRUE(done) << done.error().describe();
        applied += *done;
    });
    EXPECT_EQ(applied, 2);
    EXPECT_EQ((*one.exec_autocommit("SELECT count(*) FROM a"))[0].int64(0), 2);
    EXPECT_EQ(*migrate(one, settings.schema, kTwo), 0);
}

TEST(Migrations, AnEditedAppliedMigrationIsALoudError) {
    const PoolSettings settings = empty_schema();
    Pool pool(settings);
    ASSERT_TRUE(migrate(pool, settings.schema, kTwo));
    std::vector<Migration> edited = kTwo;
    edited[0].sql = "CREATE TABLE a (x bigint);";
    auto done = migrate(pool, settings.schema, edited);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, "migration_edited");
    EXPECT_NE(done.error().message.find("base"), std::string::npos);
}

TEST(Migrations, AProgramOlderThanItsDatabaseAndAListWithGapsAreRefused) {
    const PoolSettings settings = empty_schema();
    Pool pool(settings);
    ASSERT_TRUE(migrate(pool, settings.schema, kTwo));
    EXPECT_EQ(
        migrate(pool, settings.schema, std::span(kTwo).first(1)).error().code, "migration_newer"
    );
    EXPECT_EQ(
        migrate(pool, settings.schema, std::span(kTwo).last(1)).error().code, "migration_order"
    );
}

TEST(Migrations, AFailedMigrationLeavesNothingOfItselfAndIsNamed) {
    const PoolSettings settings = empty_schema();
    Pool pool(settings);
    std::vector<Migration> broken = kTwo;
    broken[1].sql = "INSERT INTO a VALUES (2); SELECT nonsense;";
    auto done = migrate(pool, settings.schema, broken);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, "migration_failed");
    EXPECT_NE(done.error().message.find("more"), std::string::npos);
    EXPECT_EQ((*pool.exec_autocommit("SELECT count(*) FROM a"))[0].int64(0), 1);
    EXPECT_EQ(*migrate(pool, settings.schema, kTwo), 1);
}

TEST(Migrations, TheDdlOfInboxOutboxAndFenceApplies) {
    const PoolSettings settings = empty_schema();
    Pool pool(settings);
    const std::vector<Migration> list{{1, "base", kInboxOutboxDdl}, {2, "fence", kLeaderDdl}};
    ASSERT_TRUE(migrate(pool, settings.schema, list));
    for (const char* table : {"inbox", "outbox", "leader_fence"}) {
        EXPECT_FALSE(
            (*pool.exec_autocommit("SELECT to_regclass($1::text)::text", {table}))[0].is_null(0)
        ) << table;
    }
}

}  // namespace
}  // namespace berth::store
