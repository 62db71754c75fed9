// SPDX-License-Identifier: Apache-2.0
// A hostile program for tests: each mode tries one way around a guard. Static, so that it runs in
// any sandbox.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "node_agent/ways.hpp"

namespace {

using berth::node::ways::wait_for;

char kTarget[] = "/usr/bin/id";
char* g_argv[] = {kTarget, nullptr};

/// Its descriptor, or -1.
int open_memory(pid_t pid) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/mem", pid);
    return ::open(path, O_RDWR | O_CLOEXEC);
}

/// A child that executes `path`.
pid_t start(const char* path) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    ::execl(path, path, nullptr);
    ::_exit(1);
}

/// Tries to reach into process `pid` in every way there is.
int attack(pid_t pid) {
    const int memory = open_memory(pid);
    std::printf("mem %s\n", memory < 0 ? std::strerror(errno) : "OPEN");
    char byte = 0;
    iovec local{&byte, 1};
    iovec remote{reinterpret_cast<void*>(0x400000), 1};
    const bool wrote = ::process_vm_writev(pid, &local, 1, &remote, 1, 0) >= 0;
    std::printf("writev %s\n", wrote ? "OPEN" : std::strerror(errno));
    const bool traced = ::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) == 0;
    std::printf("ptrace %s\n", traced ? "OPEN" : std::strerror(errno));
    const long pidfd = ::syscall(SYS_pidfd_open, pid, 0);
    const bool got = ::syscall(438, pidfd, 0, 0) >= 0;
    std::printf("getfd %s\n", got ? "OPEN" : std::strerror(errno));
    return 0;
}

/// What a rewritten image does: says "uid=rewritten" and ends well.
std::string intruder() {
    constexpr unsigned char kCode[] = {
        0xb8, 1, 0, 0, 0,    0xbf, 1,    0,   0, 0, 0x48, 0x8d, 0x35, 0x13, 0,    0,    0,    0xba,
        14,   0, 0, 0, 0x0f, 0x05, 0xb8, 231, 0, 0, 0,    0x31, 0xff, 0x0f, 0x05, 0x90, 0x90, 0x90};
    std::string code(512, '\x90');  // wherever in it the image goes on
    code.append(reinterpret_cast<const char*>(kCode), sizeof kCode);
    return code + "uid=rewritten\n";
}

/// Starts a copy of this program, whose stderr is full: where it is denied it waits in its refusal.
/// Its memory is opened as early as it can be, and rewritten.
int rewrite(const char* victim) {
    const std::string code = intruder();
    const auto at = static_cast<off_t>(::getauxval(AT_ENTRY));
    bool wrote = false;
    for (int i = 0; i < 50 && !wrote; ++i) {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return 1;
        const std::string much(4'096, 'x');
        while (::write(ends[1], much.data(), much.size()) > 0) {
        }
        ::fcntl(ends[1], F_SETFL, 0);
        ::fcntl(ends[0], F_SETFL, 0);
        const pid_t child = ::fork();
        if (child == 0) {
            ::dup2(ends[1], 2);
            ::execl(victim, victim, nullptr);
            ::_exit(1);
        }
        ::close(ends[1]);
        std::vector<int> opened;
        for (int tries = 0; tries < 400; ++tries) {
            const int memory = open_memory(child);
            if (memory < 0 && errno == EACCES) break;
            if (memory >= 0) opened.push_back(memory);
            if (tries > 200) ::usleep(200);
        }
        for (const int memory : opened) {
            wrote = ::pwrite(memory, code.data(), code.size(), at) > 0 || wrote;
            ::close(memory);
        }
        char buffer[4'096];
        while (::read(ends[0], buffer, sizeof buffer) > 0) {
        }
        ::close(ends[0]);
        wait_for(child);
    }
    std::printf("%s\n", wrote ? "rewritten" : "out of reach");
    return 0;
}

/// Makes the file "closed" once the memory of the child that executed `path` is out of reach.
int watch_closing(const char* path) {
    const pid_t child = start(path);
    for (;;) {
        const int file = open_memory(child);
        if (file < 0) break;
        ::close(file);
    }
    ::close(::open("closed", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    return wait_for(child);
}

struct Call {
    unsigned number;
    unsigned first;  ///< argument
};
constexpr Call kClosing{SYS_prctl, PR_SET_DUMPABLE};
constexpr Call kComplaining{SYS_write, 2};
constexpr Call kRefused{SYS_exit_group, 126};

/// Says `answer` to these system calls. A listener's descriptor, or 0; -1: failed.
int install_filter(const std::vector<Call>& calls, std::uint32_t answer) {
    std::vector<sock_filter> code;
    for (const Call& call : calls) {
        code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
        code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call.number, 0, 3));
        code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args)));
        code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call.first, 0, 1));
        code.push_back(BPF_STMT(BPF_RET | BPF_K, answer));
    }
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    const sock_fprog filter{static_cast<unsigned short>(code.size()), code.data()};
    const unsigned flags = answer == SECCOMP_RET_USER_NOTIF ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0U;
    return static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter));
}

