// SPDX-License-Identifier: Apache-2.0
// What the pool and its transactions promise, above all while the database misbehaves.
#include "store/postgres.hpp"

#include <signal.h>

#include <atomic>
#include <barrier>
#include <stdexcept>

#include "store/inbox.hpp"
#include "store/test_database.hpp"

namespace berth::store {
namespace {

using test::empty_schema;
using test::fresh_schema;

/// A pool on a schema with `counter(name primary key, value)`.
PoolSettings with_counter() {
    PoolSettings settings = fresh_schema();
    Pool pool(settings);
    EXPECT_TRUE(
        pool.exec_autocommit("CREATE TABLE counter (name text CONSTRAINT counter_name PRIMARY KEY, "
                             "value bigint NOT NULL)")
    );
    EXPECT_TRUE(pool.exec_autocommit("INSERT INTO counter VALUES ('a', 0), ('b', 0)"));
    return settings;
}

std::int64_t value_of(Pool& pool, std::string_view name) {
    return (*pool.exec_autocommit("SELECT value FROM counter WHERE name = $1", {name}))[0].int64(
        "value"
    );
}

Result<Rows> bump(Transaction& tx, std::string_view name) {
    return tx.exec("UPDATE counter SET value = value + 1 WHERE name = $1", {name});
}

void terminate(Pool& other, std::int64_t pid) {
    ASSERT_TRUE(
        (*other.exec_autocommit("SELECT pg_terminate_backend($1::int, 5000)", {pid}))[0].boolean(0)
    );
}

TEST(Postgres, ValuesRoundTrip) {
    Pool pool(fresh_schema());
    const WallTime time = from_unix_micros(1'769'850'300'000'001);
    std::string bytes;
    for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
    const std::vector<std::int64_t> ids{1, -2, 9'000'000'000'000'000'000};
    const std::vector<std::string> texts{"plain", "", "quo\"te \\ , {}", "NULL"};
    const std::vector<std::string> blobs{bytes, ""};
    auto rows = pool.exec_autocommit(
        "SELECT $1::bool b, $2::bigint i, $3::float8 d, $4::text t, $5::bytea y, $6::timestamptz "
        "w, $7::text n, "
        "$8::bigint[] ids, array_length($9::text[], 1) texts, ($9::text[])[3] odd, "
        "($10::bytea[])[1] blob, sum(x)::numeric total "
        "FROM (VALUES (1::bigint), (2)) v(x)",
        {true,
         -5,
         0.1,
         "grüße",
         Param::bytes(bytes),
         time,
         nullptr,
         Param::int64_array(ids),
         Param::text_array(texts),
         Param::bytes_array(blobs)}
    );
    ASSERT_TRUE(rows) << rows.error().describe();
    const Row row = (*rows)[0];
    EXPECT_TRUE(row.boolean("b"));
    EXPECT_EQ(row.int64(1), -5);
    EXPECT_EQ(row.number("d"), 0.1);
    EXPECT_EQ(row.text("t"), "grüße");
    EXPECT_EQ(row.bytes("y"), bytes);
    EXPECT_EQ(row.time("w"), time);
    EXPECT_TRUE(row.is_null("n"));
    EXPECT_EQ(row.optional_text("n"), std::nullopt);
    EXPECT_EQ(row.int64_array("ids"), ids);
    EXPECT_EQ(row.int64("texts"), 4);
    EXPECT_EQ(row.text("odd"), texts[2]);
    EXPECT_EQ(row.bytes("blob"), bytes);
    EXPECT_EQ(row.int64("total"), 3);
    EXPECT_THROW((void)row.text("absent"), std::logic_error);
    EXPECT_THROW((void)row.int64("n"), std::logic_error);
    EXPECT_THROW((void)row.int64("t"), std::logic_error);
    EXPECT_THROW((void)(*rows)[1], std::logic_error);
}

TEST(Postgres, EachTextIsPreparedOncePerConnection) {
    auto connection = Connection::open(fresh_schema());
    ASSERT_TRUE(connection);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(connection->exec("SELECT $1::int", {i}));
    auto rows = connection->exec(
        "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1::int'"
    );
    EXPECT_EQ((*rows)[0].int64(0), 1);
}

TEST(Postgres, ATextWithNulIsRefusedNotTruncated) {
    Pool pool(fresh_schema());
    auto rows = pool.exec_autocommit("SELECT $1::text", {std::string("a\0b", 3)});
    ASSERT_FALSE(rows);
    EXPECT_EQ(rows.error().code, "nul_in_text");
}

TEST(Postgres, AUniqueViolationNamesItsConstraintAndQuotesNoValue) {
    Pool pool(with_counter());
    ASSERT_TRUE(pool.exec_autocommit("INSERT INTO counter VALUES ($1, 0)", {"topsecret"}));
    auto again = pool.exec_autocommit("INSERT INTO counter VALUES ($1, 0)", {"topsecret"});
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().fault, Fault::kConflict);
    EXPECT_EQ(again.error().code, "unique_violation");
    EXPECT_EQ(again.error().field, "counter_name");
    EXPECT_EQ(again.error().describe().find("topsecret"), std::string::npos);
}

TEST(Postgres, AnErrorOrAnExceptionRollsBack) {
    Pool pool(with_counter());
    const Result<int> failed = pool.transact([](Transaction& tx) -> Result<int> {
        BERTH_TRY(bump(tx, "a"));
        return invalid("no", "no");
    });
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, "no");
    const auto throwing = [&] {
        (void)pool.transact([](Transaction& tx) -> Result<void> {
            BERTH_TRY(bump(tx, "a"));
            throw std::runtime_error("bug");
        });
    };
    EXPECT_THROW(throwing(), std::runtime_error);
    EXPECT_EQ(pool.in_use(), 0U);
    EXPECT_EQ(value_of(pool, "a"), 0);
}

TEST(Postgres, AFailureThatTheBodyIgnoresStillFailsTheTransaction) {
    Pool pool(with_counter());
    const Result<void> done = pool.transact([](Transaction& tx) -> Result<void> {
        BERTH_TRY(bump(tx, "a"));
        (void)tx.exec("SELECT 1/0");
        return {};
    });
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, "sql");
    EXPECT_EQ(value_of(pool, "a"), 0);
}

