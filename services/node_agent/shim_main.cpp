// SPDX-License-Identifier: Apache-2.0
// berth-shim: stands in PATH before a tool, or in its place, asks the run's supervisor, and becomes
// the tool: stdin, terminal, signals and exit code are then the tool's own. No libc: it starts in
// the time of two page faults.
#include <linux/un.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cstddef>
#include <cstdint>

#include "node_agent/shim_protocol.hpp"
#include "policy/shim_layout.hpp"

namespace {

using namespace berth::node;

long call(long number, long a = 0, long b = 0, long c = 0, long d = 0) {
    long result = 0;
    register long fourth asm("r10") = d;
    asm volatile("syscall"
                 : "=a"(result)
                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                 : "rcx", "r11", "memory");
    return result;
}
long of(const void* pointer) { return reinterpret_cast<long>(pointer); }

std::size_t length(const char* text) {
    std::size_t size = 0;
    while (text[size] != '\0') ++size;
    return size;
}
bool equal(const char* a, std::size_t size, const char* b) {
    for (std::size_t i = 0; i < size; ++i) {
        if (b[i] == '\0' || a[i] != b[i]) return false;
    }
    return b[size] == '\0';
}
bool starts(const char* text, const char* with) {
    for (; *with != '\0'; ++text, ++with) {
        if (*text != *with) return false;
    }
    return true;
}
void say(const char* text, std::size_t size) {
    (void)call(SYS_write, 2, of(text), static_cast<long>(size));
}
void say(const char* text) { say(text, length(text)); }
[[noreturn]] void leave(int code) {
    for (;;) (void)call(SYS_exit_group, code);
}

char g_path[kShimMostPath];

/// Begins g_path with the folder that this process is in, and a slash; the size, or 0 where it has
/// no path. What is asked about must not depend on where somebody stands.
std::size_t put_folder() {
    const long size = call(SYS_getcwd, of(g_path), sizeof g_path);  // with its NUL
    if (size <= 1 || g_path[0] != '/') return 0;
    const auto end = static_cast<std::size_t>(size) - 1;
    if (end > 1) g_path[end] = '/';
    return end > 1 ? end + 1 : 1;
}

/// The tool as PATH finds it without us, into g_path behind the head's place; its size, or 0.
std::size_t find_tool(const char* tool, const char* path) {
    const std::size_t name = length(tool);
    for (;;) {
        std::size_t size = 0;
        while (path[size] != '\0' && path[size] != ':') ++size;
        const bool ours = equal(path, size, kShimTools);
        const bool whole = path[0] == '/';
        std::size_t at = whole || ours ? 0 : put_folder();
        if (!ours && (whole || at > 0) && at + size + name + 2 <= sizeof g_path) {
            for (std::size_t i = 0; i < size; ++i) g_path[at++] = path[i];
            if (size > 0) g_path[at++] = '/';
            for (std::size_t i = 0; i <= name; ++i) g_path[at + i] = tool[i];
            constexpr long kExecutable = 1;
            if (call(SYS_access, of(g_path), kExecutable) == 0) return at + name;
        }
        if (path[size] == '\0') return 0;
        path += size + 1;
    }
}

/// In a hardened image this lies in the tool's own place, under whatever name it was called: the
/// path of the tool behind it, into g_path; its size, or 0 where it stands in PATH.
std::size_t tool_behind() {
    constexpr auto& kFolder = berth::policy::kRealTools;
    for (std::size_t i = 0; i < kFolder.size(); ++i) g_path[i] = kFolder[i];
    char* own = g_path + kFolder.size();
    const long most = static_cast<long>(sizeof g_path - kFolder.size() - 1);
    const long size = call(SYS_readlink, of("/proc/self/exe"), of(own), most);
    if (size <= 0 || size >= most) return 0;
    own[size] = '\0';
    return starts(own, kShimHome) ? 0 : kFolder.size() + static_cast<std::size_t>(size);
}

int connect_to_guard() {
    const long fd = call(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address;
    address.sun_family = AF_UNIX;
    for (std::size_t i = 0; i < sizeof kShimSocket; ++i) address.sun_path[i] = kShimSocket[i];
    const long size = static_cast<long>(offsetof(sockaddr_un, sun_path) + sizeof kShimSocket);
    if (fd < 0 || call(SYS_connect, fd, of(&address), size) != 0) return -1;
    return static_cast<int>(fd);
}

bool ask(int guard, std::size_t path_size) {
    const ShimHead head{{'B', 'S', 'H'}, kShimVersion, static_cast<std::uint32_t>(path_size)};
    iovec parts[2] = {{const_cast<ShimHead*>(&head), sizeof head}, {g_path, path_size}};
    msghdr message;
    message.msg_name = nullptr;
    message.msg_namelen = 0;
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    message.msg_control = nullptr;
    message.msg_controllen = 0;
    message.msg_flags = 0;
    return call(SYS_sendmsg, guard, of(&message), MSG_NOSIGNAL) > 0;
}

}  // namespace

extern "C" [[noreturn]] void berth_shim(long* stack) {
    const long count = stack[0];
    char** argv = reinterpret_cast<char**>(stack + 1);
    char** env = argv + count + 1;
    const char* path = "/usr/local/bin:/usr/bin:/bin";
    char** at = env;
    for (; *at != nullptr; ++at) {
        const char* entry = *at;
        if (starts(entry, "PATH=")) path = entry + 5;
    }
    const char* asked = "";
    constexpr long kExecFn = 31;
    for (const long* aux = reinterpret_cast<const long*>(at + 1); aux[0] != 0; aux += 2) {
        if (aux[0] == kExecFn) asked = reinterpret_cast<const char*>(aux[1]);
    }
    const char* tool = asked;
    for (const char* c = asked; *c != '\0'; ++c) {
        if (*c == '/') tool = c + 1;
    }
    std::size_t size = tool_behind();
    if (size == 0) size = find_tool(tool, path);
    if (size == 0) {
        say("berth: ");
        say(tool);
        say(": not found\n");
        leave(127);
    }
    const int guard = connect_to_guard();
    if (guard < 0 || !ask(guard, size)) {
        say("berth: denied: the run's guard does not answer\n");
        leave(126);
    }
    for (;;) {
        char reply[kShimMostReply];
        const long got = call(SYS_read, guard, of(reply), sizeof reply);
        constexpr long kInterrupted = -4;
        if (got == kInterrupted) continue;
        if (got > 0 && reply[0] == kShimWait) continue;
        if (got > 0 && reply[0] == kShimAllow) {
            (void)call(SYS_execve, of(g_path), of(argv), of(env));
            say("berth: the tool cannot be executed\n");
            leave(126);
        }
        if (got > 1)
            say(reply + 1, static_cast<std::size_t>(got - 1));
        else
            say("berth: denied: the run's guard is gone\n");
        leave(126);
    }
}

// The kernel's stack pointer is the only argument; the stack is to be aligned for a call.
asm(".globl _start\n"
    "_start:\n"
    "    xor %ebp, %ebp\n"
    "    mov %rsp, %rdi\n"
    "    and $-16, %rsp\n"
    "    call berth_shim\n");
