// SPDX-License-Identifier: Apache-2.0
// What a tracer makes a stopped new image do instead of its own work: refuse, or change itself.
#pragma once

#include <sys/types.h>
#include <sys/user.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::node {

/// The code segment of an i386 program (arch/x86/include/asm/segment.h).
inline constexpr unsigned long kCodeSegment32 = 0x23;

/// All take a tracee that is stopped at its exec and leave it stopped; false where its memory
/// cannot be written. The caller lets it go on.

/// Exit code of a command that was not allowed.
inline constexpr unsigned kRefusedCode = 126;

/// From here on it closes its memory to others of its uid, writes `reason` on its stderr and exits,
/// whatever the image was.
bool inject_refusal(pid_t pid, std::string_view reason);
/// For a stop at a system call of such an image: one that is none of these becomes its exit.
bool hold_to_refusal(pid_t pid);

/// What was overwritten, to be put back.
struct Injected {
    user_regs_struct registers{};
    unsigned long address = 0;
    std::string code;
};
/// From here on it sets whether its memory is open to others of its uid, and stops with SIGTRAP.
bool inject_dumpable(pid_t pid, bool dumpable, Injected& before);
/// From here on it executes `path` with these arguments and the environment it has; where that
/// fails it exits with 126.
bool inject_exec(
    pid_t pid,
    const std::string& path,
    const std::vector<std::string>& argv,
    const std::vector<std::string>& environment
);
/// True when it stopped at the end of inject_dumpable().
bool is_injected_stop(pid_t pid, const Injected& before);
bool put_back(pid_t pid, const Injected& before);

}  // namespace berth::node
