// SPDX-License-Identifier: Apache-2.0
// The transitions of a run and the checks of a command.
#include "run_manager/run.hpp"

#include <algorithm>
#include <array>

#include "berth/node/v1/node.pb.h"
#include "core/text.hpp"
#include "service/proto_time.hpp"

namespace berth::run {
namespace {

constexpr std::array<std::pair<std::string_view, RunState>, 9> kNames{{
    {"queued", RunState::RUN_STATE_QUEUED},
    {"held", RunState::RUN_STATE_HELD},
    {"starting", RunState::RUN_STATE_STARTING},
    {"running", RunState::RUN_STATE_RUNNING},
    {"succeeded", RunState::RUN_STATE_SUCCEEDED},
    {"failed", RunState::RUN_STATE_FAILED},
    {"canceled", RunState::RUN_STATE_CANCELED},
    {"timed_out", RunState::RUN_STATE_TIMED_OUT},
    {"lost", RunState::RUN_STATE_LOST},
}};
constexpr int kMaxArguments = 1'024;
constexpr std::size_t kMaxCommandBytes = 512U << 10U;  // well below a bus message's 1 MiB
constexpr int kMaxTerminal = 10'000;

bool has_nul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

Result<void> check_environment(const v1::Start& start, std::size_t& bytes) {
    for (const auto& [name, value] : start.env()) {
        if (name.empty() || name.find('=') != std::string::npos || has_nul(name) ||
            has_nul(value)) {
            return invalid(
                "bad_env", "'" + clipped(name, 64) + "' cannot be an environment variable", "env"
            );
        }
        bytes += name.size() + value.size() + 2;
    }
    return {};
}

Result<void> check_cwd(const std::string& cwd) {
    if (cwd.size() > 4'096 || has_nul(cwd) || cwd.starts_with('/') || cwd == ".." ||
        cwd.starts_with("../") || cwd.ends_with("/..") || cwd.find("/../") != std::string::npos) {
        return invalid("bad_cwd", "cwd must be a path inside the workspace, without '..'", "cwd");
    }
    return {};
}

}  // namespace

std::string_view state_name(RunState state) {
    for (const auto& [name, value] : kNames) {
        if (value == state) return name;
    }
    return "unspecified";
}
RunState run_state(std::string_view name) {
    for (const auto& [known, value] : kNames) {
        if (known == name) return value;
    }
    return RunState::RUN_STATE_UNSPECIFIED;
}

bool place(Run& run) {
    if (run.state != RunState::RUN_STATE_QUEUED) return false;
    run.state = RunState::RUN_STATE_STARTING;
    run.reason.clear();  // what it waited for
    ++run.revision;
    return true;
}

bool started(Run& run, WallTime at) {
    if (run.started_at) return false;
    // The end may have overtaken the start: the time is still worth knowing, the state is not
    // touched.
    run.started_at = at;
    if (run.state == RunState::RUN_STATE_STARTING) run.state = RunState::RUN_STATE_RUNNING;
    ++run.revision;
    return true;
}

bool held(Run& run) {
    // Also before the start is told: the run's own first command may be what waits.
    if (run.state != RunState::RUN_STATE_STARTING && run.state != RunState::RUN_STATE_RUNNING)
        return false;
    run.state = RunState::RUN_STATE_HELD;
    ++run.revision;
    return true;
}

bool continued(Run& run) {
    if (run.state != RunState::RUN_STATE_HELD) return false;
    run.state = run.started_at ? RunState::RUN_STATE_RUNNING : RunState::RUN_STATE_STARTING;
    ++run.revision;
    return true;
}

bool ended(Run& run, const v1::OutputFrame::End& end, std::int64_t output_bytes, WallTime at) {
    if (!run.live() || end.state() < RunState::RUN_STATE_SUCCEEDED) return false;
    run.state = end.state();
    if (end.has_exit_code()) run.exit_code = end.exit_code();
    run.signal = end.signal();
    run.reason = end.reason();
    run.origin = end.origin();
    run.output_capped = end.output_capped();
    run.output_bytes = output_bytes;
    run.ended_at = at;
    ++run.revision;
    return true;
}

bool lose(Run& run, std::string_view reason, WallTime now) {
    if (!run.live()) return false;
    run.state = RunState::RUN_STATE_LOST;
    run.reason = reason;
    run.origin = "berth";
    run.ended_at = now;
    ++run.revision;
    return true;
}

CancelEffect cancel(Run& run, WallTime now) {
    if (!run.live()) return CancelEffect::kNothing;
    if (run.state == RunState::RUN_STATE_QUEUED) {
        run.state = RunState::RUN_STATE_CANCELED;
        run.reason = "canceled before it started";
        run.origin = "berth";
        run.ended_at = now;
        ++run.revision;
        return CancelEffect::kEnded;
    }
    // Told again on every request: the machine takes it once, and a request after a lost one must
    // count.
    run.cancel_requested = true;
    ++run.revision;
    return CancelEffect::kTellMachine;
}

CancelEffect withdraw(Run& run, std::int64_t revision, WallTime now) {
    // Also one that is being canceled: its owner may have given it an hour for that.
    if (run.share_revision == 0 || run.share_revision >= revision) return CancelEffect::kNothing;
    const CancelEffect effect = cancel(run, now);
    if (effect == CancelEffect::kEnded)
        run.reason = "the lease was not shared with its owner any more before it started";
    return effect;
}

Result<void> check_start(const v1::Start& start) {
    if (start.argv().empty() || start.argv(0).empty())
        return invalid("no_command", "argv needs at least the command's name", "argv");
    if (start.argv_size() > kMaxArguments)
        return invalid("command_too_long", "argv has more than 1024 arguments", "argv");
    std::size_t bytes = 0;
    for (const std::string& argument : start.argv()) {
        if (has_nul(argument))
            return invalid("bad_argument", "an argument cannot hold a NUL byte", "argv");
        bytes += argument.size() + 1;
    }
    BERTH_TRY(check_environment(start, bytes));
    if (bytes > kMaxCommandBytes)
        return Error{
            Fault::kTooLarge,
            "command_too_long",
            "arguments and environment exceed 512 KiB; put them in a file",
            "argv"};
    BERTH_TRY(check_cwd(start.cwd()));
    if (start.rows() > kMaxTerminal || start.cols() > kMaxTerminal)
        return invalid("bad_terminal", "rows and cols go up to 10000", "rows");
    if (start.has_timeout() && service::to_milliseconds(start.timeout()) <= milliseconds{0}) {
        return invalid("bad_duration", "timeout must be positive", "timeout");
    }
    return {};
}

bool env_allowed(const std::vector<std::string>& allow, std::string_view name) {
    for (const std::string& pattern : allow) {
        if (pattern.ends_with('*')
                ? name.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1))
                : name == pattern)
            return true;
    }
    return false;
}

