// SPDX-License-Identifier: Apache-2.0
// The end of a run that has no pid namespace of its own, and what the kernel did to it for memory.
// libc only.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace berth::node::init {

/// Kills every descendant of this process, which must be a subreaper, and returns when none is
/// left: a descendant that loses its parent becomes our child, so that no child is no descendant.
/// Whoever forks faster than it can be found (kChase) costs every process of `user` its life:
/// kill(-1) is one step for the kernel. A child `last` is not killed: it ends by itself when
/// nothing else is left, or is killed after kLastMs; 0: none.
void end_tree(uid_t user, pid_t last);
/// Sends a signal to every descendant but the child `spared`; how many there were.
int signal_descendants(int signal, pid_t spared);
/// Stops every descendant but the child `spared`, looking again until nobody is new; how many.
int stop_tree(pid_t spared);

/// The parent of a process; 0: it is gone.
pid_t parent_of(pid_t pid);

/// How often the kernel killed in this control group for want of memory, as far as it tells.
struct MemoryKills {
    long long count = 0;
    static MemoryKills read();
};
/// The group's memory limit in MiB; 0: none, or it cannot be read.
std::int32_t memory_limit_mib();

}  // namespace berth::node::init
