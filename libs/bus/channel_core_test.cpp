// SPDX-License-Identifier: Apache-2.0
// The byte channel's rules under seeded loss, duplication and reordering, in virtual time.
#include "bus/channel_core.hpp"

#include <gtest/gtest.h>

#include <deque>

#include "bus/message.hpp"
#include "core/random.hpp"

namespace berth::bus {
namespace {

constexpr ChannelCore::Limits kLimits{64, 1024, milliseconds{50}, milliseconds{60'000}};

/// Two sides joined by a bad network, driven in virtual time until both closed.
struct Pair {
    explicit Pair(std::uint64_t seed) : random(seed), a(kLimits, now), b(kLimits, now) {}

    void carry(ChannelCore& from, std::deque<node::v1::ChannelFrame>& to) {
        for (auto& frame : from.take_frames()) {
            EXPECT_LE(frame.data().size(), kLimits.frame_bytes);
            if (random.below(100) < 20) continue;
            const std::size_t copies = random.below(100) < 10 ? 2 : 1;
            for (std::size_t i = 0; i < copies; ++i) {
                const auto at = random.below(100) < 20 ? random.below(to.size() + 1) : to.size();
                to.insert(to.begin() + static_cast<std::ptrdiff_t>(at), frame);
            }
        }
    }

    SeededRandom random;
    SteadyTime now{};
    ChannelCore a;
    ChannelCore b;
    std::deque<node::v1::ChannelFrame> to_a;
    std::deque<node::v1::ChannelFrame> to_b;
};

TEST(ChannelCore, DeliversEveryByteOnceAndInOrderWhateverTheNetworkDoes) {
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        Pair pair(seed);
        std::string text_a;
        std::string text_b;
        for (int i = 0; i < 5'000; ++i) text_a += static_cast<char>('a' + i % 26);
        for (int i = 0; i < 3'000; ++i) text_b += static_cast<char>('0' + i % 10);
        std::string got_a, got_b;
        std::size_t sent_a = 0, sent_b = 0;
        std::size_t owed_a = 0, owed_b = 0;
        for (int step = 0; step < 20'000 && !(pair.a.closed() && pair.b.closed()); ++step) {
            pair.now += milliseconds{7};
            sent_a += pair.a.send(std::string_view(text_a).substr(sent_a), pair.now);
            sent_b += pair.b.send(std::string_view(text_b).substr(sent_b), pair.now);
            if (sent_a == text_a.size()) pair.a.finish(0, pair.now);
            if (sent_b == text_b.size()) pair.b.finish(7, pair.now);
            pair.a.tick(pair.now, false);
            pair.b.tick(pair.now, false);
            pair.carry(pair.a, pair.to_b);
            pair.carry(pair.b, pair.to_a);
            for (; !pair.to_b.empty(); pair.to_b.pop_front())
                pair.b.receive(pair.to_b.front(), pair.now);
            for (; !pair.to_a.empty(); pair.to_a.pop_front())
                pair.a.receive(pair.to_a.front(), pair.now);
            const std::string more_a = pair.a.take_data();
            const std::string more_b = pair.b.take_data();
            got_a += more_a;
            got_b += more_b;
            owed_a += more_a.size();
            owed_b += more_b.size();
            ASSERT_LE(owed_b, kLimits.window_bytes) << "a reader that stalls is not flooded";
            if (pair.random.below(3) == 0) pair.a.consume(std::exchange(owed_a, 0), pair.now);
            if (pair.random.below(3) == 0) pair.b.consume(std::exchange(owed_b, 0), pair.now);
            // One side closed and gone: its peer hears its last frames again, as a lingering side
            // would say.
            if (pair.a.closed() != pair.b.closed() && step % 10 == 0) {
                node::v1::ChannelFrame last;
                const bool a_done = pair.a.closed();
                last.set_received(a_done ? text_b.size() + 1 : text_a.size() + 1);
                last.set_window(1024);
                (a_done ? pair.b : pair.a).receive(last, pair.now);
            }
        }
        ASSERT_EQ(got_b, text_a) << "seed " << seed;
        ASSERT_EQ(got_a, text_b) << "seed " << seed;
        ASSERT_TRUE(pair.a.closed() && pair.b.closed()) << "seed " << seed;
        ASSERT_EQ(pair.a.peer_exit_code(), 7);
        ASSERT_TRUE(pair.a.error().empty() && pair.b.error().empty());
    }
}

TEST(ChannelCore, AStalledReaderStopsTheSenderAtTheWindow) {
    SteadyTime now{};
    ChannelCore sender(kLimits, now);
    EXPECT_EQ(sender.send(std::string(5'000, 'x'), now), kLimits.window_bytes);
    EXPECT_EQ(sender.send("more", now), 0U);
    node::v1::ChannelFrame confirm;
    confirm.set_received(1024);
    confirm.set_window(0);
    sender.receive(confirm, now);
    EXPECT_EQ(sender.send("more", now), 0U) << "received but not dealt with: no room";
    confirm.set_window(512);
    sender.receive(confirm, now);
    EXPECT_TRUE(sender.take_writable());
    EXPECT_EQ(sender.send(std::string(5'000, 'x'), now), 512U);
}

TEST(ChannelCore, ASilentPeerEndsTheChannelWithAReason) {
    SteadyTime now{};
    ChannelCore core(kLimits, now);
    core.tick(now + kLimits.peer_timeout, false);
    EXPECT_TRUE(core.closed());
    EXPECT_NE(core.error().find("silent"), std::string::npos);
}

TEST(ChannelCore, LiesOfThePeerChangeNothing) {
    SteadyTime now{};
    ChannelCore core(kLimits, now);
    (void)core.send("hello", now);
    node::v1::ChannelFrame lie;
    lie.set_received(1'000'000);
    lie.set_window(UINT64_MAX);
    lie.set_offset(UINT64_MAX - 2);
    lie.set_data("xyz12");
    core.receive(lie, now);
    EXPECT_FALSE(core.closed());
    EXPECT_TRUE(core.take_data().empty());
    EXPECT_LE(core.send(std::string(100'000, 'x'), now), kLimits.window_bytes);
}

TEST(Subjects, WildcardsMatchAsNatsDoes) {
    EXPECT_TRUE(subject_matches("a.*.c", "a.b.c"));
    EXPECT_TRUE(subject_matches("a.>", "a.b.c"));
    EXPECT_FALSE(subject_matches("a.>", "a"));
    EXPECT_FALSE(subject_matches("a.*", "a.b.c"));
    EXPECT_FALSE(subject_matches("a.b.c", "a.b"));
    EXPECT_TRUE(subject_matches("a", "a"));
}

}  // namespace
}  // namespace berth::bus
