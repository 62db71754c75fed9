// SPDX-License-Identifier: Apache-2.0
// One field after the other.
#include "warden/plans.hpp"

#include "service/proto_time.hpp"

namespace berth::warden {
namespace {

policy::File to_file(const v1::File& file) {
    return {file.path(), file.device(), file.inode(), file.sha256()};
}

policy::Level to_level(v1::GuardLevel level) {
    switch (level) {
        case v1::GUARD_LEVEL_OBSERVE: return policy::Level::kObserve;
        case v1::GUARD_LEVEL_SHIM: return policy::Level::kShim;
        case v1::GUARD_LEVEL_ENFORCE: return policy::Level::kEnforce;
        default: return policy::Level::kNone;
    }
}

v1::DeadlineOutcome to_outcome(policy::DeadlineOutcome outcome) {
    switch (outcome) {
        case policy::DeadlineOutcome::kWait: return v1::DEADLINE_OUTCOME_WAIT;
        case policy::DeadlineOutcome::kEscalate: return v1::DEADLINE_OUTCOME_ESCALATE;
        default: return v1::DEADLINE_OUTCOME_DENY;
    }
}

}  // namespace

policy::Plan to_plan(const v1::Plan& plan) {
    policy::Plan out;
    out.executable = to_file(plan.executable());
    out.argv.assign(plan.argv().begin(), plan.argv().end());
    out.cwd = plan.cwd();
    for (const v1::EnvChange& change : plan.env())
        out.env.push_back({change.name(), change.value(), change.removed()});
    if (plan.has_script()) out.script = to_file(plan.script());
    out.parent = plan.parent();
    out.replaces = plan.replaces();
    return out;
}

policy::Origin to_origin(const v1::Origin& origin) {
    policy::Origin out;
    out.org = origin.org();
    out.user = origin.user();
    out.profile = origin.profile();
    out.agent = origin.agent();
    out.lease = origin.lease();
    out.machine = origin.machine();
    out.run = origin.run();
    out.level = to_level(origin.level());
    return out;
}

v1::AskTerms to_terms(const policy::Verdict& verdict, std::uint64_t policy_version) {
    v1::AskTerms terms;
    terms.set_rule(verdict.rule);
    terms.set_reason(verdict.reason);
    *terms.mutable_timeout() = service::to_duration(verdict.ask.timeout);
    terms.set_outcome(to_outcome(verdict.ask.outcome));
    for (const auto& group : verdict.ask.approvers) terms.add_approvers(group);
    for (const auto& group : verdict.ask.escalate_to) terms.add_escalate_to(group);
    terms.set_quorum(verdict.ask.quorum);
    if (verdict.execution_timeout.count() > 0)
        *terms.mutable_execution_timeout() = service::to_duration(verdict.execution_timeout);
    terms.set_policy_version(policy_version);
    return terms;
}

}  // namespace berth::warden
