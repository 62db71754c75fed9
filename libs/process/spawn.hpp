// SPDX-License-Identifier: Apache-2.0
// Starting programs safely from a process with threads: nothing is allocated between fork and exec.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "core/time.hpp"
#include "process/process_id.hpp"

namespace berth::process {

/// A standard descriptor of the child that is the parent's own.
inline constexpr int kInherit = -1;
/// A standard descriptor of the child that is /dev/null.
inline constexpr int kNull = -2;

/// What to start and how. Descriptors named here stay the caller's; the child gets copies. Every
/// other descriptor of the caller is closed in the child, whatever its flags.
struct SpawnSpec {
    /// argv[0] is looked up in the caller's PATH unless it holds a slash or `executable` is set.
    std::vector<std::string> argv;
    std::string executable;
    /// "NAME=value" each; unset: the caller's environment.
    std::optional<std::vector<std::string>> env;
    std::string cwd;  ///< empty: the caller's
    int stdin_fd = kInherit;
    int stdout_fd = kInherit;
    int stderr_fd = kInherit;
    /// Further descriptors: {of the caller, number in the child}; numbers from 3 on, each once.
    std::vector<std::pair<int, int>> fds;
    /// Namespaces to enter before exec, in this order (descriptors of /proc/<pid>/ns/*). A user
    /// namespace comes first: entering it gives the rights for the others.
    std::vector<int> namespaces;
    bool new_session = false;
    bool new_group = false;
    /// Signal the child gets when the *thread* that spawned it ends; 0: none.
    int death_signal = 0;
    /// Drops to this user and group with no supplementary groups; needs root.
    struct User {
        uid_t uid = 0;
        gid_t gid = 0;
    };
    std::optional<User> user;
    bool no_new_privileges = false;
};

/// How a process ended.
struct ExitStatus {
    int code = 0;    ///< of exit(); 128 + signal where a signal ended it, as shells report
    int signal = 0;  ///< 0: it exited by itself
};
ExitStatus to_exit_status(int wait_status);

/// A child of this process. Move-only. Destroying it neither kills nor waits: the holder decides.
/// Not thread-safe.
class Child {
public:
    Child() = default;
    Child(ProcessId id, Fd pidfd) : id_(id), pidfd_(std::move(pidfd)) {}

    const ProcessId& id() const { return id_; }
    pid_t pid() const { return id_.pid; }
    /// Readable when the process ended; for poll(2).
    int pidfd() const { return pidfd_.get(); }

    /// Waits and reaps. Errors: "timeout" (Fault::kDeadline; still running), "no_process" (reaped
    /// before).
    Result<ExitStatus> wait(milliseconds patience);
    /// Reaps if it has ended; never waits.
    std::optional<ExitStatus> poll();
    Result<void> signal(int number) const;
    /// SIGKILL and reap.
    void kill();

private:
    ProcessId id_;
    Fd pidfd_;
    std::optional<ExitStatus> status_;
};

/// Starts a program. Returns after exec succeeded; when it did not, the error says which step
/// failed: "not_found", "not_executable", "bad_directory", "no_namespace", "no_privilege" or
/// "system".
Result<Child> spawn(const SpawnSpec& spec);

/// The absolute path of a program: in PATH, then in the sbin folders an unprivileged PATH often
/// lacks. Error "not_found" names it.
Result<std::string> find_program(const std::string& name);

struct Pipe {
    Fd read;
    Fd write;
};
/// A pipe, close-on-exec both ends.
Result<Pipe> make_pipe();
/// A connected pair of Unix sockets, close-on-exec; `type` is SOCK_STREAM or SOCK_SEQPACKET.
Result<std::pair<Fd, Fd>> make_socket_pair(int type);

}  // namespace berth::process