TEST(Postgres, ASerializationFailureRunsTheBodyAgain) {
    Pool pool(with_counter());
    int runs = 0;
    TxOptions options;
    options.isolation = Isolation::kRepeatableRead;
    const Result<std::int64_t> value = pool.transact(
        [&](Transaction& tx) -> Result<std::int64_t> {
            BERTH_ASSIGN(const Rows before, tx.exec("SELECT value FROM counter WHERE name = 'a'"));
            if (++runs == 1) {
                EXPECT_TRUE(pool.exec_autocommit("UPDATE counter SET value = 10 WHERE name = 'a'"));
            }
            BERTH_TRY(bump(tx, "a"));
            return before[0].int64(0) + 1;
        },
        options
    );
    ASSERT_TRUE(value) << value.error().describe();
    EXPECT_EQ(runs, 2);
    EXPECT_EQ(*value, 11);
    EXPECT_EQ(value_of(pool, "a"), 11);
}

TEST(Postgres, SerializationRetriesHaveACap) {
    Pool pool(with_counter());
    int runs = 0;
    TxOptions options;
    options.isolation = Isolation::kRepeatableRead;
    options.max_attempts = 3;
    const Result<void> done = pool.transact(
        [&](Transaction& tx) -> Result<void> {
            ++runs;
            BERTH_TRY(tx.exec("SELECT 1"));
            EXPECT_TRUE(
                pool.exec_autocommit("UPDATE counter SET value = value + 10 WHERE name = 'a'")
            );
            BERTH_TRY(bump(tx, "a"));
            return {};
        },
        options
    );
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, "serialization_failure");
    EXPECT_EQ(runs, 3);
}

TEST(Postgres, ADeadlockIsResolvedByRunningTheLoserAgain) {
    PoolSettings settings = with_counter();
    settings.conninfo += " options='-c deadlock_timeout=20ms'";
    Pool pool(settings);
    std::barrier both_hold_one(2);
    std::atomic<int> runs{0};
    test::in_parallel(2, [&](int i) {
        bool first = true;
        const Result<void> done = pool.transact([&](Transaction& tx) -> Result<void> {
            ++runs;
            BERTH_TRY(bump(tx, i == 0 ? "a" : "b"));
            if (std::exchange(first, false)) both_hold_one.arrive_and_wait();
            BERTH_TRY(bump(tx, i == 0 ? "b" : "a"));
            return {};
        });
        EXPECT_TRUE(done) << done.error().describe();
    });
    // Not exactly 3: the loser may take its row again before the winner wakes, and deadlock once
    // more.
    EXPECT_GE(runs, 3);
    EXPECT_EQ(value_of(pool, "a"), 2);
    EXPECT_EQ(value_of(pool, "b"), 2);
}

TEST(Postgres, AConnectionLostBeforeCommitIsReplacedAndTheBodyRunsAgain) {
    const PoolSettings settings = with_counter();
    Pool pool(settings);
    Pool other(settings);
    int runs = 0;
    const Result<void> done = pool.transact([&](Transaction& tx) -> Result<void> {
        BERTH_ASSIGN(const Rows rows, tx.exec("SELECT pg_backend_pid()"));
        BERTH_TRY(bump(tx, "a"));
        if (++runs == 1) terminate(other, rows[0].int64(0));
        BERTH_TRY(bump(tx, "a"));
        return {};
    });
    ASSERT_TRUE(done) << done.error().describe();
    EXPECT_EQ(runs, 2);
    EXPECT_EQ(value_of(pool, "a"), 2);
}

