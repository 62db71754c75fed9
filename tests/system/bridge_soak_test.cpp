// SPDX-License-Identifier: Apache-2.0
// Many messages in many conversations while the bridge, NATS and PostgreSQL are killed at random,
// the platform's connections break and its answers fail: each is answered once, in its order.
// BERTH_SOAK_MESSAGES says how many, BERTH_SOAK_SEED repeats one.
#include <signal.h>

#include <cstdio>
#include <cstdlib>

#include "bridge_system.hpp"

namespace berth::testing {
namespace {

constexpr std::uint64_t kUsualMessages = 150;
/// On average so many messages between two kills, of a short soak and of a long one, and between
/// two faults of the platform's.
constexpr std::uint64_t kKillEvery = 40;
constexpr std::uint64_t kKillEveryLong = 100;
constexpr std::uint64_t kFaultEvery = 60;
/// What a bridge may be posting at the moment it is killed (libs/chat: kSenders).
constexpr std::size_t kPostsAtOnce = 16;

struct Room {
    Place place;
    int said = 0;
};

/// Each number once; where the platform cannot be asked what became of a post, at most twice, one
/// after the other. How many were doubled.
std::size_t check_order(const Room& room, const std::vector<int>& told, bool can_find) {
    std::vector<int> wanted;
    for (int i = 0; i < room.said; ++i) wanted.push_back(i);
    if (can_find) {
        EXPECT_EQ(told, wanted) << room.place.chat;
        return 0;
    }
    std::vector<int> once = told;
    once.erase(std::unique(once.begin(), once.end()), once.end());
    EXPECT_EQ(once, wanted) << room.place.chat;
    for (int i = 0; i < room.said; ++i)
        EXPECT_LE(std::count(told.begin(), told.end(), i), 2) << room.place.chat << " " << i;
    return told.size() - once.size();
}

class BridgeSoak : public BridgeSystem {
protected:
    /// Messages that have an answer by now.
    static std::uint64_t answered(const std::vector<Room>& rooms) {
        std::uint64_t count = 0;
        for (const Room& room : rooms) {
            auto told = numbers(chat_->seen(room.place));
            count +=
                static_cast<std::uint64_t>(std::unique(told.begin(), told.end()) - told.begin());
        }
        return count;
    }
    /// Looking is work, too: once a second.
    static bool wait_answered(
        const std::vector<Room>& rooms, std::uint64_t wanted, milliseconds patience
    ) {
        const SteadyTime until = std::chrono::steady_clock::now() + patience;
        while (answered(rooms) < wanted) {
            if (std::chrono::steady_clock::now() > until) return false;
            (void)suite_->eventually([] { return false; }, seconds{1});
        }
        return true;
    }
};

TEST_F(BridgeSoak, EachMessageIsAnsweredOnceAndInOrder) {
    const std::uint64_t messages = number_of("BERTH_SOAK_MESSAGES", kUsualMessages);
    const std::uint64_t seed = number_of("BERTH_SOAK_SEED", Random::system().next());
    std::printf("BERTH_SOAK_SEED=%llu\n", static_cast<unsigned long long>(seed));
    SeededRandom random(seed);
    std::vector<Room> rooms;
    for (const Place& place : chat_->conversations(messages)) rooms.push_back({place, 0});
    const std::vector<std::string> parts{chat_->platform(), "nats", "postgres"};
    std::vector<std::size_t> kills(parts.size(), 0);
    const std::uint64_t kill_every = messages > kUsualMessages ? kKillEveryLong : kKillEvery;
    std::uint64_t settled = 0;  // answers to wait for before the bridge is killed again
    const SteadyTime began = std::chrono::steady_clock::now();
    for (std::uint64_t i = 0; i < messages; ++i) {
        Room& room = rooms[random.below(rooms.size())];
        chat_->say("ann", room.place, "nonsense" + std::to_string(room.said++) + "x");
        if (random.below(kill_every) == 0) {
            ASSERT_TRUE(suite_->wait_ready(seconds{120})
            );  // what was killed before may not be back
            const std::size_t which = random.below(parts.size());
            // Not twice in the same posts: one that may have gone out twice already is given up.
            ASSERT_TRUE(which != 0 || wait_answered(rooms, settled, seconds{240}));
            if (kill(parts[which])) ++kills[which];
            if (which == 0) settled = std::min(i + 1, answered(rooms) + 2 * kPostsAtOnce);
        }
        if (random.below(kFaultEvery) == 0) chat_->disturb(random);
    }
    // At 20 a second, the slowest platform's own pace, with time for what the kills cost.
    EXPECT_TRUE(wait_answered(
        rooms, messages, seconds{240} + milliseconds{80} * static_cast<long long>(messages)
    )) << suite_->logs();
    std::size_t doubled = 0;
    for (const Room& room : rooms)
        doubled += check_order(room, numbers(chat_->seen(room.place)), chat_->can_find());
    EXPECT_LE(doubled, kills[0] * kPostsAtOnce) << "only what a killed bridge was posting";
    std::printf(
        "%s: %llu messages, kills: %zu bridge, %zu NATS, %zu PostgreSQL; %zu doubled; %.0f s\n",
        chat_->platform().c_str(),
        static_cast<unsigned long long>(messages),
        kills[0],
        kills[1],
        kills[2],
        doubled,
        std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count()
    );
}

}  // namespace
}  // namespace berth::testing
