// SPDX-License-Identifier: Apache-2.0
// The identity of a process beyond its number, so that a recycled pid is never signalled or waited
// for.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::process {

/// A pid together with the kernel's start time of that process (clock ticks since boot, field 22 of
/// /proc/<pid>/stat). Written to files as "<pid> <start_time>". A value: copy it freely; every
/// function may be called from any thread.
struct ProcessId {
    pid_t pid = 0;
    std::uint64_t start_time = 0;

    /// The identity of a process that exists now; error code "no_process".
    static Result<ProcessId> of(pid_t pid);
    static ProcessId self();

    /// "<pid> <start_time>" and back; error code "bad_process_id".
    std::string to_text() const;
    static Result<ProcessId> parse(std::string_view text);

    /// True while exactly this process runs. A zombie counts as gone: it executes nothing any more.
    bool alive() const;
    /// Sends a signal to exactly this process, by pidfd. Error "no_process" when it is gone.
    Result<void> signal(int number) const;
    /// Waits until it is gone; works for processes that are not children. False when the time is
    /// up.
    bool wait_gone(milliseconds patience) const;
    /// SIGTERM, `grace`, SIGKILL, wait at most 5 s more. True when it is gone. grace 0: SIGKILL at
    /// once.
    bool end(milliseconds grace) const;

    bool operator==(const ProcessId&) const = default;
};

/// Signals a process and all its descendants, found by parent in /proc; children first are not
/// promised. For trees that do not run in a pid namespace of their own. Returns how many were
/// signalled.
std::size_t signal_tree(const ProcessId& root, int number);

}  // namespace berth::process
