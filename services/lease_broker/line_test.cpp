// SPDX-License-Identifier: Apache-2.0
// The order of a line: by turns of owners, and what is promised is what happens.
#include "lease_broker/line.hpp"

#include <gtest/gtest.h>

namespace berth::lease {
namespace {

WallTime at(int second) { return from_unix_micros(1'800'000'000'000'000LL + second * 1'000'000LL); }

std::string names(const std::vector<Waiter>& line) {
    std::string out;
    for (const Waiter& waiter : line) out += (out.empty() ? "" : " ") + waiter.lease;
    return out;
}

TEST(Line, OwnersTakeTurnsHoweverManyLeasesOneAsksFor) {
    const std::vector<Waiter> waiting{
        {"a1", "o", "ann", at(1)},
        {"a2", "o", "ann", at(2)},
        {"a3", "o", "ann", at(3)},
        {"b1", "o", "bob", at(4)},
        {"c1", "o", "cy", at(5)},
        {"c2", "o", "cy", at(6)}};
    EXPECT_EQ(names(line_order(waiting, {})), "a1 b1 c1 a2 c2 a3");
    EXPECT_EQ(names(line_order(waiting, {{"o/ann", 7}})), "b1 c1 a1 c2 a2 a3")
        << "who had a turn comes after those who had none";
    EXPECT_EQ(
        names(line_order(waiting, {{"o/ann", 7}, {"o/bob", 9}, {"o/cy", 8}})), "a1 c1 b1 a2 c2 a3"
    );
}

TEST(Line, TheSameNameInAnotherOrgIsAnotherOwner) {
    const std::vector<Waiter> waiting{
        {"a1", "x", "ann", at(1)}, {"a2", "x", "ann", at(2)}, {"b1", "y", "ann", at(3)}};
    EXPECT_EQ(names(line_order(waiting, {})), "a1 b1 a2");
}

TEST(Line, AWaitThatIsOverDoesNotHoldItsOwnersTurn) {
    std::vector<Waiter> waiting{
        {"c1", "o", "cy", at(1), at(10)},
        {"a1", "o", "ann", at(2), at(90)},
        {"c2", "o", "cy", at(3), at(90)},
        {"a2", "o", "ann", at(4), at(90)}};
    const Turns turns{{"o/cy", 5}};
    leave_late(waiting, at(10));
    EXPECT_EQ(names(line_order(waiting, turns)), "a1 c2 a2");
}

TEST(Line, PositionsBeginAtOne) {
    const auto line = line_order({{"a", "o", "ann", at(1)}, {"b", "o", "bob", at(2)}}, {});
    EXPECT_EQ(line_position(line, "a"), 1);
    EXPECT_EQ(line_position(line, "b"), 2);
    EXPECT_EQ(line_position(line, "c"), 0);
    EXPECT_EQ(line_position({}, "a"), 0);
}

}  // namespace
}  // namespace berth::lease
