// SPDX-License-Identifier: Apache-2.0
// The ways to start a program that only a program of machine code has: for whoever checks that none
// of them leads past a guard.
#pragma once

#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace berth::node::ways {

/// Answer of a way that the kernel refused, or that it does not have.
inline constexpr int kClosed = 3;

/// What is started: its path, which is also its first argument, and its other arguments.
inline char** target = nullptr;

inline int exec_target() {
    ::execve(target[0], target, ::environ);
    std::printf("exec: %s\n", std::strerror(errno));
    return 1;
}

inline int wait_for(long child) {
    if (child < 0) {
        std::printf("refused: %s\n", std::strerror(errno));
        return kClosed;
    }
    int status = 0;
    ::waitpid(static_cast<pid_t>(child), &status, __WALL);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

inline int from_memory() {
    const int file = ::memfd_create("x", 0);
    const int source = ::open(target[0], O_RDONLY);
    struct stat info {};
    ::fstat(source, &info);
    ::sendfile(file, source, nullptr, static_cast<std::size_t>(info.st_size));
    ::close(source);
    ::fexecve(file, target, ::environ);
    return 1;
}

inline void* in_thread(void*) {
    exec_target();
    return nullptr;
}

inline int from_thread() {
    pthread_t thread;
    ::pthread_create(&thread, nullptr, in_thread, nullptr);
    ::pthread_join(thread, nullptr);
    return 1;
}

inline int by_vfork() {
    const pid_t child = ::vfork();
    if (child == 0) {
        ::execve(target[0], target, ::environ);
        ::_exit(1);
    }
    return wait_for(child);
}

inline constexpr unsigned long kUntraced = 0x00800000;

inline long int80(long number, long first) {
    long result = 0;
    asm volatile("int $0x80"
                 : "=a"(result)
                 : "a"(number), "b"(first), "c"(0), "d"(0), "S"(0), "D"(0)
                 : "memory", "r8", "r9", "r10", "r11");
    return result;
}

/// A kernel without the i386 numbers says so by a signal.
inline void on_no_int80(int) { ::_exit(kClosed); }

inline int untraced(const char* abi) {
    const unsigned long flags = kUntraced | SIGCHLD;
    long child = 0;
    if (std::strcmp(abi, "i386") == 0) {
        ::signal(SIGSEGV, on_no_int80);
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

inline int by_clone3() {
    clone_args arguments{};
    arguments.flags = kUntraced;
    arguments.exit_signal = SIGCHLD;
    const long child = ::syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child == 0) ::_exit(exec_target());
    return wait_for(child);
}

/// "exec", "memfd", "thread", "vfork", "clone3", "untraced-x86-64", "untraced-i386",
/// "untraced-x32". The exit code of what was started where that is another process; -1: no such
/// way.
inline int start_by(const char* way) {
    constexpr const char* kAbi = "untraced-";
    const auto is = [way](const char* name) { return std::strcmp(way, name) == 0; };
    if (is("exec")) return exec_target();
    if (is("memfd")) return from_memory();
    if (is("thread")) return from_thread();
    if (is("vfork")) return by_vfork();
    if (is("clone3")) return by_clone3();
    if (std::strncmp(way, kAbi, std::strlen(kAbi)) == 0) return untraced(way + std::strlen(kAbi));
    return -1;
}

}  // namespace berth::node::ways