Result<std::map<std::string, std::string>> allowed_environment(
    const v1::Start& start, const std::string& profile, std::vector<std::string> allow
) {
    const auto& required = start.env_required();
    // A terminal's run has this one whatever the list says; whoever names it wants their own.
    constexpr const char* kTerm = "TERM";
    if (start.tty() && std::find(required.begin(), required.end(), kTerm) != required.end())
        allow.emplace_back(kTerm);
    for (const std::string& name : required) {
        if (!env_allowed(allow, name))
            return invalid(
                "env_not_allowed",
                "profile " + profile + " of this lease lets no variable " + name +
                    " through; leave it out, or have an admin add it to the profile's 'env', and "
                    "release the lease then: it keeps the list that it was made with",
                "env"
            );
    }
    std::map<std::string, std::string> out;
    for (const auto& [name, value] : start.env()) {
        if (env_allowed(allow, name)) out.emplace(name, value);
    }
    return out;
}

v1::Run to_proto(const Run& run) {
    v1::Run out;
    out.set_id(run.id);
    out.set_org(run.org);
    out.set_owner(run.owner);
    out.set_lease(run.lease);
    out.set_machine(run.machine);
    out.set_state(run.state);
    if (node::v1::Start spec; spec.ParseFromString(run.spec)) {
        *out.mutable_argv() = spec.argv();
        out.set_tty(spec.tty());
    }
    *out.mutable_created_at() = service::to_timestamp(run.created_at);
    if (run.started_at) *out.mutable_started_at() = service::to_timestamp(*run.started_at);
    if (run.ended_at) *out.mutable_ended_at() = service::to_timestamp(*run.ended_at);
    if (run.deadline) *out.mutable_deadline() = service::to_timestamp(*run.deadline);
    if (run.exit_code) out.set_exit_code(*run.exit_code);
    out.set_signal(run.signal);
    out.set_reason(run.reason);
    out.set_output_bytes(static_cast<std::uint64_t>(run.output_bytes));
    out.set_output_capped(run.output_capped);
    out.set_revision(static_cast<std::uint64_t>(run.revision));
    out.set_failure_origin(run.origin);
    return out;
}

}  // namespace berth::run
