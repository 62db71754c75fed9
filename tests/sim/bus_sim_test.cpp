// SPDX-License-Identifier: Apache-2.0
// The real asker against a handler that dies between its steps, over the real in-process bus with
// faults, for many seeds.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "berth/common/v1/common.pb.h"
#include "bus/asker.hpp"
#include "bus/memory_bus.hpp"
#include "core/id.hpp"

namespace berth::bus {
namespace {

constexpr std::uint64_t kSeeds = 60;
constexpr std::size_t kAtOnce = 6;
constexpr int kCommands = 16;
constexpr milliseconds kAckWait{40};
// Patience of one ask. Thousands of attempts fit in: to run out of it means that something was lost
// for good.
constexpr milliseconds kPatience{20'000};

struct Totals {
    std::atomic<std::uint64_t> repeated{0};
    std::atomic<std::uint64_t> died{0};
    std::atomic<std::uint64_t> unheard{0};
};

/// A service in small: an inbox that survives its deaths, one effect per command id, a reply, then
/// the ack.
class Owner {
public:
    Owner(std::unique_ptr<Connection> connection, std::uint64_t seed, Totals& totals)
        : connection_(std::move(connection)), random_(seed), totals_(totals) {}

    void start() {
        ConsumerSettings settings;
        settings.stream = "CMD";
        settings.durable = "svc";
        settings.workers = 3;
        settings.ack_wait = kAckWait;
        auto receiver = connection_->consume(settings, [this](Delivery delivery) {
            handle(std::move(delivery));
        });
        ASSERT_TRUE(receiver) << receiver.error().describe();
        receiver_ = std::move(*receiver);
    }
    /// Waits for the confirmations under way too: they are told to this object.
    void stop() {
        receiver_.reset();
        std::unique_lock lock(mutex_);
        ASSERT_TRUE(settled_.wait_for(lock, kPatience, [&] { return publishing_ == 0; }));
    }
    std::map<std::string, int> effects() {
        const std::lock_guard lock(mutex_);
        return effects_;
    }

private:
    void handle(Delivery delivery) {
        const Message command = delivery.message();
        const std::string id(command.header(kCeId));
        if (dies())
            return delivery.nak(kAckWait
            );  // before the commit; what a dead process holds comes again
        {
            const std::lock_guard lock(mutex_);
            if (inbox_.contains(id))
                ++totals_.repeated;
            else
                ++effects_[id];
            inbox_.insert(id);
        }
        if (dies()) return delivery.nak(kAckWait);  // between commit and reply
        const bool refused = command.payload.ends_with('1');
        Message reply;
        reply.subject = reply_subject(command.header(kReplyTo), "svc", "one", id);
        common::v1::Failure failure;
        failure.set_fault("conflict");
        failure.set_code("odd");
        reply.headers = {
            {std::string(kMsgId), std::string(command.header(kMsgId)) + "/r"},
            {std::string(kCausationId), std::string(command.header(kMsgId))},
            {std::string(kCeType), "t.Answer"},
            {std::string(kStatus), refused ? "failure" : "ok"},
        };
        reply.payload = refused ? failure.SerializeAsString() : "answer to " + command.payload;
        // Somebody else answers too, whom nobody asked.
        Message liar = reply;
        liar.subject = reply_subject(command.header(kReplyTo), "liar", "one", id);
        liar.set_header(kMsgId, std::string(command.header(kMsgId)) + "/lie");
        liar.payload = "a lie";
        connection_->publish(std::move(liar), [](Result<PubAck>) {});
        auto held = std::make_shared<Delivery>(std::move(delivery));
        {
            const std::lock_guard lock(mutex_);
            ++publishing_;
        }
        connection_->publish(
            std::move(reply),
            [this, held](Result<PubAck> stored) {
                settle(*held, stored);
                const std::lock_guard lock(mutex_);
                --publishing_;
                settled_.notify_all();
            },
            milliseconds{100}
        );
    }

    void settle(Delivery& held, const Result<PubAck>& stored) {
        if (dies()) return held.nak(kAckWait);  // between reply and ack
        if (stored) return held.ack();
        ++totals_.unheard;
        held.nak(milliseconds{5});
    }

    bool dies() {
        const std::lock_guard lock(mutex_);
        if (random_.below(100) >= 8) return false;
        ++totals_.died;
        return true;
    }

    std::unique_ptr<Connection> connection_;
    std::mutex mutex_;
    std::condition_variable settled_;
    int publishing_ = 0;                  // by mutex_
    SeededRandom random_;                 // by mutex_
    std::set<std::string> inbox_;         // by mutex_
    std::map<std::string, int> effects_;  // by mutex_
    Totals& totals_;
    std::unique_ptr<Receiver> receiver_;
};

/// What the asks came to, shared with callbacks that may outlive the wait.
struct Answers {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::string, std::vector<Result<Answer>>> of;
    std::size_t arrived = 0;
};

void play(std::uint64_t seed, Totals& totals) {
    MemoryFaults faults;
    faults.drop_percent = 12;
    faults.duplicate_percent = 12;
    faults.reorder_percent = 15;
    faults.max_delay = milliseconds{3};
    MemoryServer server(
        seed,
        faults,
        {{"CMD", {"berth.cmd.svc.>"}, true}, {"RPL", {"berth.rpl.>"}}},
        {{"CMD", "svc", "berth.cmd.svc.>", kAckWait}}
    );
    const auto answers = std::make_shared<Answers>();
    Owner owner(server.connect(), seed * 31, totals);
    ASSERT_NO_FATAL_FAILURE(owner.start());
    const auto connection = server.connect();
    auto asker = Asker::create(*connection, {"cli", "one", milliseconds{25}});
    ASSERT_TRUE(asker) << asker.error().describe();

    SeededRandom random(seed);
    std::map<std::string, std::string> payload_of;
    for (int i = 0; i < kCommands; ++i) {
        Ask ask;
        ask.subject = "berth.cmd.svc.do";
        ask.type = "t.Command";
        ask.payload = std::to_string(i);
        ask.command_id = make_ulid(WallTime{milliseconds{i}}, random);
        ask.timeout = kPatience;
        payload_of[ask.command_id] = ask.payload;
        const std::string id = ask.command_id;
        // Some are asked twice at once, as by two clients with one idempotency key.
        for (int asked = i % 4 == 0 ? 2 : 1; asked > 0; --asked) {
            (*asker)->ask(ask, [answers, id](Result<Answer> answer) {
                const std::lock_guard lock(answers->mutex);
                answers->of[id].push_back(std::move(answer));
                ++answers->arrived;
                answers->changed.notify_all();
            });
        }
    }
    constexpr std::size_t kAsks = kCommands + (kCommands + 3) / 4;
    {
        std::unique_lock lock(answers->mutex);
        ASSERT_TRUE(answers->changed.wait_for(lock, kPatience + seconds{2}, [&] {
            return answers->arrived == kAsks;
        }));
        for (const auto& [id, payload] : payload_of) {
            ASSERT_EQ(answers->of[id].size(), std::stoi(payload) % 4 == 0 ? 2U : 1U);
            for (const auto& answer : answers->of[id]) {
                if (payload.ends_with('1')) {
                    ASSERT_FALSE(answer) << payload;
                    EXPECT_EQ(answer.error().code, "odd");
                } else {
                    ASSERT_TRUE(answer) << answer.error().describe();
                    EXPECT_EQ(answer->payload, "answer to " + payload);
                }
            }
        }
    }
    // What is left are redeliveries and attempts nobody waits for: they drain as well.
    const SteadyTime until = std::chrono::steady_clock::now() + kPatience;
    while (server.stored("CMD") > 0 && std::chrono::steady_clock::now() < until)
        std::this_thread::sleep_for(milliseconds{2});
    EXPECT_EQ(server.stored("CMD"), 0U);
    owner.stop();
    const auto effects = owner.effects();
    EXPECT_EQ(effects.size(), payload_of.size());
    for (const auto& [id, times] : effects) EXPECT_EQ(times, 1) << id;
    asker->reset();
    const std::lock_guard lock(answers->mutex);
    EXPECT_EQ(answers->arrived, kAsks) << "an ask was answered twice";
}

TEST(BusSimulation, EveryAskHearsItsOneOutcomeWhateverTheBusAndTheOwnerDo) {
    Totals totals;
    if (const char* only = std::getenv("BERTH_SIM_SEED"); only != nullptr)
        return play(std::strtoull(only, nullptr, 10), totals);
    // Each seed mostly waits: several at once share the machine.
    std::atomic<std::uint64_t> next{1};
    std::vector<std::thread> players;
    for (std::size_t i = 0; i < kAtOnce; ++i) {
        players.emplace_back([&] {
            for (std::uint64_t seed = next++; seed <= kSeeds; seed = next++) {
                SCOPED_TRACE("BERTH_SIM_SEED=" + std::to_string(seed));
                play(seed, totals);
            }
        });
    }
    for (std::thread& player : players) player.join();
    // Faults that never happened prove nothing.
    EXPECT_GT(totals.repeated, 0U);
    EXPECT_GT(totals.died, 0U);
    EXPECT_GT(totals.unheard, 0U);
}

// A confirmation may come when nobody waits any more. A sanitizer's eye is what makes this test
// sharp.
TEST(BusSimulation, AnAskerMayGoWhileItsPublishesAreUnderWay) {
    MemoryFaults faults;
    faults.max_delay = milliseconds{20};
    MemoryServer server(1, faults, {{"RPL", {"berth.rpl.>"}}}, {});
    const auto connection = server.connect();
    std::atomic<int> told{0};
    {
        auto asker = Asker::create(*connection, {"cli", "one", milliseconds{1'000}});
        ASSERT_TRUE(asker);
        // No stream takes these: each publish is refused, a little later.
        for (int i = 0; i < 50; ++i)
            (*asker)->ask(
                {"berth.cmd.svc.do", "t.T", "x", {}, {}, kPatience},
                [&told](Result<Answer>) { ++told; }
            );
    }
    EXPECT_EQ(told, 50);
    // Delays are at most 20 ms: behind one more publish than that all of them have come.
    for (int i = 0; i < 5; ++i) {
        Message last;
        last.subject = "berth.rpl.last";
        ASSERT_TRUE(connection->publish_wait(std::move(last)));
        std::this_thread::sleep_for(milliseconds{6});
    }
    EXPECT_EQ(told, 50);
}

}  // namespace
}  // namespace berth::bus
