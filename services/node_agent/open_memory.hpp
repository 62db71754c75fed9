// SPDX-License-Identifier: Apache-2.0
// Who can write to the memory of processes by a file that is open already: closing memory to others
// closes no such file.
#pragma once

#include <sys/types.h>

namespace berth::node {

/// Whether a thread of a traced process has /proc/<any>/mem open for writing, under whatever name
/// it was opened; also where its descriptors cannot be looked at. One that shares the descriptors
/// of its process has none of its own; one that is gone has none.
bool has_memory_open(pid_t thread);

}  // namespace berth::node
