// SPDX-License-Identifier: Apache-2.0
// A whole bridge in front of its platform's fake: what the tests of every one share.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "support/chat/bridge_world.hpp"
#include "support/fakes/fake_process.hpp"
#include "support/secret_folder.hpp"

namespace berth::testing {

class BridgeTest : public ::testing::Test {
protected:
    BridgeTest(const std::string& name, const std::vector<std::string>& arguments)
        : fake_(name, arguments) {}
    ~BridgeTest() override {
        world_.reset();
        EXPECT_EQ(fake_.complaints(), "");
    }
    /// The message of those that `look` shows for which `holds`.
    static Json wait_for_one(
        const std::function<std::vector<Json>()>& look,
        const std::function<bool(const Json&)>& holds,
        const std::string& words
    ) {
        const auto found = eventually_one(look, holds);
        EXPECT_TRUE(found) << words << " is not in\n" << Json(look()).dump();
        return found.value_or(Json());
    }

    FakeProcess fake_;
    SecretFolder secrets_;
    std::unique_ptr<BridgeWorld> world_;
};

}  // namespace berth::testing
