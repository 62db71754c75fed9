// SPDX-License-Identifier: Apache-2.0
// Finding and ending descendants by /proc; reading the control group's memory counters.
#include "node_agent/init_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

namespace berth::node::init {
namespace {

constexpr long long kChaseMs = 2'000;  // far longer than any tree that does not flee needs
constexpr long long kLastMs = 6'000;   // of the last child, once it is asked to end
constexpr int kMostLooks = 50;         // at a tree that is being stopped
constexpr long kPauseNs = 1'000'000;   // between two looks; the kernel needs a moment to end one
constexpr int kMaxProcesses = 8'192;   // more than any pids limit that a machine gets

long long now_ms() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1'000LL + time.tv_nsec / 1'000'000;
}

/// The first bytes of a file; empty where there is none.
const char* slurp(const char* path, char* into, std::size_t size) {
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t got = fd >= 0 ? ::read(fd, into, size - 1) : -1;
    if (fd >= 0) ::close(fd);
    into[got > 0 ? got : 0] = '\0';
    return into;
}

struct Process {
    pid_t pid;
    pid_t parent;
    bool ours;
};

/// From "<pid> (<name, anything>) <state> <parent> …".
pid_t parent_in(const char* stat) {
    const char* end = std::strrchr(stat, ')');
    int parent = 0;
    char state = 0;
    if (end == nullptr || std::sscanf(end + 1, " %c %d", &state, &parent) != 2) return 0;
    return parent;
}

int list_processes(Process* into) {
    DIR* proc = ::opendir("/proc");
    if (proc == nullptr) return 0;
    int count = 0;
    while (const dirent* entry = ::readdir(proc)) {
        const int pid = std::atoi(entry->d_name);
        if (pid <= 0 || count == kMaxProcesses) continue;
        char path[64];
        char text[512];
        std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
        into[count++] = {pid, parent_in(slurp(path, text, sizeof text)), false};
    }
    ::closedir(proc);
    return count;
}

void kill_all_of(uid_t user) {
    const pid_t killer = ::fork();
    if (killer != 0) return;  // it is reaped with the rest
    if (::setgroups(0, nullptr) == 0 && ::setresgid(user, user, user) == 0 &&
        ::setresuid(user, user, user) == 0)
        ::kill(-1, SIGKILL);
    ::_exit(0);
}

/// The number behind `key` in the first of the files that holds it.
long long number_in(const char* const* paths, int count, const char* key) {
    for (int i = 0; i < count; ++i) {
        char text[1'024];
        const char* at = std::strstr(slurp(paths[i], text, sizeof text), key);
        if (at != nullptr) return std::atoll(at + std::strlen(key));
    }
    return 0;
}

}  // namespace

int signal_descendants(int signal, pid_t spared) {
    static Process all[kMaxProcesses];
    const int count = list_processes(all);
    const pid_t self = ::getpid();
    int found = 0;
    const auto is_ours = [&](pid_t parent) {
        if (parent == self) return true;
        for (int i = 0; i < count; ++i) {
            if (all[i].pid == parent) return all[i].ours;
        }
        return false;
    };
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < count; ++i) {
            if (all[i].ours || all[i].pid == spared || !is_ours(all[i].parent)) continue;
            all[i].ours = more = true;
            ++found;
            ::kill(all[i].pid, signal);
        }
    }
    return found;
}

void end_tree(uid_t user, pid_t last) {
    const long long begun = now_ms();
    for (;;) {
        for (;;) {
            const pid_t dead = ::waitpid(-1, nullptr, WNOHANG);
            if (dead == 0) break;
            if (dead < 0 && errno == ECHILD) return;
        }
        const long long spent = now_ms() - begun;
        signal_descendants(SIGKILL, spent > kLastMs ? 0 : last);
        if (spent > kChaseMs) kill_all_of(user);
        const timespec pause{0, kPauseNs};
        ::nanosleep(&pause, nullptr);
    }
}

int stop_tree(pid_t spared) {
    int before = 0;
    for (int look = 0; look < kMostLooks; ++look) {
        const int found = signal_descendants(SIGSTOP, spared);
        if (found == before) break;
        before = found;
    }
    return before;
}

pid_t parent_of(pid_t pid) {
    char path[64];
    char text[512];
    std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
    return parent_in(slurp(path, text, sizeof text));
}

MemoryKills MemoryKills::read() {
    // Version 2 (with a cgroup namespace) and version 1. The leading newline tells "oom_kill" from
    // "oom_kill_disable", which comes first.
    constexpr const char* kFiles[] = {
        "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"};
    return {number_in(kFiles, 2, "\noom_kill ")};
}

std::int32_t memory_limit_mib() {
    char text[64];
    for (const char* path :
         {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
        const long long bytes = std::atoll(slurp(path, text, sizeof text));
        // Version 1 says "no limit" by a number near 2^63.
        if (bytes > 0 && bytes < (1LL << 50)) return static_cast<std::int32_t>(bytes >> 20);
    }
    return 0;
}

}  // namespace berth::node::init
