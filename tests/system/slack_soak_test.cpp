// SPDX-License-Identifier: Apache-2.0
// Many messages in many conversations while the bridge, NATS and PostgreSQL are killed at random,
// Slack's connections break off and its answers fail: each is answered once.
#include <cstdio>
#include <cstdlib>
#include <map>

#include "core/random.hpp"
#include "slack_suite.hpp"

namespace berth::testing {
namespace {

constexpr std::size_t kConversations = 60;
constexpr std::uint64_t kUsualMessages = 400;
/// On average so many messages between two kills, and between two faults of Slack's.
constexpr std::uint64_t kKillEvery = 200;
constexpr std::uint64_t kFaultEvery = 60;

class SlackSoak : public ChatSystem {
protected:
    static std::string channel(std::size_t index) {
        std::string number = std::to_string(index);
        return "D0SOAK" + std::string(4 - number.size(), '0') + number;
    }
    /// How often each message was answered.
    static std::map<int, int> answers(std::size_t index) {
        std::map<int, int> out;
        for (const Json& one : bots(channel(index))) {
            const std::string text = one.string_or("text", "");
            const auto at = text.find("nonsense");
            if (at != std::string::npos) ++out[std::atoi(text.c_str() + at + 8)];
        }
        return out;
    }
};

TEST_F(SlackSoak, EachMessageIsAnsweredOnce) {
    const std::uint64_t messages = number_of("BERTH_SOAK_MESSAGES", kUsualMessages);
    const std::uint64_t seed = number_of("BERTH_SOAK_SEED", Random::system().next());
    std::printf("BERTH_SOAK_SEED=%llu\n", static_cast<unsigned long long>(seed));
    SeededRandom random(seed);
    std::vector<int> said(kConversations, 0);
    const std::vector<std::string> parts{"slack", "nats", "postgres"};
    const std::vector<std::string> kinds{
        "429", "500_before", "500_after", "drop_before", "drop_after"};
    int kills = 0;
    for (std::uint64_t i = 0; i < messages; ++i) {
        const std::size_t where = random.below(kConversations);
        Json order = Json::object();
        order.set("channel", channel(where))
            .set("user", "U1")
            .set("text", "nonsense" + std::to_string(said[where]++))
            .set("twice", random.below(5) == 0);
        fake_->tell("say", order.dump());
        if (random.below(kKillEvery) == 0) {
            ASSERT_TRUE(suite_->wait_ready());  // what was killed before may not be back
            suite_->kill9(parts[random.below(parts.size())]);
            ++kills;
        }
        if (random.below(kFaultEvery) == 0)
            fake_->tell(
                "faults",
                R"({"faults":[{"method":"chat.postMessage","times":3,"retry_after":1,"kind":")" +
                    kinds[random.below(kinds.size())] + "\"}]}"
            );
        if (random.below(kFaultEvery) == 0)
            fake_->tell("disconnect", R"({"reason":"refresh_requested","close_after":0.2})");
        if (random.below(kFaultEvery) == 0) fake_->tell("line", R"({"cut":true})");
    }
    // At 20 a second, the bridge's own pace, with time for what the kills cost.
    const milliseconds patience =
        seconds{120} + milliseconds{60} * static_cast<long long>(messages);
    EXPECT_TRUE(suite_->eventually(
        [&] {
            std::size_t answered = 0;
            for (std::size_t i = 0; i < kConversations; ++i) answered += answers(i).size();
            return answered >= messages;
        },
        patience
    )) << suite_->logs();
    std::printf("%d kills\n", kills);
    for (std::size_t i = 0; i < kConversations; ++i) {
        const auto counts = answers(i);
        EXPECT_EQ(counts.size(), static_cast<std::size_t>(said[i]));
        for (const auto& [number, times] : counts)
            EXPECT_EQ(times, 1) << channel(i) << " nonsense" << number;
    }
}

}  // namespace
}  // namespace berth::testing
