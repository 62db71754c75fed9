// SPDX-License-Identifier: Apache-2.0
// What the modes of berth-init share. libc only, like all of it.
#pragma once

#include <sys/types.h>

#include "node_agent/init_protocol.hpp"

namespace berth::node::init {

/// Says why on stderr and exits with 125.
[[noreturn]] void die(const char* what);

/// Where and as whom one command runs.
struct RunOptions {
    /// The connection to whoever asked, when this process is one of many in a container; its end
    /// ends the run. -1: this is pid 1 of a namespace of its own, whose death the kernel makes
    /// everybody's.
    int connection = -1;
    bool tool = false;  ///< no supervisor: the end is told on the connection
    uid_t user = 0;     ///< with a connection: whom the command runs as (group alike)
    int shims = -1;     ///< with a connection: where the door passes on who asks by a shim
};

/// Takes the launch description from kInitLaunchFd, starts the command, reaps, forwards signals,
/// tells the exact status. Returns the exit code of this process, when nothing of the run is left.
int run(const RunOptions& options);

/// `berth-init door <folder> <uid> <path to own>…`: the first process of a container.
int door(int argc, char** argv);
/// `berth-init enter <folder> run|tool …`: hands its descriptors to a door and waits for the end.
int enter(int argc, char** argv);

/// Sends one datagram with descriptors; false when the other side is gone.
bool send_message(int to, const InitMessage& message, const int* fds, int count);

}  // namespace berth::node::init
