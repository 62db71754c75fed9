// SPDX-License-Identifier: Apache-2.0
// Every committed row is published, in the order of its entity, whatever the bus does.
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <set>

#include "store/outbox.hpp"
#include "store/test_database.hpp"

namespace berth::store {
namespace {

using test::fresh_schema;

/// A bus whose confirmations the test gives, or a policy gives at once.
class FakeBus {
public:
    using Done = std::function<void(Result<void>)>;
    /// nullopt: keep `done` for the test.
    std::function<std::optional<Result<void>>(const OutboxMessage&)> policy;

    PublishFn publisher() {
        return [this](const OutboxMessage& message, Done done) {
            auto verdict = policy ? policy(message) : std::nullopt;
            {
                const std::lock_guard lock(mutex_);
                sent_.push_back(message.message_id);
                if (!verdict) held_[message.message_id] = done;
            }
            changed_.notify_all();
            if (verdict) done(*verdict);
        };
    }
    /// Waits until `count` publishes were made in all.
    bool wait_sent(std::size_t count) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, seconds{8}, [&] { return sent_.size() >= count; });
    }
    std::vector<std::string> sent() {
        const std::lock_guard lock(mutex_);
        return sent_;
    }
    void answer(const std::string& message_id, Result<void> result) {
        Done done;
        {
            const std::lock_guard lock(mutex_);
            done = std::move(held_.at(message_id));
            held_.erase(message_id);
        }
        done(std::move(result));
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> sent_;
    std::map<std::string, Done> held_;
};

RelaySettings quick() {
    RelaySettings settings;
    settings.age = milliseconds{150};
    settings.poll = milliseconds{30};
    settings.retry_delay = milliseconds{20};
    settings.delete_delay = milliseconds{5};
    return settings;
}

OutboxMessage message(const std::string& entity, std::int64_t revision) {
    return {
        entity + "/" + std::to_string(revision),
        entity,
        revision,
        "berth.evt.x",
        {{"a", "1"}, {"b", ""}},
        std::string("p\0q", 3),
        0,
        {}};
}

/// Commits messages together and returns them as publish_committed wants them.
std::vector<OutboxMessage> commit(Pool& pool, std::vector<OutboxMessage> messages) {
    const Result<void> done =
        pool.transact([&](Transaction& tx) { return Outbox::add_all(tx, messages); });
    EXPECT_TRUE(done) << done.error().describe();
    return messages;
}

bool drained(Pool& pool) {
    return test::eventually([&] { return Outbox::depth(pool)->rows == 0; });
}

TEST(Relay, ACommittedMessageIsPublishedAtOnceConfirmedAndDeleted) {
    Pool pool(fresh_schema());
    FakeBus bus;
    RelaySettings slow;  // the background would take seconds: what arrives came straight
    Relay relay(pool, bus.publisher(), slow);
    relay.start();
    auto messages = commit(pool, {message("e", 1)});
    EXPECT_EQ(Outbox::depth(pool)->rows, 1);
    std::atomic<int> confirmed{0};
    relay.publish_committed(
        std::move(messages),
        [&](const std::string& id, const Result<void>& result) {
            EXPECT_EQ(id, "e/1");
            EXPECT_TRUE(result);
            ++confirmed;
        }
    );
    ASSERT_EQ(bus.sent(), std::vector<std::string>{"e/1"})
        << "sent before publish_committed returned";
    EXPECT_EQ(confirmed, 0);
    bus.answer("e/1", {});
    EXPECT_EQ(confirmed, 1);
    EXPECT_TRUE(relay.stop(seconds{5}));
    EXPECT_EQ(Outbox::depth(pool)->rows, 0);
    EXPECT_EQ(relay.counters().published, 1U);
}

TEST(Relay, NothingOfAnEntityIsSentWhileAnOlderRowIsUnconfirmed) {
    Pool pool(fresh_schema());
    FakeBus bus;
    Relay relay(pool, bus.publisher());
    relay.start();
    relay.publish_committed(commit(pool, {message("e", 1), message("e", 2), message("f", 1)}));
    EXPECT_EQ(bus.sent(), (std::vector<std::string>{"e/1", "f/1"}));
    relay.publish_committed(commit(pool, {message("e", 3)}));
    EXPECT_EQ(bus.sent().size(), 2U);
    bus.answer("e/1", {});
    ASSERT_TRUE(bus.wait_sent(3));
    EXPECT_EQ(bus.sent().back(), "e/2");
    bus.answer("f/1", {});
    bus.answer("e/2", {});
    ASSERT_TRUE(bus.wait_sent(4));
    bus.answer("e/3", {});
    EXPECT_TRUE(relay.stop(seconds{5}));
    EXPECT_EQ(Outbox::depth(pool)->rows, 0);
}

TEST(Relay, AfterAFailureTheLaterRowsWaitForTheFailedOne) {
    Pool pool(fresh_schema());
    FakeBus bus;
    Relay relay(pool, bus.publisher(), quick());
    relay.start();
    std::mutex mutex;
    std::map<std::string, std::string> verdicts;
    relay.publish_committed(
        commit(pool, {message("e", 1), message("e", 2)}),
        [&](const std::string& id, const Result<void>& result) {
            const std::lock_guard lock(mutex);
            verdicts[id] = result ? "ok" : result.error().code;
        }
    );
    bus.answer("e/1", unavailable("no_bus", "gone"));
    EXPECT_EQ(
        verdicts, (std::map<std::string, std::string>{{"e/1", "no_bus"}, {"e/2", "deferred"}})
    );
    relay.publish_committed(commit(pool, {message("e", 3)}));
    ASSERT_TRUE(bus.wait_sent(2));
    EXPECT_EQ(bus.sent().back(), "e/1") << "the failed one comes again first";
    bus.answer("e/1", {});
    ASSERT_TRUE(bus.wait_sent(3));
    bus.answer("e/2", {});
    ASSERT_TRUE(bus.wait_sent(4));
    bus.answer("e/3", {});
    EXPECT_TRUE(drained(pool));
    EXPECT_EQ(bus.sent(), (std::vector<std::string>{"e/1", "e/1", "e/2", "e/3"}));
}

TEST(Relay, RowsOfACrashedProcessArePickedUpOnceByOneOfTwoRelays) {
    Pool pool(fresh_schema());
    std::vector<OutboxMessage> left;
    for (int i = 1; i <= 300; ++i) left.push_back(message("e" + std::to_string(i % 40), i));
    commit(pool, left);  // and the process dies here
    FakeBus bus;
    bus.policy = [](const OutboxMessage& m) {
        EXPECT_EQ(m.payload, std::string("p\0q", 3));
        EXPECT_EQ(
            m.headers, (std::vector<std::pair<std::string, std::string>>{{"a", "1"}, {"b", ""}})
        );
        return Result<void>{};
    };
    Relay one(pool, bus.publisher(), quick());
    Relay two(pool, bus.publisher(), quick());
    one.start();
    two.start();
    ASSERT_TRUE(drained(pool));
    EXPECT_EQ(bus.sent().size(), 300U) << "a claim keeps the other relay off";
    EXPECT_EQ(one.counters().relayed + two.counters().relayed, 300U);
    std::map<std::string, std::int64_t> last;
    for (const std::string& id : bus.sent()) {
        const auto slash = id.find('/');
        const std::int64_t revision = std::stoll(id.substr(slash + 1));
        EXPECT_GT(revision, std::exchange(last[id.substr(0, slash)], revision)) << id;
    }
}

TEST(Relay, ARowClaimedByARelayThatDiedIsLeftAloneUntilItsClaimEnds) {
    Pool pool(fresh_schema());
    commit(pool, {message("e", 1)});
    FakeBus bus;
    Relay one(pool, bus.publisher(), quick());
    one.start();
    ASSERT_TRUE(bus.wait_sent(1));
    EXPECT_FALSE(one.stop(milliseconds{0}));  // claimed, sent, unconfirmed: as a crash leaves it
    commit(pool, {message("f", 1)});
    Relay two(pool, bus.publisher(), quick());
    two.start();
    ASSERT_TRUE(bus.wait_sent(2));
    EXPECT_EQ(bus.sent().back(), "f/1")
        << "rows go out in the order of their ids, so e/1 was passed over";
    ASSERT_TRUE(
        pool.exec_autocommit("UPDATE outbox SET claimed_until = now() WHERE message_id = 'e/1'")
    );
    ASSERT_TRUE(bus.wait_sent(3));
    EXPECT_EQ(bus.sent().back(), "e/1");
}

TEST(Relay, ALongQueueOfOneEntityWithImmediateConfirmationsGoesOutInOrder) {
    Pool pool(fresh_schema());
    std::vector<OutboxMessage> left;
    for (int i = 1; i <= 1000; ++i) left.push_back(message("e", i));
    left = commit(pool, std::move(left));
    FakeBus bus;
    bus.policy = [](const OutboxMessage&) { return Result<void>{}; };
    Relay relay(pool, bus.publisher(), quick());
    relay.start();
    relay.publish_committed(std::move(left));
    ASSERT_TRUE(drained(pool));
    const auto sent = bus.sent();
    ASSERT_EQ(sent.size(), 1000U);
    for (std::size_t i = 0; i < sent.size(); ++i) EXPECT_EQ(sent[i], "e/" + std::to_string(i + 1));
}

TEST(Relay, AnOlderRowOfAnotherProcessHoldsTheNewOneBack) {
    Pool pool(fresh_schema());
    FakeBus bus;
    bus.policy = [](const OutboxMessage&) { return Result<void>{}; };
    const auto foreign = commit(pool, {message("e", 1)});  // in flight in another process
    RelaySettings settings = quick();
    settings.age = seconds{60};  // so that age alone moves nothing
    Relay relay(pool, bus.publisher(), settings);
    relay.start();
    auto mine = commit(pool, {message("e", 2)});
    ASSERT_EQ(mine[0].older, std::vector<std::int64_t>{foreign[0].id});
    relay.publish_committed(std::move(mine));
    relay.publish_committed(commit(pool, {message("f", 1)}));
    EXPECT_EQ(bus.sent(), std::vector<std::string>{"f/1"});
    ASSERT_TRUE(pool.exec_autocommit("DELETE FROM outbox WHERE id = $1", {foreign[0].id})
    );  // confirmed there
    ASSERT_TRUE(bus.wait_sent(2));
    EXPECT_EQ(bus.sent().back(), "e/2");
    EXPECT_TRUE(drained(pool));
}

TEST(Relay, APublishWithoutAnAnswerIsMadeAgainAndItsLateAnswerIgnored) {
    Pool pool(fresh_schema());
    FakeBus bus;
    RelaySettings settings = quick();
    settings.publish_timeout = milliseconds{100};
    Relay relay(pool, bus.publisher(), settings);
    relay.start();
    relay.publish_committed(commit(pool, {message("e", 1)}));
    ASSERT_TRUE(bus.wait_sent(2));
    EXPECT_GE(relay.counters().failed, 1U);
    EXPECT_EQ(Outbox::depth(pool)->rows, 1);
    EXPECT_FALSE(relay.stop(milliseconds{0})) << "something was left, and stop says so";
    bus.answer("e/1", {});  // long after: nobody is there to hear it
    EXPECT_EQ(Outbox::depth(pool)->rows, 1);
}

TEST(Relay, TheBackgroundSurvivesItsDatabase) {
    Pool pool(fresh_schema());
    FakeBus bus;
    bus.policy = [](const OutboxMessage&) { return Result<void>{}; };
    Relay relay(pool, bus.publisher(), quick());
    relay.start();
    auto messages = commit(pool, {message("e", 1)});
    test::server().kill9();
    relay.publish_committed(std::move(messages)
    );  // the bus is there, only the deletion has to wait
    EXPECT_EQ(bus.sent().size(), 1U);
    ASSERT_TRUE(test::eventually([&] { return relay.counters().database_errors > 0; }));
    ASSERT_TRUE(test::server().restart());
    EXPECT_TRUE(drained(pool));
    commit(pool, {message("e", 2)});
    EXPECT_TRUE(bus.wait_sent(2));
    EXPECT_TRUE(drained(pool));
}

/// What a reader of the bus sees under load: the first sight of each revision must be in order.
class Witness {
public:
    void sent(const OutboxMessage& m) {
        const std::lock_guard lock(mutex_);
        if (m.revision > confirmed_[m.entity] + 1) ++overtakings_;
    }
    void confirmed(const OutboxMessage& m) {
        const std::lock_guard lock(mutex_);
        confirmed_[m.entity] = std::max(confirmed_[m.entity], m.revision);
    }
    int overtakings() {
        const std::lock_guard lock(mutex_);
        return overtakings_;
    }
    std::int64_t total() {
        const std::lock_guard lock(mutex_);
        std::int64_t sum = 0;
        for (const auto& entry : confirmed_) sum += entry.second;
        return sum;
    }

private:
    std::mutex mutex_;
    std::map<std::string, std::int64_t> confirmed_;
    int overtakings_ = 0;
};

/// Confirms from a thread of its own, late and in another order, and fails one publish in eight.
class MoodyBus {
public:
    explicit MoodyBus(Witness& witness) : witness_(witness), thread_([this] { run(); }) {}
    ~MoodyBus() {
        {
            const std::lock_guard lock(mutex_);
            ended_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }
    PublishFn publisher() {
        return [this](const OutboxMessage& m, std::function<void(Result<void>)> done) {
            witness_.sent(m);
            {
                const std::lock_guard lock(mutex_);
                waiting_.emplace_back(m, std::move(done));
            }
            changed_.notify_one();
        };
    }

private:
    void run() {
        std::mt19937 random(7);
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [&] { return ended_ || !waiting_.empty(); });
            if (ended_) return;
            const auto at =
                waiting_.begin() + static_cast<std::ptrdiff_t>(random() % waiting_.size());
            auto [m, done] = std::move(*at);
            waiting_.erase(at);
            const bool fails = random() % 8 == 0;
            lock.unlock();
            if (!fails) witness_.confirmed(m);
            done(fails ? Result<void>(unavailable("moody", "not now")) : Result<void>());
            lock.lock();
        }
    }
    Witness& witness_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::pair<OutboxMessage, std::function<void(Result<void>)>>> waiting_;
    bool ended_ = false;
    std::thread thread_;
};

