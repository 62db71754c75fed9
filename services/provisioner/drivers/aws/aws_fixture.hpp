// SPDX-License-Identifier: Apache-2.0
// What the AWS driver's tests share: one world, one machine, and what must hold at the end.
#pragma once

#include <gtest/gtest.h>

#include "provisioner/drivers/aws/test_aws_world.hpp"

namespace berth::prov::testing {

class Aws : public ::testing::Test {
protected:
    void SetUp() override {
        spec_ = world_.make_spec();
        spec_.profile.set_spot(false);
        spec_.profile.set_ssh(false);
    }
    Result<void> create() { return create(*world_.start_driver()); }
    Result<void> create(Driver& driver) {
        attempts_.clear();
        return driver.create(spec_, attempts_);
    }
    void expect_created() {
        const auto made = create();
        ASSERT_TRUE(made) << made.error().describe();
        EXPECT_EQ(world_.live_instances().size(), 1U);
    }
    /// Whatever happened before: a destroy leaves nothing.
    void expect_destroyed() {
        const auto done = world_.start_driver()->destroy(spec_.machine);
        ASSERT_TRUE(done) << done.error().describe();
        EXPECT_EQ(world_.machines(), 0);
        EXPECT_EQ(world_.leftovers(), 0);
    }
    std::vector<std::string> tried() const {
        std::vector<std::string> out;
        for (const Attempt& attempt : attempts_)
            out.push_back(attempt.target + ": " + attempt.code);
        return out;
    }
    using Tried = std::vector<std::string>;

    AwsWorld world_;
    MachineSpec spec_;
    Attempts attempts_;
};

}  // namespace berth::prov::testing
