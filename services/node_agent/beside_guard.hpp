// SPDX-License-Identifier: Apache-2.0
// The guard of one run as a process of its own in a container: it traces from where the commands
// are, and holds no credential.
#pragma once

#include <sys/types.h>

namespace berth::node {

/// `berth-supervisor --guard <uid>`: guards commands of that user until berth-init closes its
/// socket and none is left. Expects the descriptors of init_protocol.hpp and the door's folder as
/// its working folder; runs as the container's root with CAP_SYS_PTRACE and CAP_KILL. Returns the
/// exit code.
int guard_beside(uid_t owner);

}  // namespace berth::node
