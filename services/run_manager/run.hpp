// SPDX-License-Identifier: Apache-2.0
// The Run state machine, pure: no clock, no random, no I/O (rule 2).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "berth/run/v1/run.pb.h"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::run {

using v1::RunState;

/// A run as run_manager keeps it.
struct Run {
    std::string id;
    std::string org;
    std::string owner;
    std::string lease;
    std::string machine;
    RunState state = RunState::RUN_STATE_QUEUED;
    std::string spec;  ///< serialized node.v1.Start: what the machine is told, the same each time
    WallTime created_at;
    std::optional<WallTime> started_at;
    std::optional<WallTime> ended_at;
    std::optional<WallTime> deadline;
    std::optional<int> exit_code;
    int signal = 0;
    std::string reason;
    std::string origin;  ///< of the end: remote | berth
    std::int64_t output_bytes = 0;
    bool output_capped = false;
    bool cancel_requested = false;
    std::int64_t revision = 1;
    std::string lease_owner;  ///< who holds the lease; "" of runs older than the column
    /// The lease's revision when it let the run on because it was shared with the run's owner; 0:
    /// it is the owner's own, or an admin's run.
    std::int64_t share_revision = 0;

    bool live() const { return state < RunState::RUN_STATE_SUCCEEDED; }
    /// Its machine has been told to start it.
    bool placed() const {
        return state == RunState::RUN_STATE_STARTING || state == RunState::RUN_STATE_RUNNING ||
               state == RunState::RUN_STATE_HELD;
    }
};

/// Every function returns false where nothing changes: messages come twice, late and out of order.
bool place(Run& run);
bool started(Run& run, WallTime at);
/// A command of the run waits for a person; and goes on. A run is held from the first such command
/// to the last: the machine tells which it is.
bool held(Run& run);
bool continued(Run& run);
bool ended(Run& run, const v1::OutputFrame::End& end, std::int64_t output_bytes, WallTime at);
bool lose(Run& run, std::string_view reason, WallTime now);
/// Takes a cancel into account. A queued run ends at once; a placed one, held or not, is told to.
enum class CancelEffect { kNothing, kEnded, kTellMachine };
CancelEffect cancel(Run& run, WallTime now);
/// The lease is not shared with the run's owner any more, as of the lease's `revision`: cancels
/// what an earlier share let on it, and nothing that a later one did.
CancelEffect withdraw(Run& run, std::int64_t revision, WallTime now);

/// "queued", "running", "timed_out", …
std::string_view state_name(RunState state);
RunState run_state(std::string_view name);

/// The limits of a command: 1,024 arguments, 512 KiB of arguments and environment together, no NUL
/// bytes (execve's own).
Result<void> check_start(const v1::Start& start);
/// True where the profile's allow-list (names, or prefixes ending in *) lets a variable through.
bool env_allowed(const std::vector<std::string>& allow, std::string_view name);
/// The variables that `allow`, the list of `profile`, lets through. Error "env_not_allowed" where
/// it cuts one that is required.
Result<std::map<std::string, std::string>> allowed_environment(
    const v1::Start& start, const std::string& profile, std::vector<std::string> allow
);

v1::Run to_proto(const Run& run);

}  // namespace berth::run