TEST(Postgres, AConnectionLostDuringCommitIsReportedAndNeverRunAgain) {
    Pool pool(with_counter());
    auto setup = pool.acquire();
    ASSERT_TRUE(setup->exec_script(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5); RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER die AFTER UPDATE ON counter DEFERRABLE INITIALLY DEFERRED FOR "
        "EACH ROW EXECUTE FUNCTION die()",
        seconds{5}
    ));
    int runs = 0;
    const Result<void> done = pool.transact([&](Transaction& tx) -> Result<void> {
        ++runs;
        BERTH_TRY(bump(tx, "a"));
        return {};
    });
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().fault, Fault::kUnavailable);
    EXPECT_EQ(done.error().code, "commit_unknown");
    EXPECT_EQ(runs, 1);
    auto single = pool.exec_autocommit("UPDATE counter SET value = value + 1 WHERE name = 'a'");
    ASSERT_FALSE(single);
    EXPECT_EQ(single.error().code, "commit_unknown");
}

TEST(Postgres, AStaleIdleConnectionIsReplacedUnseen) {
    const PoolSettings settings = with_counter();
    Pool pool(settings);
    Pool other(settings);
    for (int i = 0; i < 3; ++i) {
        const auto pid = (*pool.exec_autocommit("SELECT pg_backend_pid()"))[0].int64(0);
        terminate(other, pid);
        auto rows = pool.exec_autocommit(
            "UPDATE counter SET value = value + 1 WHERE name = 'a' RETURNING pg_backend_pid()"
        );
        ASSERT_TRUE(rows) << rows.error().describe();
        EXPECT_NE((*rows)[0].int64(0), pid);
    }
}

TEST(Postgres, APlanMadeBeforeTheTableChangedIsMadeAnew) {
    Pool pool(with_counter());
    ASSERT_TRUE(pool.exec_autocommit("SELECT * FROM counter"));
    ASSERT_TRUE(pool.exec_autocommit("ALTER TABLE counter ADD COLUMN note text"));
    auto rows = pool.exec_autocommit("SELECT * FROM counter");
    ASSERT_TRUE(rows) << rows.error().describe();
    EXPECT_TRUE((*rows)[0].is_null("note"));
}

TEST(Postgres, AnAbsentDatabaseIsUnavailableAndItsPasswordUntold) {
    PoolSettings settings;
    settings.conninfo = "host=/nonexistent dbname=x user=u password=hunter2";
    Pool away(settings);
    auto rows = away.exec_autocommit("SELECT 1");
    ASSERT_FALSE(rows);
    EXPECT_EQ(rows.error().fault, Fault::kUnavailable);
    EXPECT_EQ(rows.error().code, "database_unavailable");
    EXPECT_EQ(rows.error().describe().find("hunter2"), std::string::npos);
    const Result<void> tx = away.transact([](Transaction& t) -> Result<void> {
        BERTH_TRY(t.exec("SELECT 1"));
        return {};
    });
    EXPECT_EQ(tx.error().code, "database_unavailable");
    EXPECT_FALSE(away.healthy());

    settings.conninfo = "host=x password='hunter2 oops=1";
    Pool malformed(settings);
    auto refused = malformed.exec_autocommit("SELECT 1");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, "bad_conninfo");
    EXPECT_EQ(refused.error().describe().find("hunter2"), std::string::npos);
}

TEST(Postgres, AnExhaustedPoolSaysSoInTimeAndServesTheNextWhenFreed) {
    PoolSettings settings = fresh_schema();
    settings.max_connections = 1;
    settings.acquire_timeout = milliseconds{50};
    Pool pool(settings);
    {
        auto held = pool.acquire();
        ASSERT_TRUE(held);
        auto rows = pool.exec_autocommit("SELECT 1");
        ASSERT_FALSE(rows);
        EXPECT_EQ(rows.error().code, "pool_exhausted");
    }
    EXPECT_TRUE(pool.exec_autocommit("SELECT 1"));
    EXPECT_TRUE(pool.healthy());
}

TEST(Postgres, AStatementIsCancelledAtItsTimeoutAndTheConnectionLivesOn) {
    PoolSettings settings = fresh_schema();
    settings.statement_timeout = milliseconds{50};
    settings.max_connections = 1;
    Pool pool(settings);
    const auto pid = (*pool.exec_autocommit("SELECT pg_backend_pid()"))[0].int64(0);
    auto slow = pool.exec_autocommit("SELECT pg_sleep(30)");
    ASSERT_FALSE(slow);
    EXPECT_EQ(slow.error().fault, Fault::kDeadline);
    EXPECT_EQ(slow.error().code, "statement_timeout");
    EXPECT_EQ((*pool.exec_autocommit("SELECT pg_backend_pid()"))[0].int64(0), pid);
}

