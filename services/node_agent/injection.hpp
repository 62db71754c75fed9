// SPDX-License-Identifier: Apache-2.0
// What a tracer makes a stopped new image do instead of its own work: refuse, or change itself.
#pragma once

#include <sys/types.h>
#include <sys/user.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::node {

/// The code segment of an i386 program (arch/x86/include/asm/segment.h).
inline constexpr unsigned long kCodeSegment32 = 0x23;

/// All take a tracee that is stopped at its exec and leave it stopped; false where its memory
/// cannot be written. The caller lets it go on. A system call filter of its own would decide what
/// comes of it: see Tracer.

/// Exit code of a command that was not allowed.
inline constexpr unsigned kRefusedCode = 126;

/// From here on it closes its memory to others of its uid, writes `reason` on its stderr and exits,
/// whatever the image was.
bool inject_refusal(pid_t pid, std::string_view reason);
/// For a stop at a system call of such an image: one that is none of these becomes its exit.
bool hold_to_refusal(pid_t pid);

/// What was overwritten, to be put back, and how far it came.
struct Injected {
    user_regs_struct registers{};
    unsigned long address = 0;
    std::string code;
    bool dumpable = false;
    bool begun = false;
};
/// From here on it sets whether its memory is open to others of its uid. It is to go from one stop
/// at a system call to the next (PTRACE_SYSCALL), each for follow_dumpable().
bool inject_dumpable(pid_t pid, bool dumpable, Injected& injected);
/// True: the kernel did it. False: not yet. nullopt: it called something else, or in vain: its
/// memory was rewritten meanwhile.
std::optional<bool> follow_dumpable(pid_t pid, Injected& injected);
/// From here on it executes `path` with these arguments and the environment it has; where that
/// fails it exits with 126.
bool inject_exec(
    pid_t pid,
    const std::string& path,
    const std::vector<std::string>& argv,
    const std::vector<std::string>& environment
);
bool put_back(pid_t pid, const Injected& injected);

}  // namespace berth::node