/// Executes `path` under a filter of its own, which decides what is done with what is put into it:
/// "faked" says that its memory was closed, "mute" that it wrote and ended.
int start_filtered(const std::string& how, const char* path) {
    const pid_t child = ::fork();
    if (child != 0) return wait_for(child);
    const bool mute = how == "mute";
    const std::vector<Call> calls =
        mute ? std::vector<Call>{kComplaining, kRefused} : std::vector<Call>{kClosing};
    if (install_filter(calls, SECCOMP_RET_ERRNO) == 0)
        ::execl(path, path, mute ? nullptr : "fine", nullptr);
    ::_exit(1);
}

/// As above, and while the call that is to close its memory waits for an answer, opens it.
int start_notified(const char* path) {
    auto* listener = static_cast<volatile int*>(
        ::mmap(nullptr, 4'096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
    );
    *listener = -2;
    const auto child = static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
    if (child == 0) {
        *listener = install_filter({kClosing}, SECCOMP_RET_USER_NOTIF);
        ::execl(path, path, nullptr);
        ::_exit(1);
    }
    while (*listener == -2) ::usleep(1'000);
    pollfd called{*listener, POLLIN, 0};
    ::poll(&called, 1, -1);
    if ((called.revents & POLLIN) != 0) {
        std::printf("%s\n", open_memory(child) >= 0 ? "uid=open" : "closed");
        ::kill(child, SIGKILL);
    }
    return wait_for(child);
}

/// Opens the memory of a child that executes `path`, which is a copy of this program, before it is
/// closed, rewrites it, and keeps nothing open. "overtaken": it did.
int overtake(const char* path) {
    const std::string code = intruder();
    const auto at = static_cast<off_t>(::getauxval(AT_ENTRY));
    for (int round = 0; round < 400; ++round) {
        const pid_t child = start(path);
        int opened = -1;
        for (int next = 0; (next = open_memory(child)) >= 0; opened = next) ::close(opened);
        // What this process was before its exec has no memory any more.
        const bool wrote = ::pwrite(opened, code.data(), code.size(), at) > 0;
        ::close(opened);
        if (wrote) {
            std::printf("overtaken\n");
            return wait_for(child);
        }
        ::kill(child, SIGKILL);
        wait_for(child);
    }
    std::printf("too late\n");
    return 0;
}

/// Has memory open, and hides that as well as it can.
int keep_memory() {
    (void)::open("/proc/self/mem", O_RDWR);
    ::prctl(PR_SET_DUMPABLE, 0);
    std::printf("kept\n");
    for (;;) ::pause();
}

/// A loop of fork and exec, to be measured and to be frozen.
int many(int count) {
    char path[] = "/bin/true";
    char* argv[] = {path, nullptr};
    int status = 0;
    for (int i = 0; i < count && status == 0; ++i) {
        pid_t child = 0;
        if (::posix_spawn(&child, path, nullptr, nullptr, argv, ::environ) != 0) return 1;
        ::waitpid(child, &status, 0);
    }
    return status;
}

/// Microseconds that starting `path` and waiting for its end takes: median and 99th percentile.
int latency(int count, const char* path) {
    char* argv[] = {const_cast<char*>(path), nullptr};
    std::vector<double> times;
    for (int i = 0; i < count; ++i) {
        timespec from{};
        timespec to{};
        pid_t child = 0;
        int status = 0;
        ::clock_gettime(CLOCK_MONOTONIC, &from);
        if (::posix_spawn(&child, path, nullptr, nullptr, argv, ::environ) != 0) return 1;
        ::waitpid(child, &status, 0);
        ::clock_gettime(CLOCK_MONOTONIC, &to);
        if (status != 0) return 1;
        times.push_back(
            static_cast<double>(to.tv_sec - from.tv_sec) * 1e6 +
            static_cast<double>(to.tv_nsec - from.tv_nsec) / 1e3
        );
    }
    std::sort(times.begin(), times.end());
    std::printf("%.1f %.1f\n", times[times.size() / 2], times[times.size() * 99 / 100]);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    ::setvbuf(stdout, nullptr, _IOLBF, 0);
    const std::string mode = argc > 1 ? argv[1] : "";
    const char* word = argc > 2 ? argv[2] : "";
    berth::node::ways::target = g_argv;
    if (const int code = berth::node::ways::start_by(mode.c_str()); code != -1) return code;
    if (mode == "attack") return attack(std::atoi(word));
    if (mode == "rewrite") return rewrite(word);
    if (mode == "closing") return watch_closing(word);
    if (mode == "faked" || mode == "mute") return start_filtered(mode, word);
    if (mode == "notified") return start_notified(word);
    if (mode == "overtake") return overtake(word);
    if (mode == "keep") return keep_memory();
    if (mode == "many") return many(std::atoi(word));
    if (mode == "latency" && argc > 3) return latency(std::atoi(word), argv[3]);
    if (mode == "self") {
        char* again[] = {argv[0], const_cast<char*>("exec"), nullptr};
        ::execve("/proc/self/exe", again, ::environ);
        return 1;
    }
    return 2;
}
