// SPDX-License-Identifier: Apache-2.0
// A hostile program for tests: each mode tries one way around a guard. Static, so that it runs in
// any sandbox.
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

namespace {

char kTarget[] = "/usr/bin/id";
char* g_argv[] = {kTarget, nullptr};

int exec_target() {
    ::execve(kTarget, g_argv, ::environ);
    std::printf("exec: %s\n", std::strerror(errno));
    return 1;
}

int wait_for(long child) {
    if (child < 0) {
        std::printf("refused: %s\n", std::strerror(errno));
        return 3;
    }
    int status = 0;
    ::waitpid(static_cast<pid_t>(child), &status, __WALL);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int from_memory() {
    const int file = ::memfd_create("x", 0);
    const int source = ::open(kTarget, O_RDONLY);
    struct stat info {};
    ::fstat(source, &info);
    ::sendfile(file, source, nullptr, static_cast<std::size_t>(info.st_size));
    ::close(source);
    ::fexecve(file, g_argv, ::environ);
    return 1;
}

void* in_thread(void*) {
    exec_target();
    return nullptr;
}

int from_thread() {
    pthread_t thread;
    ::pthread_create(&thread, nullptr, in_thread, nullptr);
    ::pthread_join(thread, nullptr);
    return 1;
}

int by_vfork() {
    const pid_t child = ::vfork();
    if (child == 0) {
        ::execve(kTarget, g_argv, ::environ);
        ::_exit(1);
    }
    return wait_for(child);
}

constexpr unsigned long kUntraced = 0x00800000;

long int80(long number, long first) {
    long result = 0;
    asm volatile("int $0x80"
                 : "=a"(result)
                 : "a"(number), "b"(first), "c"(0), "d"(0), "S"(0), "D"(0)
                 : "memory", "r8", "r9", "r10", "r11");
    return result;
}

int untraced(const char* abi) {
    const unsigned long flags = kUntraced | SIGCHLD;
    long child = 0;
    if (std::strcmp(abi, "i386") == 0) {
        child = int80(120, static_cast<long>(flags));
        if (child < 0) {
            errno = static_cast<int>(-child);
            child = -1;
        }
    } else {
        const long bit = std::strcmp(abi, "x32") == 0 ? 0x40000000 : 0;
        child = ::syscall(SYS_clone | bit, flags, 0, 0, 0, 0);
    }
    if (child == 0) ::_exit(exec_target());
    return wait_for(child);
}

int by_clone3() {
    clone_args arguments{};
    arguments.flags = kUntraced;
    arguments.exit_signal = SIGCHLD;
    const long child = ::syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child == 0) ::_exit(exec_target());
    return wait_for(child);
}

/// Tries to reach into process `pid` in every way there is.
int attack(pid_t pid) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/mem", pid);
    const int memory = ::open(path, O_RDWR);
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
    if (mode == "exec") return exec_target();
    if (mode == "memfd") return from_memory();
    if (mode == "thread") return from_thread();
    if (mode == "vfork") return by_vfork();
    if (mode == "untraced") return untraced(word);
    if (mode == "clone3") return by_clone3();
    if (mode == "attack") return attack(std::atoi(word));
    if (mode == "many") return many(std::atoi(word));
    if (mode == "latency" && argc > 3) return latency(std::atoi(word), argv[3]);
    if (mode == "self") {
        char* again[] = {argv[0], const_cast<char*>("exec"), nullptr};
        ::execve("/proc/self/exe", again, ::environ);
        return 1;
    }
    return 2;
}
