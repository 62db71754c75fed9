// SPDX-License-Identifier: Apache-2.0
// Nothing but fork, PTRACE_SEIZE and PTRACE_CONT.
#include "guard_floor.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "node_agent/init_filter.hpp"
#include "node_agent/init_run.hpp"

namespace berth::node::init {
// The filter's way out.
void die(const char* what) {
    std::perror(what);
    ::_exit(125);
}
}  // namespace berth::node::init

namespace berth::node::testing {
namespace {

constexpr long kFloorOptions = PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                               PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;

double seconds_of(const rusage& usage) {
    const auto of = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    return of(usage.ru_utime) + of(usage.ru_stime);
}

double cpu_so_far() {
    rusage own{};
    rusage children{};
    ::getrusage(RUSAGE_SELF, &own);
    ::getrusage(RUSAGE_CHILDREN, &children);
    return seconds_of(own) + seconds_of(children);
}

void write_file(const char* path, const std::string& text) {
    const int file = ::open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || ::write(file, text.data(), text.size()) < 0) std::perror(path);
    if (file >= 0) ::close(file);
}

/// In memory, as a sandbox's /tmp is.
void mount_own_tmp(const std::string& folder) {
    const std::string user = std::to_string(::getuid());
    const std::string group = std::to_string(::getgid());
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) init::die("mkdir");
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) init::die("unshare");
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", user + " " + user + " 1");
    write_file("/proc/self/gid_map", group + " " + group + " 1");
    if (::mount("none", folder.c_str(), "tmpfs", 0, nullptr) != 0) init::die("mount");
    ::setenv("TMPDIR", folder.c_str(), 1);
}

/// Ends with the first process; its status.
int let_all_go_on(pid_t first) {
    for (;;) {
        int status = 0;
        const pid_t pid = ::waitpid(-1, &status, __WALL);
        if (pid < 0) return -1;
        if (WIFSTOPPED(status))
            ::ptrace(PTRACE_CONT, pid, nullptr, status >> 16 != 0 ? 0 : WSTOPSIG(status));
        else if (pid == first)
            return status;
    }
}

}  // namespace

Cost floor_cost(const std::string& folder, const std::string& script, Floor floor) {
    int gate[2];
    if (::pipe2(gate, O_CLOEXEC) != 0) std::abort();
    const double before = cpu_so_far();
    const auto from = std::chrono::steady_clock::now();
    const pid_t child = ::fork();
    if (child == 0) {
        char byte = 0;
        if (::read(gate[0], &byte, 1) != 1 || ::chdir(folder.c_str()) != 0) ::_exit(125);
        mount_own_tmp(folder + "/tmp");
        ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (floor != Floor::kPlain) init::install_filter();
        ::execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
        ::_exit(127);
    }
    if (floor == Floor::kTraced && ::ptrace(PTRACE_SEIZE, child, nullptr, kFloorOptions) != 0) {
        std::perror("PTRACE_SEIZE");
        std::exit(1);
    }
    (void)!::write(gate[1], "G", 1);
    const int status = let_all_go_on(child);
    ::close(gate[0]);
    ::close(gate[1]);
    if (status != 0) {
        std::fprintf(stderr, "the work failed\n");
        std::exit(1);
    }
    const auto took = std::chrono::steady_clock::now() - from;
    return {std::chrono::duration<double>(took).count(), cpu_so_far() - before};
}

}  // namespace berth::node::testing
