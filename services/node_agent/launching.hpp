// SPDX-License-Identifier: Apache-2.0
// Pieces of a supervisor's start and of a halt that need nothing of its state.
#pragma once

#include <cstdint>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "node_agent/run_files.hpp"
#include "process/process_id.hpp"

namespace berth::node {

/// What berth-init reads at kInitLaunchFd. `guard`: InitLaunch::guard.
Result<Fd> write_init_launch(const Launch& launch, std::uint32_t guard);
/// Descriptors of the namespaces to enter; none where there is no holder. Error "no_holder".
Result<std::vector<Fd>> holder_namespaces(const Launch& launch);
/// SIGSTOP to a namespace's first process and all below it. Whoever forks meanwhile is found by the
/// next look, until two looks find as many. Returns how many stand still.
std::size_t stop_processes(const process::ProcessId& init);

}  // namespace berth::node
