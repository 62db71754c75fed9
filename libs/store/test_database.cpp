// SPDX-License-Identifier: Apache-2.0
// Starts and ends the test program's PostgreSQL.
#include "store/test_database.hpp"

#include <atomic>
#include <memory>
#include <stdexcept>

#include "store/migrations.hpp"

namespace berth::store::test {
namespace {

std::unique_ptr<berth::testing::PostgresServer>& slot() {
    static std::unique_ptr<berth::testing::PostgresServer> instance;
    return instance;
}

class StopServer final : public ::testing::Environment {
public:
    void TearDown() override { slot().reset(); }
};
// GoogleTest owns it.
[[maybe_unused]] const ::testing::Environment* const kStopServer =
    ::testing::AddGlobalTestEnvironment(new StopServer);

}  // namespace

berth::testing::PostgresServer& server() {
    if (!slot()) {
        slot() = std::make_unique<berth::testing::PostgresServer>();
        if (auto started = slot()->start(); !started)
            throw std::runtime_error(started.error().describe());
    }
    return *slot();
}

PoolSettings empty_schema() {
    static std::atomic<int> next{0};
    PoolSettings settings;
    settings.conninfo = server().conninfo();
    settings.schema = "test " + std::to_string(++next);  // the blank proves the quoting
    return settings;
}

PoolSettings fresh_schema() {
    PoolSettings settings = empty_schema();
    Pool pool(settings);
    const std::string sql = std::string(kInboxOutboxDdl) + std::string(kLeaderDdl);
    const Migration first{1, "base", sql};
    if (auto done = migrate(pool, settings.schema, {&first, 1}); !done)
        throw std::runtime_error(done.error().describe());
    return settings;
}

void in_parallel(int count, const std::function<void(int)>& body) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back(body, i);
    for (std::thread& thread : threads) thread.join();
}

bool eventually(const std::function<bool()>& done, milliseconds limit) {
    const SteadyTime deadline = std::chrono::steady_clock::now() + limit;
    while (!done()) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        std::this_thread::sleep_for(milliseconds{5});
    }
    return true;
}

}  // namespace berth::store::test