TEST(Relay, UnderLoadFromTwoReplicasWithAMoodyBusOrderHoldsAndNothingIsLost) {
    constexpr int kEntities = 8;
    constexpr int kThreads = 4;
    constexpr int kEach = 100;
    PoolSettings database = fresh_schema();
    database.max_connections = 16;
    Pool pool(database);
    ASSERT_TRUE(pool.exec_autocommit(
        "CREATE TABLE entity (name text PRIMARY KEY, revision bigint NOT NULL)"
    ));
    ASSERT_TRUE(pool.exec_autocommit(
        "INSERT INTO entity SELECT 'e' || n, 0 FROM generate_series(0, $1::int) n", {kEntities - 1}
    ));
    Witness witness;
    MoodyBus bus(witness);
    Relay one(pool, bus.publisher(), quick());
    Relay two(pool, bus.publisher(), quick());
    one.start();
    two.start();
    test::in_parallel(kThreads, [&](int thread) {
        for (int i = 0; i < kEach; ++i) {
            const std::string entity = "e" + std::to_string((thread + i) % kEntities);
            std::vector<OutboxMessage> out;
            const Result<void> done = pool.transact([&](Transaction& tx) -> Result<void> {
                BERTH_ASSIGN(
                    const Rows rows,
                    tx.exec(
                        "UPDATE entity SET revision = revision + 1 WHERE name = $1 RETURNING "
                        "revision",
                        {entity}
                    )
                );
                out.assign(1, message(entity, rows[0].int64(0)));
                return Outbox::add(tx, out[0]);
            });
            ASSERT_TRUE(done) << done.error().describe();
            (thread % 2 == 0 ? one : two).publish_committed(std::move(out));
        }
    });
    EXPECT_TRUE(drained(pool));
    EXPECT_EQ(witness.overtakings(), 0);
    EXPECT_EQ(witness.total(), kThreads * kEach);
    EXPECT_TRUE(one.stop(seconds{5}));
    EXPECT_TRUE(two.stop(seconds{5}));
}

}  // namespace
}  // namespace berth::store
