// SPDX-License-Identifier: Apache-2.0
// How a run ended, told from all that its supervisor saw.
#pragma once

#include <optional>
#include <string>

#include "node_agent/run_files.hpp"
#include "process/spawn.hpp"

namespace berth::node {

struct RunFacts {
    std::optional<process::ExitStatus> command_end;  ///< as berth-init told it
    bool started = false;
    const std::string& early_error;    ///< the sandbox's own complaint
    const std::string& memory_notice;  ///< the kernel killed for want of memory
    const std::string& no_folder;      ///< which folder the command could not begin in, and why
    const std::string& ended_by;       ///< the rule whose time for the command was over
    bool canceled = false;
    bool timed_out = false;
    bool capped = false;
};

/// Pure; without time and size of the output.
ExitRecord record_of(const RunFacts& facts);

}  // namespace berth::node
