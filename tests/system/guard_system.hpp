// SPDX-License-Identifier: Apache-2.0
// A deployment whose machines guard their commands at level enforce, and the rules of its tests.
#pragma once

#include "approvers.hpp"

namespace berth::testing {

class GuardSystem : public ApproversTest {
public:
    static constexpr const char* kRules =
        "version: 1\n"
        "default: allow\n"
        "timeout: 10m\n"
        "rules:\n"
        "  - id: no-id\n"
        "    action: deny\n"
        "    reason: nobody asks who they are\n"
        "    match: {executable: id}\n"
        "  - id: ask-uname\n"
        "    action: ask\n"
        "    reason: a person shall say\n"
        "    match: {executable: uname}\n"
        "  - id: short\n"
        "    action: allow\n"
        "    execution_timeout: 1s\n"
        "    match: {executable: xargs}\n"
        "  - id: only-in-tree\n"
        "    action: allow\n"
        "    match: {executable: nproc, cwd: [/workspace, \"/workspace/**\"]}\n"
        "  - id: not-outside\n"
        "    action: deny\n"
        "    reason: outside of the tree\n"
        "    match: {executable: nproc}\n";

    static void SetUpTestSuite() {
        ApproversTest::SetUpTestSuite();
        apply(kRules);
    }

protected:
    static bool is_in(const std::string& run, const std::string& state) {
        return suite().eventually([&] {
            return member(suite().api("GET", "/v1/runs/" + run), "state") == state;
        });
    }
    /// The records of a run's fact, once there is one.
    static Json::Array records(const std::string& run, const std::string& fact) {
        Json all;
        EXPECT_TRUE(suite().eventually([&] {
            const Said said =
                cli("anna", {"audit", "query", "--run", run, "--fact", fact, "--json"});
            all = json_of(said.out);
            const Json* list = all.find("records");
            return list != nullptr && list->as_array() != nullptr && !list->as_array()->empty();
        })) << fact
            << suite().logs();
        const Json* list = all.find("records");
        // Whoever takes the first of them need not look again.
        if (list == nullptr || list->as_array() == nullptr || list->as_array()->empty())
            return {Json::object()};
        return *list->as_array();
    }
    /// What a run that goes on has written.
    static std::string logs_so_far(const std::string& run) {
        return suite().api("GET", "/v1/runs/" + run + "/output").body;
    }
    static Said logs(const std::string& run) { return suite().berth({"logs", run}); }
};

}  // namespace berth::testing
