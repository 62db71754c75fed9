// SPDX-License-Identifier: Apache-2.0
// What a process asks of the kernel about itself: whose child it is, who it is, when it dies.
#pragma once

#include <sys/types.h>

#include "core/result.hpp"

namespace berth::process {

/// Asks for `signal` when the parent thread ends; fails with "orphan" when the parent is gone
/// already
/// (`expected_parent` is its pid as seen before fork).
Result<void> set_death_signal(int signal, pid_t expected_parent);

/// Orphaned descendants become children of this process instead of init's, so that it can reap
/// them.
Result<void> become_subreaper();

/// Gives up root for good: groups, gid, uid, in that order, and checks that there is no way back.
/// The whole process changes. Error: forbidden "no_privilege".
Result<void> drop_privileges(uid_t uid, gid_t gid);

/// No exec from here on gains privileges (set-uid programs, file capabilities).
Result<void> set_no_new_privileges();

}  // namespace berth::process
