// SPDX-License-Identifier: Apache-2.0
// A deployment with two people who may decide on what others ask.
#pragma once

#include "system.hpp"

namespace berth::testing {

/// SystemTest with the approvers anna and bert.
class ApproversTest : public SystemTest {
public:
    static void SetUpTestSuite() {
        SystemTest::SetUpTestSuite();
        for (const char* user : {"anna", "bert"}) {
            const std::string name = Json(user).dump();
            const auto made = suite().api(
                "POST", "/v1/users", R"({"name":)" + name + R"(,"roles":["approver"]})"
            );
            ASSERT_LT(made.status, 300) << made.body;
            const auto token = suite().api(
                "POST", "/v1/tokens", R"({"user":)" + name + R"(,"roles":["approver"]})"
            );
            tokens_[user] = member(token, "text");
            ASSERT_FALSE(tokens_[user].empty()) << token.body;
        }
    }

protected:
    static Said cli(const std::string& user, const std::vector<std::string>& arguments) {
        Suite::CommandOptions options;
        options.env = {{"BERTH_SERVER", suite().url()}, {"BERTH_TOKEN", tokens_.at(user)}};
        return suite().berth(arguments, options);
    }
    /// Makes `text` the org's policy, as the admin.
    static void apply(const std::string& text) {
        const auto applied =
            suite().api("PUT", "/v1/policy", Json::object().set("text", text).dump());
        ASSERT_EQ(applied.status, 200) << applied.body << suite().logs();
    }

    static inline std::map<std::string, std::string> tokens_;
};

}  // namespace berth::testing
