// SPDX-License-Identifier: Apache-2.0
// One deployment shared by the tests of a program, and the words they use about it.
#pragma once

#include <gtest/gtest.h>

#include "support/suite/suite.hpp"

namespace berth::testing {

/// The words of `berth run <options> -- sh -c <script>`.
inline std::vector<std::string> run_sh(
    const std::string& script, const std::vector<std::string>& options = {}
) {
    std::vector<std::string> words{"run"};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {"--", "sh", "-c", script});
    return words;
}

/// A GoogleTest fixture with one suite for all its tests. Each test leaves no lease behind.
class SystemTest : public ::testing::Test {
public:
    static void SetUpTestSuite() { suite_ = std::make_unique<Suite>(SuiteOptions{settings_}); }
    static void TearDownTestSuite() { suite_.reset(); }

    /// The whole main() of a program whose suite has `settings` for its berth.yaml.
    static int run_all(int argc, char** argv, std::string settings) {
        ::testing::InitGoogleTest(&argc, argv);
        settings_ = std::move(settings);
        return RUN_ALL_TESTS();
    }

protected:
    static Suite& suite() { return *suite_; }
    static Json json_of(const std::string& text) {
        auto json = Json::parse(text);
        return json ? *json : Json();
    }
    static std::string member(const http::Response& response, std::string_view key) {
        return json_of(response.body).string_or(key, "");
    }

    /// An active lease by the API.
    static std::string acquire(const std::string& body = "{}") {
        const auto made = suite().api("POST", "/v1/leases", body);
        EXPECT_LT(made.status, 300) << made.body;
        const std::string id = member(made, "id");
        const auto active = suite().api("GET", "/v1/leases/" + id + "?wait=active&timeout=30s");
        EXPECT_EQ(member(active, "state"), "LEASE_STATE_ACTIVE") << active.body << suite().logs();
        return id;
    }
    static void release(const std::string& lease) {
        EXPECT_EQ(suite().api("POST", "/v1/leases/" + lease + "/release").status, 200);
    }
    static std::string start(
        const std::string& lease, const std::string& script, const std::string& more = {}
    ) {
        const auto made = suite().api(
            "POST",
            "/v1/runs",
            "{\"lease\":\"" + lease + "\",\"argv\":[\"sh\",\"-c\"," + Json(script).dump() + "]" +
                more + "}"
        );
        EXPECT_LT(made.status, 300) << made.body;
        return member(made, "id");
    }
    static Json ended(const std::string& run) {
        return json_of(suite().api("GET", "/v1/runs/" + run + "?wait=ended&timeout=50s").body);
    }
    /// The approval that a run waits for.
    static std::string pending(const std::string& run) {
        std::string id;
        suite().eventually([&] {
            const Json all = json_of(suite().api("GET", "/v1/approvals?state=pending").body);
            const Json* list = all.find("approvals");
            if (list == nullptr || list->as_array() == nullptr) return false;
            for (const Json& one : *list->as_array()) {
                const Json* origin = one.find("origin");
                if (origin != nullptr && origin->string_or("run", "") == run)
                    id = one.string_or("id", "");
            }
            return !id.empty();
        });
        EXPECT_FALSE(id.empty()) << suite().logs();
        return id;
    }
    static bool machines_gone() {
        return suite().eventually([] { return suite().machines().empty(); });
    }

    static inline std::unique_ptr<Suite> suite_;
    static inline std::string settings_;
};

}  // namespace berth::testing