TEST(Postgres, AFrozenServerCostsOneConnectionAndOneDeadline) {
    auto connection = Connection::open(fresh_schema());
    ASSERT_TRUE(connection);
    const int pid = connection->backend_pid();
    ASSERT_EQ(::kill(pid, SIGSTOP), 0);
    auto rows = connection->exec_within(milliseconds{100}, "SELECT 1");
    ::kill(pid, SIGCONT);
    ASSERT_FALSE(rows);
    EXPECT_EQ(rows.error().code, "statement_timeout");
    EXPECT_FALSE(connection->usable());
}

TEST(Postgres, WhatWaitsGoesWithTheNextStatementOrTheCommit) {
    Pool pool(with_counter());
    const Statement add{"UPDATE counter SET value = value + $2 WHERE name = $1"};
    const auto n = [&] { return value_of(pool, "a"); };
    const std::int64_t before = n();
    ASSERT_TRUE(pool.transact([&](Transaction& tx) -> Result<void> {
        tx.exec_later(add, {"a", 1});
        tx.exec_later(add, {"a", 2});
        BERTH_ASSIGN(const Rows rows, tx.exec("SELECT value FROM counter WHERE name = $1", {"a"}));
        EXPECT_EQ(rows[0].int64(0), before + 3) << "sent before what comes after it";
        tx.exec_later(add, {"a", 4});
        return {};
    }));
    EXPECT_EQ(n(), before + 7);
    // Nothing but what waits is a transaction, too; one that fails takes all with it, and the
    // connection goes on.
    ASSERT_TRUE(pool.transact([&](Transaction& tx) -> Result<void> {
        tx.exec_later(add, {"a", 10});
        return {};
    }));
    const auto refused = pool.transact([&](Transaction& tx) -> Result<void> {
        tx.exec_later(add, {"a", 100});
        tx.exec_later({"INSERT INTO counter (name, value) VALUES ($1, $2)", "twice"}, {"a", 1});
        tx.exec_later(add, {"a", 100});
        return {};
    });
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, "unique_violation") << refused.error().describe();
    EXPECT_NE(refused.error().message.find("twice"), std::string::npos);
    const auto dropped = pool.transact([&](Transaction& tx) -> Result<void> {
        tx.exec_later(add, {"a", 100});
        return conflict("no", "the body says no");
    });
    EXPECT_FALSE(dropped);
    EXPECT_EQ(n(), before + 17);
    EXPECT_EQ(pool.in_use(), 0U);
}

/// Counts a command exactly once, asking again for as long as the database is away or unsure.
bool count_once(Pool& pool, const std::string& command_id, SteadyTime give_up) {
    while (std::chrono::steady_clock::now() < give_up) {
        const Result<void> done = pool.transact([&](Transaction& tx) -> Result<void> {
            BERTH_ASSIGN(const Claim claim, Inbox::claim(tx, command_id, "digest"));
            if (!claim.is_new()) return {};
            BERTH_TRY(bump(tx, "a"));
            Inbox::settle(tx, command_id, {"t", "ok", "p"});
            return {};
        });
        if (done) return true;
        EXPECT_EQ(done.error().fault, Fault::kUnavailable) << done.error().describe();
    }
    return false;
}

TEST(Postgres, AKilledServerLosesNothingAndDoublesNothing) {
    constexpr int kThreads = 6;
    constexpr int kEach = 150;
    PoolSettings settings = with_counter();
    settings.max_connections = kThreads;
    Pool pool(settings);
    std::atomic<int> finished{0};
    const SteadyTime give_up = std::chrono::steady_clock::now() + seconds{15};
    std::vector<std::thread> workers;
    for (int t = 0; t < kThreads; ++t) {
        workers.emplace_back([&, t] {
            for (int i = 0; i < kEach; ++i) {
                EXPECT_TRUE(count_once(pool, std::to_string(t) + "-" + std::to_string(i), give_up));
                ++finished;
            }
        });
    }
    EXPECT_TRUE(test::eventually([&] { return finished > kThreads * kEach / 4; }));
    const int before = finished;
    test::server().kill9(
    );  // from this thread: the server's life hangs on the thread that starts it
    EXPECT_LT(before, kThreads * kEach);
    const auto restarted = test::server().restart();
    EXPECT_TRUE(restarted) << restarted.error().describe();
    for (std::thread& worker : workers) worker.join();
    EXPECT_EQ(value_of(pool, "a"), kThreads * kEach);
    EXPECT_EQ((*pool.exec_autocommit("SELECT count(*) FROM inbox"))[0].int64(0), kThreads * kEach);
    EXPECT_TRUE(pool.healthy());
}

}  // namespace
}  // namespace berth::store
