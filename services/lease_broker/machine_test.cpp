// SPDX-License-Identifier: Apache-2.0
// Every pair of a machine's states under every step, and the arithmetic of a pool.
#include "lease_broker/machine.hpp"

#include <gtest/gtest.h>

#include "lease_broker/settings.hpp"

namespace berth::lease {
namespace {

const WallTime kNow = from_unix_micros(1'800'000'000'000'000);
using S = MachineState;
constexpr std::array kStates{
    S::MACHINE_STATE_PROVISIONING,
    S::MACHINE_STATE_IDLE,
    S::MACHINE_STATE_LEASED,
    S::MACHINE_STATE_DRAINING,
    S::MACHINE_STATE_FAILED,
    S::MACHINE_STATE_GONE};

Machine machine_in(MachineState state, bool cleaning = false) {
    Machine machine;
    machine.id = "m_1";
    machine.state = state;
    machine.cleanable = true;
    if (state == S::MACHINE_STATE_LEASED || cleaning) machine.lease = "ls_1";
    if (cleaning) machine.clean_by = kNow + seconds{60};
    return machine;
}

TEST(Machine, EveryStepMovesOnlyAsTheTableSaysAndRaisesTheRevision) {
    const std::vector<std::pair<std::string, bool (*)(Machine&)>> steps{
        {"idle", [](Machine& m) { return become_idle(m, kNow); }},
        {"leased", [](Machine& m) { return become_leased(m, "ls_2", kNow); }},
        {"cleaning", [](Machine& m) { return begin_cleaning(m, kNow + seconds{60}, kNow); }},
        {"removal", [](Machine& m) { return begin_removal(m, kRemoving, kNow); }},
        {"failed", [](Machine& m) { return fail(m, "no", kNow); }},
        {"gone", [](Machine& m) { return vanish(m, kNow); }}};
    for (const MachineState from : kStates) {
        for (const bool cleaning : {false, true}) {
            if (cleaning && from != S::MACHINE_STATE_DRAINING) continue;
            for (const auto& [name, step] : steps) {
                Machine machine = machine_in(from, cleaning);
                const bool moved = step(machine);
                const bool stays = machine.state == from;
                if (moved && !stays) {
                    EXPECT_TRUE(may_move(from, machine.state)) << state_name(from) << " " << name;
                } else if (moved) {  // the one step within a state: a cleaning that is given up
                    EXPECT_TRUE(cleaning && name == "removal");
                } else {
                    EXPECT_TRUE(stays) << state_name(from) << " " << name;
                }
                EXPECT_EQ(machine.revision, moved ? 2 : 1) << state_name(from) << " " << name;
            }
        }
    }
}

TEST(Machine, NothingLeavesGoneAndOnlyCleaningLeadsBackToIdle) {
    for (const MachineState to : kStates) EXPECT_FALSE(may_move(S::MACHINE_STATE_GONE, to));
    Machine leaving = machine_in(S::MACHINE_STATE_DRAINING);
    EXPECT_FALSE(become_idle(leaving, kNow)) << "a machine on its way out does not come back";
    Machine cleaned = machine_in(S::MACHINE_STATE_DRAINING, true);
    EXPECT_TRUE(become_idle(cleaned, kNow));
    EXPECT_EQ(cleaned.lease, "") << "nobody's any more";
    EXPECT_FALSE(cleaned.cleaning());
}

TEST(Machine, OnItsWayInOrOutItIsSilentAfterAWhile) {
    for (const MachineState state : kStates) {
        Machine machine = machine_in(state);
        machine.changed_at = kNow - kDestroyAgain;
        const bool leaves = state == S::MACHINE_STATE_DRAINING || state == S::MACHINE_STATE_FAILED;
        EXPECT_EQ(is_silent(machine, kNow), leaves) << state_name(state);
        EXPECT_FALSE(is_silent(machine, kNow - seconds{1})) << state_name(state);
        machine.changed_at = kNow - kCreatePatience;
        EXPECT_EQ(is_silent(machine, kNow), leaves || state == S::MACHINE_STATE_PROVISIONING)
            << state_name(state);
    }
    Machine cleaning = machine_in(S::MACHINE_STATE_DRAINING, true);
    cleaning.changed_at = kNow - kCreatePatience;
    EXPECT_FALSE(is_silent(cleaning, kNow)) << "that has a time of its own";
}

TEST(Machine, ALeasedMachineIsTakenByNobodyElse) {
    Machine machine = machine_in(S::MACHINE_STATE_LEASED);
    EXPECT_FALSE(become_leased(machine, "ls_2", kNow));
    EXPECT_EQ(machine.lease, "ls_1");
    Machine cleaning = machine_in(S::MACHINE_STATE_DRAINING, true);
    EXPECT_FALSE(become_leased(cleaning, "ls_2", kNow)) << "not before it is clean";
}

TEST(Machine, ADrainIsKeptUndoneAndRefusedWhereItIsTooLate) {
    Machine machine = machine_in(S::MACHINE_STATE_LEASED);
    EXPECT_TRUE(*set_drain(machine, true, kNow));
    EXPECT_FALSE(*set_drain(machine, true, kNow)) << "again: nothing changes";
    EXPECT_TRUE(*set_drain(machine, false, kNow));
    Machine leaving = machine_in(S::MACHINE_STATE_DRAINING);
    EXPECT_EQ(set_drain(leaving, false, kNow).error().code, "machine_leaving");
    Machine gone = machine_in(S::MACHINE_STATE_GONE);
    EXPECT_EQ(set_drain(gone, true, kNow).error().code, "machine_gone");
}

TEST(Pool, RefillsToItsMinimumWithinItsMaximum) {
    EXPECT_EQ(machines_to_make({2, 0, false}, {}, 0), 2);
    EXPECT_EQ(machines_to_make({2, 0, false}, {1, 1, 1, 0, 0, 0, 0}, 2), 0) << "one on its way";
    EXPECT_EQ(machines_to_make({2, 0, false}, {1, 0, 1, 0, 0, 0, 0}, 2), 1)
        << "what is made for a lease is not warm";
    EXPECT_EQ(machines_to_make({2, 0, false}, {0, 0, 1, 0, 1, 1, 0}, 2), 0) << "one being cleaned";
    EXPECT_EQ(machines_to_make({5, 4, false}, {0, 0, 0, 3, 0, 0, 0}, 3), 1);
    EXPECT_EQ(machines_to_make({5, 4, false}, {0, 0, 0, 1, 0, 0, 0}, 6), 0)
        << "other orgs' count too";
    EXPECT_EQ(machines_to_make({5, 0, true}, {}, 0), 0) << "not while it drains";
}

TEST(Pool, DropsWhatIsMoreThanItHoldsButNothingThatSomebodyWaitsFor) {
    EXPECT_EQ(machines_to_drop({1, 0, false}, {0, 0, 3, 0, 0, 0, 0}, 0), 2);
    EXPECT_EQ(machines_to_drop({1, 0, false}, {0, 0, 3, 0, 0, 0, 0}, 1), 0);
    EXPECT_EQ(machines_to_drop({1, 0, true}, {0, 0, 3, 0, 0, 0, 0}, 1), 3) << "a drain wins";
    EXPECT_EQ(machines_to_drop({4, 0, false}, {0, 0, 3, 0, 0, 0, 0}, 0), 0);
}

TEST(Pool, KeepsACleanableMachineWhereItIsWanted) {
    const PoolRule rule{2, 2, false};
    const PoolCount full{0, 0, 2, 1, 0, 0, 0};
    const PoolCount room{0, 0, 1, 1, 0, 0, 0};
    Machine machine = machine_in(S::MACHINE_STATE_LEASED);
    EXPECT_TRUE(worth_keeping(machine, rule, room, 0));
    EXPECT_FALSE(worth_keeping(machine, rule, full, 0));
    EXPECT_TRUE(worth_keeping(machine, rule, full, 1)) << "somebody waits for it";
    EXPECT_FALSE(worth_keeping(machine, {2, 2, true}, room, 1)) << "the profile is drained";
    machine.drain = true;
    EXPECT_FALSE(worth_keeping(machine, rule, room, 1));
    machine.drain = false;
    machine.cleanable = false;
    EXPECT_FALSE(worth_keeping(machine, rule, room, 1));
    Machine unmade = machine_in(S::MACHINE_STATE_PROVISIONING);
    EXPECT_FALSE(worth_keeping(unmade, rule, room, 1)) << "it never was there";
}

TEST(Pool, PausesLongerAfterEachFailureAndNotForEver) {
    EXPECT_EQ(pause_after(0), milliseconds{0});
    milliseconds last{0};
    for (int failures = 1; failures < 1'000; ++failures) {
        const milliseconds pause = pause_after(failures);
        EXPECT_GE(pause, last);
        EXPECT_LE(pause, std::chrono::minutes{5});
        last = pause;
    }
    EXPECT_EQ(last, std::chrono::minutes{5});
}

TEST(Machine, StateNamesRoundTrip) {
    for (const MachineState state : kStates) EXPECT_EQ(machine_state(state_name(state)), state);
}

}  // namespace
}  // namespace berth::lease
