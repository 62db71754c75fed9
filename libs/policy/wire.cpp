// SPDX-License-Identifier: Apache-2.0
// One field after the other.
#include "policy/wire.hpp"

#include "service/proto_time.hpp"

namespace berth::policy {
namespace {

void fill(warden::v1::File& to, const File& from) {
    to.set_path(from.path);
    to.set_device(from.device);
    to.set_inode(from.inode);
    to.set_sha256(from.sha256);
}

File to_file(const warden::v1::File& file) {
    return {file.path(), file.device(), file.inode(), file.sha256()};
}

Level to_level(warden::v1::GuardLevel level) {
    switch (level) {
        case warden::v1::GUARD_LEVEL_OBSERVE: return Level::kObserve;
        case warden::v1::GUARD_LEVEL_SHIM: return Level::kShim;
        case warden::v1::GUARD_LEVEL_ENFORCE: return Level::kEnforce;
        default: return Level::kNone;
    }
}

warden::v1::DeadlineOutcome to_proto(DeadlineOutcome outcome) {
    switch (outcome) {
        case DeadlineOutcome::kWait: return warden::v1::DEADLINE_OUTCOME_WAIT;
        case DeadlineOutcome::kEscalate: return warden::v1::DEADLINE_OUTCOME_ESCALATE;
        case DeadlineOutcome::kDeny: break;
    }
    return warden::v1::DEADLINE_OUTCOME_DENY;
}

}  // namespace

warden::v1::GuardLevel to_proto(Level level) {
    switch (level) {
        case Level::kNone: return warden::v1::GUARD_LEVEL_NONE;
        case Level::kObserve: return warden::v1::GUARD_LEVEL_OBSERVE;
        case Level::kShim: return warden::v1::GUARD_LEVEL_SHIM;
        case Level::kEnforce: break;
    }
    return warden::v1::GUARD_LEVEL_ENFORCE;
}

warden::v1::Plan to_proto(const Plan& plan, const std::string& digest) {
    warden::v1::Plan out;
    fill(*out.mutable_executable(), plan.executable);
    for (const auto& word : plan.argv) out.add_argv(word);
    out.set_cwd(plan.cwd);
    for (const auto& change : plan.env) {
        auto& added = *out.add_env();
        added.set_name(change.name);
        added.set_value(change.value);
        added.set_removed(change.removed);
    }
    if (!plan.script.path.empty()) fill(*out.mutable_script(), plan.script);
    out.set_parent(plan.parent);
    out.set_digest(digest);
    out.set_replaces(plan.replaces);
    return out;
}

Plan to_plan(const warden::v1::Plan& plan) {
    Plan out;
    out.executable = to_file(plan.executable());
    out.argv.assign(plan.argv().begin(), plan.argv().end());
    out.cwd = plan.cwd();
    for (const warden::v1::EnvChange& change : plan.env())
        out.env.push_back({change.name(), change.value(), change.removed()});
    if (plan.has_script()) out.script = to_file(plan.script());
    out.parent = plan.parent();
    out.replaces = plan.replaces();
    return out;
}

Origin to_origin(const warden::v1::Origin& origin) {
    Origin out;
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

warden::v1::AskTerms to_terms(const Verdict& verdict, std::uint64_t policy_version) {
    warden::v1::AskTerms terms;
    terms.set_rule(verdict.rule);
    terms.set_reason(verdict.reason);
    *terms.mutable_timeout() = service::to_duration(verdict.ask.timeout);
    terms.set_outcome(to_proto(verdict.ask.outcome));
    for (const auto& group : verdict.ask.approvers) terms.add_approvers(group);
    for (const auto& group : verdict.ask.escalate_to) terms.add_escalate_to(group);
    terms.set_quorum(verdict.ask.quorum);
    if (verdict.execution_timeout.count() > 0)
        *terms.mutable_execution_timeout() = service::to_duration(verdict.execution_timeout);
    terms.set_policy_version(policy_version);
    return terms;
}

}  // namespace berth::policy
