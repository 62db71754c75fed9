// SPDX-License-Identifier: Apache-2.0
// A run's guard as its supervisor has it: in its own process (Guard), or beside the commands in a
// container (FarGuard).
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "node_agent/run_socket.hpp"
#include "policy/policy.hpp"

namespace berth::node {

/// What a guard needs of whoever runs its loop.
class GuardHost {
public:
    virtual ~GuardHost() = default;
    /// False: nobody is there, or the socket is full; it is said again later.
    virtual bool send_word(const RunWord& word) = 0;
    /// False: nobody is there.
    virtual bool has_listener() const = 0;
    /// A child of this process's own, which is not of the guarded tree, ended.
    virtual void on_child(pid_t pid, int wait_status) = 0;
    /// For the run's output: something that its user must know.
    virtual void tell_user(const std::string& line) = 0;
    /// For the run's end: why its own command is being ended.
    virtual void on_command_ended(const std::string& why) = 0;
};

/// What berth-init is told of a level: kGuardTraced and so on.
std::uint32_t guard_flags(policy::Level level);

/// Single-threaded, on the supervisor's loop; never waits.
class Guarding {
public:
    using Time = std::chrono::steady_clock::time_point;
    virtual ~Guarding() = default;

    /// What berth-init is told of this guard.
    virtual std::uint32_t init_flags() const = 0;
    /// Polled for input; -1: none. on_input() is called when it has some.
    virtual int descriptor() const = 0;
    virtual void on_input() = 0;
    /// poll(2) for the loop that this guard is on, which meanwhile does what cannot wait.
    virtual int poll(pollfd* set, nfds_t count, int timeout_ms) {
        return ::poll(set, count, timeout_ms);
    }
    /// Makes what the level needs; before the command's place starts. Error "system".
    virtual Result<void> prepare() = 0;
    /// A descriptor that goes to the command's place as kInitGuardFd; -1: none. Once it is there,
    /// handed_over().
    virtual int for_init() const { return -1; }
    virtual void handed_over() {}
    /// The run's first process stands before its first exec. Error "system".
    virtual Result<void> seize(pid_t pid) = 0;
    /// True for the words that are the guard's.
    virtual bool on_word(const RunWord& word) = 0;
    /// A node agent came: it is told all that it must know.
    virtual void greet() = 0;
    /// Sends what was not sent; called once per turn of the loop.
    virtual void tell() = 0;
    virtual std::optional<Time> next_timer() const = 0;
    virtual void on_timers() = 0;
    virtual void on_output(std::string_view bytes) = 0;
    /// The run has ended: its last entry of the audit. Called once, when all output was taken.
    virtual void finish(int exit_code) = 0;
};

}  // namespace berth::node
