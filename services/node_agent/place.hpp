// SPDX-License-Identifier: Apache-2.0
// Where a machine's commands run, as the node agent sees it: a sandbox of its own host, or a
// container that stands beside it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/result.hpp"

namespace berth::node {

/// The uid and gid of user `berth` inside.
inline constexpr unsigned kInsideUid = 1000;
/// Where the workspace is inside.
inline constexpr const char* kInsideWorkspace = "/workspace";

/// The code of the error "unavailable" of a place that is being started again: asking again helps.
inline constexpr const char* kPlaceComing = "no_container";

/// Not thread-safe.
class Place {
public:
    virtual ~Place() = default;

    /// Makes sure that a command can be started now. The answer is the Launch's `holder`: whose
    /// namespaces are entered; empty where there is nothing to enter.
    virtual Result<std::string> ensure() = 0;
    /// argv that ends in `berth-init run`, or hands over to one that runs elsewhere.
    virtual std::vector<std::string> run_command() const = 0;
    /// True where the run's processes are not descendants of what run_command() starts: its death
    /// then ends them, but not at the same instant.
    virtual bool relayed() const = 0;
    /// argv of a program that sees the workspace and /tmp, started in the folder `cwd` of inside;
    /// its exit status is the program's.
    virtual std::vector<std::string> tool_command(
        const std::vector<std::string>& program, const std::string& cwd = kInsideWorkspace
    ) const = 0;
    /// How rsync is called as such a program. Errors "no_rsync", kPlaceComing.
    virtual Result<std::vector<std::string>> rsync() = 0;
    /// Ends what outlives the commands, so that the next one starts as on a new machine. Error
    /// conflict "not_cleanable" where that takes a new machine.
    virtual Result<void> reset() = 0;
    /// What a command finds in its environment where its client says nothing else.
    virtual std::map<std::string, std::string> environment() const = 0;
};

}  // namespace berth::node
