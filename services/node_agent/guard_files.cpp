// SPDX-License-Identifier: Apache-2.0
// Encoding of guard_files.hpp.
#include "node_agent/guard_files.hpp"

#include <charconv>
#include <ctime>

#include "core/text.hpp"
#include "node_agent/packing.hpp"

namespace berth::node {
namespace {

constexpr std::string_view kHeldMagic = "BERTHHELD1\n";
constexpr std::string_view kDecisionMagic = "BERTHDEC1\n";
constexpr std::string_view kAuditMagic = "A1";

void put(Packer& out, const policy::File& file) {
    out.put(file.path).put(file.device).put(file.inode).put(file.sha256);
}
policy::File file_from(Unpacker& in) {
    policy::File file;
    file.path = in.text();
    file.device = in.number();
    file.inode = in.number();
    file.sha256 = in.text();
    return file;
}

void put(Packer& out, const policy::Plan& plan) {
    put(out, plan.executable);
    out.put(plan.argv).put(plan.cwd).put(std::uint64_t{plan.env.size()});
    for (const auto& change : plan.env)
        out.put(change.name).put(change.value).put(std::uint64_t{change.removed});
    put(out, plan.script);
    out.put(plan.parent).put(plan.replaces);
}
policy::Plan plan_from(Unpacker& in) {
    constexpr std::uint64_t kMostChanges = 65'536;
    policy::Plan plan;
    plan.executable = file_from(in);
    plan.argv = in.list();
    plan.cwd = in.text();
    const std::uint64_t changes = in.number();
    for (std::uint64_t i = 0; in.good() && i < changes && i < kMostChanges; ++i) {
        policy::EnvChange change;
        change.name = in.text();
        change.value = in.text();
        change.removed = in.number() != 0;
        plan.env.push_back(std::move(change));
    }
    plan.script = file_from(in);
    plan.parent = in.text();
    plan.replaces = in.text();
    return plan;
}

void put(Packer& out, const policy::Verdict& verdict) {
    out.put(static_cast<std::uint64_t>(verdict.action)).put(verdict.rule).put(verdict.reason);
    out.put(static_cast<std::uint64_t>(verdict.ask.timeout.count()))
        .put(static_cast<std::uint64_t>(verdict.ask.outcome))
        .put(verdict.ask.approvers)
        .put(verdict.ask.escalate_to)
        .put(std::uint64_t{verdict.ask.quorum})
        .put(static_cast<std::uint64_t>(verdict.execution_timeout.count()));
}
policy::Verdict verdict_from(Unpacker& in) {
    policy::Verdict verdict;
    verdict.action = static_cast<policy::Action>(in.number() % 3);
    verdict.rule = in.text();
    verdict.reason = in.text();
    verdict.ask.timeout = milliseconds{static_cast<long long>(in.number())};
    verdict.ask.outcome = static_cast<policy::DeadlineOutcome>(in.number() % 3);
    verdict.ask.approvers = in.list();
    verdict.ask.escalate_to = in.list();
    verdict.ask.quorum = static_cast<unsigned>(in.number());
    verdict.execution_timeout = milliseconds{static_cast<long long>(in.number())};
    return verdict;
}

}  // namespace

long long boot_milliseconds() {
    timespec time{};
    ::clock_gettime(CLOCK_BOOTTIME, &time);
    return time.tv_sec * 1'000LL + time.tv_nsec / 1'000'000;
}

std::string GuardState::encode() const {
    return std::to_string(version) + " " + std::to_string(beat_ms) + "\n";
}

Result<GuardState> GuardState::decode(std::string_view text) {
    GuardState state;
    const char* end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, state.version);
    if (first.ec == std::errc{} && first.ptr != end && *first.ptr == ' ') {
        const auto second = std::from_chars(first.ptr + 1, end, state.beat_ms);
        if (second.ec == std::errc{} && second.ptr != end && *second.ptr == '\n') return state;
    }
    return internal("bad_guard_state", "what the machine knows of its policy is damaged");
}

std::string Held::encode() const {
    Packer out(kHeldMagic);
    out.put(id).put(claim).put(digest).put(policy_version);
    put(out, plan);
    put(out, verdict);
    return out.take();
}

Result<Held> Held::decode(std::string_view bytes) {
    Unpacker in(bytes, kHeldMagic);
    Held held;
    held.id = in.text();
    held.claim = in.text();
    held.digest = in.text();
    held.policy_version = in.number();
    held.plan = plan_from(in);
    held.verdict = verdict_from(in);
    if (!in.done()) return internal("bad_held", "a held command's file is damaged");
    return held;
}

std::string Decision::encode() const {
    Packer out(kDecisionMagic);
    out.put(held).put(approval).put(digest).put(std::uint64_t{approve}).put(reason);
    out.put(static_cast<std::uint64_t>(execution_timeout_ms)).put(edited_argv);
    return out.take();
}

Result<Decision> Decision::decode(std::string_view bytes) {
    Unpacker in(bytes, kDecisionMagic);
    Decision decision;
    decision.held = in.text();
    decision.approval = in.text();
    decision.digest = in.text();
    decision.approve = in.number() != 0;
    decision.reason = in.text();
    decision.execution_timeout_ms = static_cast<long long>(in.number());
    decision.edited_argv = in.list();
    if (!in.done()) return internal("bad_decision", "a decision is damaged");
    return decision;
}

std::string AuditEntry::encode() const {
    Packer out(kAuditMagic);
    out.put(fact).put(static_cast<std::uint64_t>(at_us)).put(rule).put(action).put(reason);
    out.put(digest)
        .put(executable)
        .put(argv)
        .put(approval)
        .put(std::uint64_t{exit_code.has_value()});
    out.put(static_cast<std::uint64_t>(exit_code.value_or(0))).put(output_sha256);
    out.put(std::uint64_t{pid});
    return out.take();
}

Result<AuditEntry> AuditEntry::decode(std::string_view bytes) {
    Unpacker in(bytes, kAuditMagic);
    AuditEntry entry;
    entry.fact = in.text();
    entry.at_us = static_cast<long long>(in.number());
    entry.rule = in.text();
    entry.action = in.text();
    entry.reason = in.text();
    entry.digest = in.text();
    entry.executable = in.text();
    entry.argv = in.list();
    entry.approval = in.text();
    const bool has_code = in.number() != 0;
    const int code = static_cast<int>(in.number());
    if (has_code) entry.exit_code = code;
    entry.output_sha256 = in.text();
    entry.pid = static_cast<std::uint32_t>(in.number());
    if (!in.done()) return internal("bad_audit", "an audit entry is damaged");
    return entry;
}

std::string pack(const std::vector<std::string>& texts) { return Packer().put(texts).take(); }

Result<std::vector<std::string>> unpack(std::string_view bytes) {
    Unpacker in(bytes);
    auto texts = in.list();
    if (!in.done()) return internal("bad_word", "a word of the run's socket is damaged");
    return texts;
}

}  // namespace berth::node
