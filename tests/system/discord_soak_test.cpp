// SPDX-License-Identifier: Apache-2.0
// Many messages in many channels while the bridge, NATS and PostgreSQL are killed at random and the
// Gateway breaks off: each is answered once, in its order.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "core/random.hpp"
#include "discord_suite.hpp"

namespace berth::testing {
namespace {

constexpr std::uint64_t kUsualMessages = 600;
/// On average so many messages between two kills, and between two breaks of the connection.
constexpr std::uint64_t kKillEvery = 250;
constexpr std::uint64_t kBreakEvery = 120;

class DiscordSoak : public DiscordSystem {
protected:
    struct Room {
        std::string id;
        int said = 0;
    };
    /// False where it is being started again just now.
    static bool kill(const std::string& part) {
        try {
            suite_->kill9(part);
            return true;
        } catch (const std::runtime_error&) {
            return false;
        }
    }
    /// The numbers the bot answered with, as they stand.
    static std::vector<int> answers(const Room& room) {
        std::vector<int> out;
        for (const Json& one : bots(room.id)) {
            const std::string text = one.string_or("content", "");
            const auto at = text.find("nonsense");
            if (at != std::string::npos) out.push_back(std::atoi(text.c_str() + at + 8));
        }
        return out;
    }
};

TEST_F(DiscordSoak, EachMessageIsAnsweredOnceAndInOrder) {
    const std::uint64_t messages = number_of("BERTH_SOAK_MESSAGES", kUsualMessages);
    const std::uint64_t seed = number_of("BERTH_SOAK_SEED", Random::system().next());
    std::printf("BERTH_SOAK_SEED=%llu\n", static_cast<unsigned long long>(seed));
    SeededRandom random(seed);
    std::vector<Room> rooms;
    for (const std::string& id : chat_->rooms()) rooms.push_back({id, 0});
    const std::vector<std::string> parts{"discord", "nats", "postgres"};
    const std::vector<std::string> breaks{
        "{'do':'reconnect'}",
        "{'do':'drop'}",
        "{'do':'invalid','resumable':true}",
        "{'do':'close','code':4000}"};
    int kills = 0;
    for (std::uint64_t i = 0; i < messages; ++i) {
        Room& room = rooms[random.below(rooms.size())];
        tell(
            "message",
            "{'person':'ann','channel':'" + room.id + "','text':'nonsense" +
                std::to_string(room.said++) + "x','mention':true}"
        );
        if (random.below(kKillEvery) == 0 && kill(parts[random.below(parts.size())])) {
            ++kills;
            ASSERT_TRUE(suite_->wait_ready());
        }
        if (random.below(kBreakEvery) == 0) tell("gateway", breaks[random.below(breaks.size())]);
    }
    const auto whole = [&] {
        std::size_t answered = 0;
        for (const Room& room : rooms) answered += answers(room).size();
        return answered >= messages;
    };
    // At 40 a second, Discord's own limit less a margin, with time for what the kills cost.
    const milliseconds patience =
        seconds{120} + milliseconds{40} * static_cast<long long>(messages);
    EXPECT_TRUE(suite_->eventually(whole, patience)) << suite_->logs();
    for (const Room& room : rooms) {
        std::vector<int> wanted;
        for (int i = 0; i < room.said; ++i) wanted.push_back(i);
        EXPECT_EQ(answers(room), wanted) << room.id;
    }
    const Json counts = *fake_->look("state").find("counts");
    std::printf("%d kills; %s\n", kills, counts.dump().c_str());
    EXPECT_EQ(counts.int_or("identified", 0), 1) << "every break was resumed";
}

}  // namespace
}  // namespace berth::testing
