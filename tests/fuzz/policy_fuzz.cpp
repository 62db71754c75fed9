// SPDX-License-Identifier: Apache-2.0
// The policy file and its compiled form: any text is a policy or an error with places, and a policy
// decides alike before and after it travelled.
#include <string>

#include "fuzz.hpp"
#include "policy/policy.hpp"

namespace {

using namespace berth::policy;

Plan plan_of(berth::fuzz::Input& input) {
    Plan plan;
    plan.executable.path = "/usr/bin/git";
    plan.cwd = "/workspace";
    plan.argv = {"git"};
    while (!input.empty() && plan.argv.size() < 16)
        plan.argv.emplace_back(input.take(input.byte() % 32));
    if (plan.argv.size() > 8) plan.env = {{plan.argv[8], "x", false}};
    if (plan.argv.size() > 9) plan.script.path = "/" + plan.argv[9];
    return plan;
}

void judge(const Policy& policy, const Plan& plan) {
    Origin origin;
    origin.user = "anna";
    origin.level = Level::kEnforce;
    const auto now = berth::from_unix_micros(1'772'791'200'000'000);
    const Verdict verdict = policy.decide(plan, origin, now);
    std::vector<Step> steps;
    const Verdict explained = policy.explain(plan, origin, now, steps);
    FUZZ_CHECK(verdict.rule == explained.rule && verdict.action == explained.action);
    FUZZ_CHECK(!steps.empty() && steps.back().matched);
    const auto again = Policy::load(policy.compiled());
    FUZZ_CHECK(again.has_value());
    FUZZ_CHECK((*again)->decide(plan, origin, now).rule == verdict.rule);
    for (const auto& change : plan.env) {
        if (policy.drops(change.name) && verdict.action == Action::kAllow)
            FUZZ_CHECK(verdict.rule != "default");
    }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = berth::fuzz::text_of(data, size);
    // Before the first NUL the file, after it the plan.
    const auto end = std::min(text.find('\0'), text.size());
    berth::fuzz::Input rest(text.substr(std::min(end + 1, text.size())));
    const Plan plan = plan_of(rest);
    const auto policy = Policy::parse(text.substr(0, end), "fuzz");
    if (policy) {
        judge(**policy, plan);
    } else {
        FUZZ_CHECK(policy.error().message.substr(0, 5) == "fuzz:");
    }
    const auto loaded = Policy::load(text);
    if (loaded) judge(**loaded, plan);
    return 0;
}
