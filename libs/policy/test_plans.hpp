// SPDX-License-Identifier: Apache-2.0
// For tests and benchmarks: plans and whose they are.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "policy/policy.hpp"

namespace berth::policy {

inline Plan plan_of(std::vector<std::string> argv, std::string executable = "") {
    Plan plan;
    plan.executable.path = executable.empty() ? "/usr/bin/" + argv[0] : std::move(executable);
    plan.argv = std::move(argv);
    plan.cwd = "/workspace/app";
    return plan;
}

inline Origin origin_of() {
    Origin origin;
    origin.org = "acme";
    origin.user = "anna";
    origin.profile = "small";
    origin.level = Level::kEnforce;
    return origin;
}

}  // namespace berth::policy
