// SPDX-License-Identifier: Apache-2.0
// What the supervisor and berth-init say to each other: one page, because berth-init is built from
// libc alone.
#pragma once

#include <cstdint>

namespace berth::node {

/// Descriptors berth-init finds open in mode `run`. The command gets neither.
inline constexpr int kInitControlFd = 3;  ///< SOCK_SEQPACKET to the supervisor
inline constexpr int kInitLaunchFd =
    4;  ///< memfd: InitLaunch, then NUL-ended strings: cwd, argv…, env…, drop…, keep…
/// In a container, where the guard runs beside the commands: the words of the run's supervisor and
/// that guard (run_socket.hpp).
inline constexpr int kInitGuardFd = 5;
/// Where berth-init tells the node agent in mode `hold` that the namespaces are ready (one byte).
inline constexpr int kHoldReadyFd = 3;

struct InitLaunch {
    std::uint32_t tty;
    std::uint32_t rows;
    std::uint32_t cols;
    std::uint32_t argc;
    std::uint32_t envc;
    std::uint32_t dropc;  ///< of the image's environment: see Launch::env_drop
    std::uint32_t keepc;
    std::uint32_t guard;  ///< kGuardTraced | kGuardFiltered
};
/// The command waits before its exec until it is traced: see kInitTraceMe.
inline constexpr std::uint32_t kGuardTraced = 1;
/// It starts under the filter that leaves a tracer no gap (init_filter.hpp).
inline constexpr std::uint32_t kGuardFiltered = 2;

/// The guard is a process of its own in here, which berth-init starts first. A kInitTraceMe goes to
/// it and not to the supervisor, also at a level that traces nothing: the shims must be in their
/// place before the command looks for them.
inline constexpr std::uint32_t kGuardBeside = 4;
/// The shims' folder comes first in PATH.
inline constexpr std::uint32_t kGuardShims = 8;

/// One datagram in either direction.
struct InitMessage {
    char kind;
    std::int32_t value;
};
// supervisor -> init
inline constexpr char kInitSignal = 'S';  ///< value: signal for the command's process group
inline constexpr char kInitKill = 'K';    ///< end now, with everything of the run
inline constexpr char kInitStop = 'P';    ///< SIGSTOP to everything of the run, until nobody is new
// init -> supervisor; each carries init's credentials, the first is how the supervisor learns its
// host pid
inline constexpr char kInitStarted =
    'X';  ///< the command was forked; with a tty, its master comes along
inline constexpr char kInitExited = 'E';  ///< value: the command's wait status
/// From the command's own process, with its credentials and a socket: it waits for one byte there.
inline constexpr char kInitTraceMe = 'T';
inline constexpr char kInitStopped = 'p';  ///< after kInitStop; value: how many stand still
/// Before kInitExited: the kernel killed a process of the machine for want of memory. Value: the
/// machine's limit in MiB, 0 where it cannot be read.
inline constexpr char kInitMemory = 'M';
/// From the command's own process, instead of an exec: its folder cannot be entered. Value: errno.
inline constexpr char kInitNoFolder = 'F';
// enter -> door, the first datagram of a connection (SOCK_SEQPACKET); 0, 1, 2 and the launch
// description come along, for a run the control socket before the latter. The door answers a tool
// with kInitExited. The end of the connection is, from one side, the end of everything of the run;
// from the other, the order to end it.
inline constexpr char kDoorRun = 'R';
inline constexpr char kDoorGuarded = 'G';  ///< a run with a guard: kInitGuardFd comes along, too
inline constexpr char kDoorTool = 'T';
inline constexpr char kDoorEnd = 'Q';  ///< alone: the door ends, and with it the container

// door -> guard beside: a shim's connection comes along
inline constexpr char kDoorShim = 'H';

/// Descriptors of a guard beside: kInitControlFd is its supervisor's words, then these.
inline constexpr int kBesideInitFd = 4;   ///< kInitTraceMe; its end: no more commands
inline constexpr int kBesideShimsFd = 5;  ///< kDoorShim
/// Where it is found inside a container.
inline constexpr const char* kBesideProgram = "/.berth/supervisor";

/// Names in the folder that node agent and door share.
inline constexpr const char* kDoorSocket = "sock";
inline constexpr const char* kDoorGo = "go";        ///< by the driver: the network is as it must be
inline constexpr const char* kDoorError = "error";  ///< by the door: why it gave up

}  // namespace berth::node
