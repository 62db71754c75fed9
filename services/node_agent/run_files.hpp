// SPDX-License-Identifier: Apache-2.0
// The files of a run's folder that node agent and supervisor share, in a form that needs no
// protobuf.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "core/time.hpp"
#include "process/process_id.hpp"

/// A run's folder, runs/<run>/:
///   spec.pb   berth.node.v1.Start, written last by the node agent: with it the run is recorded
///   launch    Launch, for the supervisor
///   lock      flocked by the supervisor while it lives
///   started   durable before the command is started; a run that has it is never started again
///   pids      ProcessIds of the sandbox's processes, one a line
///   spool/    the output (spool.hpp)
///   exit      ExitRecord, durable; the run has ended
///   sock      the supervisor's socket (run_socket.hpp)
namespace berth::node {

/// What the supervisor has to do.
struct Launch {
    bool tty = false;
    bool input = false;    ///< stdin comes over the socket; else /dev/null
    bool relayed = false;  ///< the run's processes are not below `sandbox`: see Place::relayed()
    std::uint32_t rows = 0;
    std::uint32_t cols = 0;
    std::uint64_t output_cap = 0;  ///< bytes; 0: none
    long long deadline_us = 0;     ///< wall time, microseconds since the epoch; 0: none
    long long grace_ms = 10'000;   ///< between TERM and KILL at the deadline
    std::string holder;  ///< ProcessId text of the namespaces' holder; empty: none to enter
    std::string cwd;     ///< inside the sandbox
    std::vector<std::string>
        sandbox;  ///< argv of the program that ends in exec of `berth-init run`
    std::vector<std::string> argv;
    std::vector<std::string> env;
    /// What of an image's own environment the policy does not hand on, but for what it keeps:
    /// names, or beginnings of names with '*'.
    std::vector<std::string> env_drop, env_keep;
    /// How its commands are guarded; level empty: not at all.
    struct Guard {
        std::string level;   ///< "observe", "shim" or "enforce"
        std::string folder;  ///< node/guard of the machine
        std::string org, user, profile, agent, lease, machine, run;
        /// Of a guard that runs beside the commands in a container: its folder as the node agent
        /// sees it, and below the door's. `folder` is then below the door's, too.
        std::string beside{}, beside_inside{};
    } guard;

    std::string encode() const;
    /// Error code "bad_launch".
    static Result<Launch> decode(std::string_view bytes);
};

enum class EndState { kSucceeded, kFailed, kCanceled, kTimedOut, kLost };
std::string_view to_string(EndState state);

/// How a run ended.
struct ExitRecord {
    EndState state = EndState::kLost;
    bool has_code = false;
    int code = 0;
    int signal = 0;
    bool capped = false;
    bool of_berth = false;  ///< the failure is Berth's, the command did not run
    std::uint64_t output_bytes = 0;
    long long ended_us = 0;
    std::string reason;

    std::string encode() const;
    /// Error code "bad_exit_record".
    static Result<ExitRecord> decode(std::string_view text);
};

/// Content of `started`.
struct StartedRecord {
    process::ProcessId supervisor;
    long long started_us = 0;

    std::string encode() const;
    static Result<StartedRecord> decode(std::string_view text);
};

/// Creates a file that must not be there yet, and makes it and its folder durable. Error: conflict
/// "exists".
Result<void> create_durable(const std::filesystem::path& path, std::string_view content);

/// Replaces a file without waiting for the disk: for what is made anew after a crash of the host.
/// Readers may see a part of it.
Result<void> write_quickly(
    const std::filesystem::path& path, std::string_view content, unsigned mode = 0600
);

}  // namespace berth::node
