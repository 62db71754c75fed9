// SPDX-License-Identifier: Apache-2.0
// The tests that every driver passes, whatever it provisions: a driver's test file makes a
// DriverWorld and instantiates the suite. (A header of tests: include it in one *_test.cpp.)
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/id.hpp"
#include "provisioner/driver_world.hpp"

namespace berth::prov::testing {

/// One driver's entry: a name for the test's title, and how to make its world.
struct WorldCase {
    std::string name;
    std::function<std::unique_ptr<DriverWorld>()> make;
};
inline void PrintTo(const WorldCase& world, std::ostream* out) { *out << world.name; }

class DriverContract : public ::testing::TestWithParam<WorldCase> {
protected:
    void SetUp() override { world_ = GetParam().make(); }

    static bool lists(Driver& driver, const std::string& machine) {
        const auto listed = driver.list();
        EXPECT_TRUE(listed) << listed.error().describe();
        return listed && std::count(listed->begin(), listed->end(), machine) == 1;
    }
    static void create(Driver& driver, const MachineSpec& spec) {
        Attempts attempts;
        const auto made = driver.create(spec, attempts);
        ASSERT_TRUE(made) << made.error().describe();
    }
    static void destroy(Driver& driver, const std::string& machine) {
        const auto done = driver.destroy(machine);
        ASSERT_TRUE(done) << done.error().describe();
    }
    void expect_nothing_left(Driver& driver, const std::string& machine) {
        EXPECT_EQ(world_->machines(), 0);
        EXPECT_EQ(world_->leftovers(), 0);
        EXPECT_FALSE(lists(driver, machine));
    }
    /// True when the driver died on the way.
    static bool dies(const std::function<void()>& act) {
        try {
            act();
        } catch (const Crashed&) {
            return true;
        }
        return false;
    }
    /// A reconciler that starts now must be able to see whatever is there.
    void expect_visible_if_there(const std::string& machine) {
        if (world_->machines() + world_->leftovers() == 0) return;
        EXPECT_TRUE(lists(*world_->start_driver(), machine))
            << "something is there that no list shows";
    }
    /// Calls `each` for every point at which `act` can die: before and after each of its requests.
    void at_each_crash_point(const std::function<bool(CrashPoint)>& each) {
        if (!world_->can_crash()) GTEST_SKIP() << "this world has no crash points";
        int points = 0;
        for (const bool carried_out : {false, true}) {
            int request = 1;
            for (; request <= kMostRequests; ++request) {
                SCOPED_TRACE(
                    "dies at request " + std::to_string(request) +
                    (carried_out ? ", carried out" : ", not sent")
                );
                if (!each({request, carried_out})) break;
                ++points;
                if (HasFatalFailure() || HasNonfatalFailure()) return;
            }
            ASSERT_LE(request, kMostRequests) << "the call never came to its end";
        }
        EXPECT_GT(points, 0) << "no request was made, so nothing was tested";
    }

