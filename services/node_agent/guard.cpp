// SPDX-License-Identifier: Apache-2.0
// Judging and the audit. What waits for a decision is in guard_hold.cpp.
#include "node_agent/guard.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "core/text.hpp"
#include "node_agent/init_protocol.hpp"
#include "node_agent/shim_protocol.hpp"
#include "process/spawn.hpp"

namespace berth::node {
namespace {

constexpr milliseconds kKillAgain{50};
constexpr int kMostKills = 100;  // then the rest cannot die, as one that waits for a dead disk

policy::Origin origin_of(const Launch::Guard& guard) {
    policy::Origin origin;
    origin.org = guard.org;
    origin.user = guard.user;
    origin.profile = guard.profile;
    origin.agent = guard.agent;
    origin.lease = guard.lease;
    origin.machine = guard.machine;
    origin.run = guard.run;
    origin.level = policy::level_of(guard.level).value_or(policy::Level::kEnforce);
    return origin;
}

}  // namespace

Guard::Guard(const Launch& launch, Keeping keeping, GuardHost& host)
    : keeping_(std::move(keeping)),
      host_(host),
      level_(policy::level_of(launch.guard.level).value_or(policy::Level::kEnforce)),
      run_(launch.guard.run),
      grace_(launch.grace_ms),
      policy_(launch.guard.folder, origin_of(launch.guard)),
      audit_(keeping_.folder / "audit", keeping_.mode),
      tracer_(*this),
      door_(*this, keeping_.owner),
      environment_(launch.env) {}

Guard::~Guard() = default;

std::uint32_t guard_flags(policy::Level level) {
    if (level == policy::Level::kEnforce) return kGuardTraced | kGuardFiltered;
    // Nothing is refused here, so nothing needs to be kept from it.
    return level == policy::Level::kObserve ? kGuardTraced : 0U;
}

std::uint32_t Guard::init_flags() const { return guard_flags(level_); }

int Guard::descriptor() const { return level_ == policy::Level::kShim ? door_.descriptor() : -1; }

int Guard::poll(pollfd* set, nfds_t count, int timeout_ms) {
    if (!unasked_.empty()) {
        ask_next();
        timeout_ms = 0;
    }
    if (!children_) return ::poll(set, count, timeout_ms);
    turn_due_ = false;
    return children_->poll(set, count, timeout_ms, *this);
}

void Guard::on_child_status(pid_t pid, int wait_status) { tracer_.on_child(pid, wait_status); }

bool Guard::may_sleep() {
    (void)audit_.flush();
    return !turn_due_ && (told_audit_ == audit_.written() || tell_audit_at_);
}

Result<void> Guard::prepare() {
    return level_ == policy::Level::kShim ? door_.open(keeping_.folder / "shim") : Result<void>();
}

Result<void> Guard::prepare(Fd channel) {
    return level_ == policy::Level::kShim ? door_.adopt(std::move(channel)) : Result<void>();
}

Result<void> Guard::seize(pid_t pid) {
    BERTH_ASSIGN(images_, Images::of(pid, keeping_.owner));
    command_ = pid;
    if (!children_) children_.emplace();
    return tracer_.seize(pid);
}

void Guard::on_other_child(pid_t pid, int wait_status) {
    turn_due_ = true;
    host_.on_child(pid, wait_status);
}

void Guard::on_exec(pid_t pid, const std::string& before) {
    end_watching(pid, std::nullopt);  // what it was is over
    if (audit_.full()) {
        postponed_.emplace_back(pid, before);
        return;
    }
    judge_stopped(pid, before);
}

/// Only of what its path says may a policy speak; without such a rule it is refused there.
bool Guard::barred(const Image& image) {
    return !image.refusal.empty() && image.refusal != policy::unusual(image.plan);
}

policy::Verdict Guard::judge(const Image& image) {
    policy::Verdict verdict;
    if (barred(image)) {
        verdict.action = policy::Action::kDeny;
        verdict.rule = image.refusal;
        verdict.reason = image.refusal_reason;
        return verdict;
    }
    return policy_.judge(image.plan);
}

void Guard::judge_stopped(pid_t pid, const std::string& before) {
    Image image = images_->read(pid);
    image.plan.parent = before;
    tracer_.set_executable(pid, image.plan.executable.path);
    if (!std::exchange(baseline_known_, true)) images_->set_baseline(image.environment);
    if (edited_.contains(pid) && take_edited(pid, image)) return;
    policy::Verdict verdict = judge(image);
    const bool refuses = level_ == policy::Level::kEnforce;
    if (verdict.action == policy::Action::kAllow || !refuses) {
        tracer_.go(pid);  // it is decided; the record need not keep it
        return start_watching(pid, image.plan, verdict, policy::digest(image.plan), {});
    }
    limit_held(verdict);
    if (verdict.action == policy::Action::kDeny)
        return deny(pid, image.plan, verdict, policy::digest(image.plan), {});
    Waiting waiting;
    waiting.pid = pid;
    waiting.asked_as = image.asked_as;
    waiting.environment = std::move(image.environment);
    waiting.held.plan = std::move(image.plan);
    hold(std::move(waiting), verdict);
}

void Guard::deny(
    pid_t pid,
    const policy::Plan& plan,
    const policy::Verdict& verdict,
    const std::string& digest,
    const std::string& approval
) {
    AuditEntry entry = entry_of("exec_denied", pid, plan, verdict, digest);
    entry.approval = approval;
    const std::string why = "denied by rule " + policy::show_plain(verdict.rule) + ": " +
                            policy::show_plain(verdict.reason);
    const bool speaks = refuse(pid, "berth: " + why + "\n");
    entry.exit_code = speaks ? static_cast<int>(kRefusedCode) : 128 + SIGKILL;
    audit_.add(entry);
    if (speaks) return;
    // It could not say so itself.
    host_.tell_user(why + "; " + policy::show_plain(plan.executable.path) + " was killed\n");
    if (pid == command_) host_.on_command_ended(why);
}

/// False: it was killed and says nothing.
bool Guard::refuse(pid_t pid, const std::string& text) {
    if (!door_.has(pid)) return tracer_.refuse(pid, text);
    door_.answer(pid, kShimDeny, text);
    return true;
}

void Guard::limit_held(policy::Verdict& verdict) const {
    if (verdict.action != policy::Action::kAsk || waiting_.size() < kMaxHeld) return;
    verdict.action = policy::Action::kDeny;
    verdict.reason = "too many commands of this run wait for a decision";
}

void Guard::on_question(pid_t pid, const std::string& path) {
    if (!images_) {
        auto images = Images::of(pid, keeping_.owner);
        if (!images)
            return door_.answer(pid, kShimDeny, "berth: denied: " + images.error().message + "\n");
        images_ = std::move(*images);
        images_->set_baseline(environment_);
    }
    Image image = images_->read_shim(pid, path);
    policy::Verdict verdict = judge(image);
    limit_held(verdict);
    const std::string digest = policy::digest(image.plan);
    if (verdict.action == policy::Action::kDeny) return deny(pid, image.plan, verdict, digest, {});
    if (verdict.action == policy::Action::kAllow) {
        // Its end is not told: the tool is no child of ours, and nobody holds it.
        audit_.add(entry_of("exec_started", pid, image.plan, verdict, digest));
        return door_.answer(pid, kShimAllow);
    }
    Waiting waiting;
    waiting.pid = pid;
    waiting.shim = waiting.closed = true;
    waiting.asked_as = path;
    waiting.held.plan = std::move(image.plan);
    hold(std::move(waiting), verdict);
}

void Guard::on_hung_up(pid_t pid) { abandon(pid); }

AuditEntry Guard::entry_of(
    const char* fact,
    pid_t pid,
    const policy::Plan& plan,
    const policy::Verdict& verdict,
    const std::string& digest
) const {
    AuditEntry entry;
    entry.fact = fact;
    entry.at_us = to_unix_micros(Clock::system().now());
    entry.rule = verdict.rule;
    entry.action = std::string(policy::to_string(verdict.action));
    entry.reason = verdict.reason;
    entry.digest = digest;
    entry.executable = plan.executable.path;
    std::size_t room = kMaxAuditArguments;
    for (const std::string& word : plan.argv) {
        if (room == 0) break;
        entry.argv.push_back(word.substr(0, room));
        room -= std::min(room, word.size() + 1);
    }
    entry.pid = static_cast<std::uint32_t>(pid);
    return entry;
}

void Guard::start_watching(
    pid_t pid,
    const policy::Plan& plan,
    const policy::Verdict& verdict,
    const std::string& digest,
    const std::string& approval
) {
    AuditEntry entry = entry_of("exec_started", pid, plan, verdict, digest);
    entry.approval = approval;
    audit_.add(entry);
    if (verdict.execution_timeout.count() > 0) {
        turn_due_ = true;
        Timed& timed = timed_[tracer_.found_family(pid)];
        timed.pid = pid;
        timed.at = std::chrono::steady_clock::now() + verdict.execution_timeout;
        timed.why = "ended by rule " + policy::show_plain(verdict.rule) + " after " +
                    format_duration(verdict.execution_timeout);
    }
    for (const auto& [family, timed] : timed_) {  // it comes while the others are ended
        if (timed.warned && tracer_.is_of(pid, family)) entry.reason = timed.why;
    }
    watched_[pid] = std::move(entry);
}

void Guard::end_watching(pid_t pid, std::optional<int> exit_code) {
    const auto found = watched_.find(pid);
    if (found == watched_.end()) return;
    AuditEntry entry = std::move(found->second);
    watched_.erase(found);
    entry.fact = "exec_ended";
    entry.at_us = to_unix_micros(Clock::system().now());
    entry.argv.clear();  // its start has them
    entry.exit_code = exit_code;
    if (!exit_code) entry.reason = "it executed another program";
    audit_.add(entry);
}

void Guard::on_gone(pid_t pid, int wait_status) {
    end_watching(pid, process::to_exit_status(wait_status).code);
    // Where its time was over already, what it leaves behind ends with it.
    std::erase_if(timed_, [pid](const auto& one) {
        return one.second.pid == pid && !one.second.warned;
    });
    edited_.erase(pid);
    std::erase_if(postponed_, [pid](const auto& one) { return one.first == pid; });
    abandon(pid);
}

void Guard::abandon(pid_t pid) {
    for (const auto& [id, waiting] : waiting_) {
        if (waiting.pid != pid) continue;
        AuditEntry entry = entry_of(
            "exec_abandoned", pid, waiting.held.plan, waiting.held.verdict, waiting.held.digest
        );
        audit_.add(entry);
        return forget(id, "abandoned");
    }
}

void Guard::on_output(std::string_view bytes) { output_.update(bytes); }

void Guard::finish(int exit_code) {
    audit_.add(run_ended(exit_code, output_));
    (void)audit_.flush();
}

void Guard::watch_times(Time now) {
    for (auto one = timed_.begin(); one != timed_.end();) {
        auto& [family, timed] = *one;
        if (timed.at > now) {
            ++one;
            continue;
        }
        const bool warned = std::exchange(timed.warned, true);
        const std::size_t left = tracer_.signal_family(family, warned ? SIGKILL : SIGTERM);
        if (!warned && left > 0) tell_timed_out(family, timed);
        timed.at = now + (warned ? kKillAgain : grace_);
        // What one of them started while it was killed is killed the next time.
        timed.kills += warned ? 1 : 0;
        one = left == 0 || timed.kills > kMostKills ? timed_.erase(one) : std::next(one);
    }
}

/// To the audit by the ends that come of it, to the run's user, and to the run's own end.
void Guard::tell_timed_out(std::uint64_t family, const Timed& timed) {
    for (auto& [pid, entry] : watched_) {
        if (tracer_.is_of(pid, family)) entry.reason = timed.why;
    }
    host_.tell_user(timed.why + "\n");
    if (timed.pid == command_) host_.on_command_ended(timed.why);
}

}  // namespace berth::node
