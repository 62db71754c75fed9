// SPDX-License-Identifier: Apache-2.0
// For tests: policies, and what they say of plans.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "policy/policy.hpp"
#include "policy/test_plans.hpp"

namespace berth::policy {

inline std::shared_ptr<const Policy> must(const std::string& text) {
    auto policy = Policy::parse(text, "p.yaml");
    EXPECT_TRUE(policy) << policy.error().message;
    return policy ? *policy : Policy::allow_all();
}

inline const WallTime kNow = *parse_rfc3339("2026-03-06T10:00:00Z");  // a Friday

/// Every question is asked three ways; they must agree.
inline Verdict ask(
    const std::shared_ptr<const Policy>& policy,
    const Plan& plan,
    const Origin& origin = origin_of(),
    WallTime now = kNow
) {
    const Verdict verdict = policy->decide(plan, origin, now);
    std::vector<Step> steps;
    const Verdict explained = policy->explain(plan, origin, now, steps);
    EXPECT_EQ(verdict.rule, explained.rule);
    EXPECT_EQ(verdict.action, explained.action);
    EXPECT_FALSE(steps.empty());
    EXPECT_TRUE(steps.empty() || steps.back().matched);
    const auto loaded = Policy::load(policy->compiled());
    EXPECT_TRUE(loaded);
    const Verdict again = (*loaded)->decide(plan, origin, now);
    EXPECT_EQ(again.rule, verdict.rule);
    EXPECT_EQ(again.action, verdict.action);
    EXPECT_EQ(again.reason, verdict.reason);
    EXPECT_EQ(again.ask.timeout, verdict.ask.timeout);
    EXPECT_EQ(again.ask.approvers, verdict.ask.approvers);
    return verdict;
}

/// A file of one rule "r" with this match; everything else is the default's.
inline std::shared_ptr<const Policy> one(
    const std::string& match, const std::string& action = "deny"
) {
    const std::string other = action == "allow" ? "deny" : "allow";
    return must(
        "version: 1\ndefault: " + other + "\nrules:\n  - id: r\n    action: " + action +
        "\n    match: " + match + "\n"
    );
}

inline bool hits(
    const std::shared_ptr<const Policy>& policy,
    const Plan& plan,
    const Origin& origin = origin_of(),
    WallTime now = kNow
) {
    return ask(policy, plan, origin, now).rule == "r";
}

inline bool runs(const std::shared_ptr<const Policy>& policy, std::vector<std::string> argv) {
    return hits(policy, plan_of(std::move(argv)));
}

}  // namespace berth::policy