    static constexpr int kMostRequests = 100;
    std::unique_ptr<DriverWorld> world_;
};

TEST_P(DriverContract, AMachineIsMadeSeenAndRemoved) {
    const auto driver = world_->start_driver();
    const MachineSpec spec = world_->make_spec();
    EXPECT_FALSE(lists(*driver, spec.machine));
    create(*driver, spec);
    EXPECT_EQ(world_->machines(), 1);
    EXPECT_TRUE(lists(*driver, spec.machine));
    const auto condition = driver->tend(spec);
    ASSERT_TRUE(condition) << condition.error().describe();
    EXPECT_EQ(*condition, Condition::kWorking);
    destroy(*driver, spec.machine);
    expect_nothing_left(*driver, spec.machine);
    const auto gone = driver->tend(spec);
    ASSERT_TRUE(gone) << gone.error().describe();
    EXPECT_EQ(*gone, Condition::kMissing);
}

TEST_P(DriverContract, CreateRepeatedIsTheSameMachine) {
    const MachineSpec spec = world_->make_spec();
    const auto driver = world_->start_driver();
    create(*driver, spec);
    const int beside = world_->leftovers();
    create(*driver, spec);
    create(*world_->start_driver(), spec);
    EXPECT_EQ(world_->machines(), 1);
    EXPECT_EQ(world_->leftovers(), beside);
    destroy(*driver, spec.machine);
    expect_nothing_left(*driver, spec.machine);
}

TEST_P(DriverContract, DestroyRepeatedAndOfWhatNeverWasSucceeds) {
    const MachineSpec spec = world_->make_spec();
    const auto driver = world_->start_driver();
    destroy(*driver, spec.machine);
    create(*driver, spec);
    destroy(*driver, spec.machine);
    destroy(*driver, spec.machine);
    destroy(*world_->start_driver(), spec.machine);
    expect_nothing_left(*driver, spec.machine);
}

TEST_P(DriverContract, OneMachinesEndIsNotAnothers) {
    const auto driver = world_->start_driver();
    const MachineSpec first = world_->make_spec();
    const MachineSpec second = world_->make_spec();
    create(*driver, first);
    create(*driver, second);
    EXPECT_EQ(world_->machines(), 2);
    destroy(*driver, first.machine);
    EXPECT_EQ(world_->machines(), 1);
    EXPECT_FALSE(lists(*driver, first.machine));
    EXPECT_TRUE(lists(*driver, second.machine));
    destroy(*driver, second.machine);
    expect_nothing_left(*driver, second.machine);
}

TEST_P(DriverContract, WhatIsNotOursIsNeitherAdoptedNorTouchedNorListed) {
    const MachineSpec spec = world_->make_spec();
    if (!world_->plant_foreign(spec.machine)) GTEST_SKIP() << "names mean nothing at this provider";
    const auto driver = world_->start_driver();
    EXPECT_FALSE(lists(*driver, spec.machine));
    Attempts attempts;
    const auto made = driver->create(spec, attempts);
    ASSERT_FALSE(made);
    EXPECT_FALSE(is_retryable(made.error().fault)) << made.error().describe();
    const auto tended = driver->tend(spec);
    ASSERT_FALSE(tended) << "neither working nor gone";
    EXPECT_EQ(tended.error().code, kNotOurs) << tended.error().describe();
    const auto done = driver->destroy(spec.machine);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, kNotOurs) << done.error().describe();
    EXPECT_EQ(done.error().fault, Fault::kConflict);
    EXPECT_TRUE(world_->foreign_is_untouched(spec.machine));
    EXPECT_EQ(world_->leftovers(), 0) << "what the refused create made beside it is gone";
}

TEST_P(DriverContract, AListThatFailsIsAnErrorAndNotAnEmptyList) {
    const MachineSpec spec = world_->make_spec();
    create(*world_->start_driver(), spec);
    if (!world_->break_next_list()) GTEST_SKIP() << "a list cannot fail here";
    const auto driver = world_->start_driver();
    EXPECT_FALSE(driver->list());
    EXPECT_TRUE(lists(*driver, spec.machine)) << "and the next one works again";
    destroy(*driver, spec.machine);
}

TEST_P(DriverContract, ACrashAtAnyPointOfACreateLeavesWhatTheNextCreateCompletes) {
    at_each_crash_point([&](CrashPoint crash) {
        const MachineSpec spec = world_->make_spec();
        const bool died = dies([&] { create(*world_->start_driver(crash), spec); });
        expect_visible_if_there(spec.machine);
        const auto next = world_->start_driver();
        create(*next, spec);
        EXPECT_EQ(world_->machines(), 1);
        EXPECT_TRUE(lists(*next, spec.machine));
        destroy(*next, spec.machine);
        expect_nothing_left(*next, spec.machine);
        return died;
    });
}

TEST_P(DriverContract, ACrashAtAnyPointOfACreateLeavesNothingThatDestroyMisses) {
    at_each_crash_point([&](CrashPoint crash) {
        const MachineSpec spec = world_->make_spec();
        const bool died = dies([&] { create(*world_->start_driver(crash), spec); });
        const auto next = world_->start_driver();
        destroy(*next, spec.machine);
        expect_nothing_left(*next, spec.machine);
        return died;
    });
}

TEST_P(DriverContract, ACrashAtAnyPointOfADestroyLeavesNothingUnseen) {
    at_each_crash_point([&](CrashPoint crash) {
        const MachineSpec spec = world_->make_spec();
        create(*world_->start_driver(), spec);
        const bool died = dies([&] { destroy(*world_->start_driver(crash), spec.machine); });
        expect_visible_if_there(spec.machine);
        const auto next = world_->start_driver();
        destroy(*next, spec.machine);
        expect_nothing_left(*next, spec.machine);
        return died;
    });
}

}  // namespace berth::prov::testing
