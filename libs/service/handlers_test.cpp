// SPDX-License-Identifier: Apache-2.0
// The handler protocol against a real database and the in-process bus: what an asker hears, and
// what takes effect.
#include "service/handlers.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>

#include "berth/common/v1/common.pb.h"
#include "bus/memory_bus.hpp"
#include "core/id.hpp"
#include "core/random.hpp"
#include "core/time.hpp"
#include "store/migrations.hpp"
#include "support/postgres/postgres_server.hpp"

namespace berth::service {
namespace {

constexpr seconds kPatience{10};
constexpr const char* kReplyTo = "berth.rpl.test.one";

/// A service "lease" with the one command "count", which counts its effects in a table.
class HandlersTest : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        postgres_ = std::make_unique<testing::PostgresServer>();
        ASSERT_TRUE(postgres_->start());
    }
    static void TearDownTestSuite() { postgres_.reset(); }

    void SetUp() override {
        store::PoolSettings settings;
        settings.conninfo = postgres_->conninfo();
        settings.schema = "lease";
        pool_.emplace(settings);
        const std::string sql = std::string(store::kInboxOutboxDdl) +
                                "CREATE TABLE effects (command_id text NOT NULL);";
        const store::Migration first{1, "base", sql};
        ASSERT_TRUE(store::migrate(*pool_, settings.schema, {&first, 1}));
        relay_.emplace(
            *pool_,
            [](const store::OutboxMessage&, const std::function<void(Result<void>)>& done) {
                done({});
            }
        );
        bus_ = server_.connect();
        asker_ = server_.connect();
        auto replies = asker_->subscribe(std::string(kReplyTo) + ".>", [this](bus::Message reply) {
            const std::lock_guard lock(mutex_);
            replies_[std::string(reply.header(bus::kCausationId))] = std::move(reply);
            changed_.notify_all();
        });
        ASSERT_TRUE(replies);
        receiver_ = std::move(*replies);
        handlers_.emplace(Handlers::Parts{
            *bus_, *pool_, *relay_, metrics_, "lease", "a", 2, std::size_t{8}});
        handlers_->command(
            "count",
            [](const Context& context, const std::string&, store::Transaction& tx
            ) -> Result<Decision> {
                static constexpr store::Statement kCount{
                    "INSERT INTO effects (command_id) VALUES ($1)"};
                BERTH_TRY(tx.exec(kCount, {context.command_id}));
                return reply_with(common::v1::Empty{});
            }
        );
        ASSERT_TRUE(handlers_->start());
    }
    void TearDown() override {
        handlers_->stop();
        receiver_.reset();
    }

    /// Asks as attempt `attempt` and waits for the reply to it: "ok", or the refusal's code.
    std::string ask(const std::string& command, int attempt, milliseconds deadline) {
        const std::string cause = command + "/test-" + std::to_string(attempt) + "-1";
        bus::Message message;
        message.subject = "berth.cmd.lease.count";
        message.headers = {
            {std::string(bus::kMsgId), cause},
            {std::string(bus::kCeId), command},
            {std::string(bus::kReplyTo), kReplyTo},
            {std::string(bus::kDeadline), to_rfc3339(Clock::system().now() + deadline)},
        };
        EXPECT_TRUE(asker_->publish_wait(std::move(message)));
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, kPatience, [&] { return replies_.contains(cause); }))
            return "no reply";
        const bus::Message& reply = replies_.at(cause);
        if (reply.header(bus::kStatus) != "failure") return std::string(reply.header(bus::kStatus));
        common::v1::Failure failure;
        EXPECT_TRUE(failure.ParseFromString(reply.payload));
        return failure.code();
    }
    std::size_t effects(const std::string& command) {
        const auto rows = pool_->exec_autocommit(
            {"SELECT command_id FROM effects WHERE command_id = $1"}, {command}
        );
        EXPECT_TRUE(rows);
        return rows ? rows->size() : 0;
    }
    static std::string new_id() { return make_ulid(Clock::system().now(), Random::system()); }

    static inline std::unique_ptr<testing::PostgresServer> postgres_;
    metrics::Registry metrics_{"lease"};
    std::optional<store::Pool> pool_;
    std::optional<store::Relay> relay_;
    bus::MemoryServer server_{
        1,
        {},
        {{"CMD_LEASE", {"berth.cmd.lease.>"}, true},
         {"RPL", {"berth.rpl.>"}},
         {"DLQ", {"berth.dlq.>"}}},
        {{"CMD_LEASE", "lease", "berth.cmd.lease.>"}}};
    std::unique_ptr<bus::Connection> bus_;
    std::unique_ptr<bus::Connection> asker_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, bus::Message> replies_;  // by mutex_
    std::unique_ptr<bus::Receiver> receiver_;
    std::optional<Handlers> handlers_;
};

TEST_F(HandlersTest, AKnownCommandRepeatsItsOutcomeWithoutItsEffect) {
    const std::string command = new_id();
    EXPECT_EQ(ask(command, 1, seconds{30}), "ok");
    EXPECT_EQ(ask(command, 2, seconds{30}), "ok");
    EXPECT_EQ(ask(command, 3, seconds{-1}), "ok") << "known, whatever the deadline";
    EXPECT_EQ(effects(command), 1U);
}

// An owner that was away longer than a question's deadline answers "expired". The same question
// asked anew, with time left, must be carried out: an idempotency key is not used up by an outage.
TEST_F(HandlersTest, AnExpiredCommandHasNoEffectAndCanBeAskedAnew) {
    const std::string command = new_id();
    EXPECT_EQ(ask(command, 1, seconds{-1}), "expired");
    EXPECT_EQ(effects(command), 0U);
    EXPECT_EQ(ask(command, 2, seconds{-1}), "expired");
    EXPECT_EQ(effects(command), 0U);
    EXPECT_EQ(ask(command, 3, seconds{30}), "ok");
    EXPECT_EQ(effects(command), 1U);
    EXPECT_EQ(ask(command, 4, seconds{-1}), "ok");
    EXPECT_EQ(effects(command), 1U);
}

}  // namespace
}  // namespace berth::service
