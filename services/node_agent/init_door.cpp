// SPDX-License-Identifier: Apache-2.0
// The two ends of a container's door: pid 1 inside, which starts commands for whoever is outside,
// and `enter` outside, which hands one over.
//
// The door is the container's root with CAP_SETUID, CAP_SETGID and CAP_KILL (and CAP_CHOWN until
// the volumes are the user's): it must become another uid for each command, and signal it. Where
// commands are guarded it has CAP_SYS_PTRACE for the guards that it starts. No command keeps any of
// that.
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "node_agent/init_run.hpp"
#include "node_agent/init_tree.hpp"
#include "node_agent/shim_protocol.hpp"

namespace berth::node::init {
namespace {

constexpr int kGoLookMs = 10;  // nothing tells of a file across a mount
constexpr int kRequestPatienceMs = 5'000;
constexpr int kBacklog = 64;
constexpr int kMostPassed = 6;
constexpr int kMaxChildren = 512;    // above the node agent's own limits of runs and syncs
constexpr int kMostAncestors = 256;  // of a shim; a deeper tree is refused
constexpr int kParked = 64;          // above every descriptor that is about to be placed

/// Which mistake the machine died of: nobody reads a container's stderr.
[[noreturn]] void give_up(const char* what) {
    const int fd = ::open(kDoorError, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd >= 0) ::dprintf(fd, "%s: %s\n", what, ::strerror(errno));
    die(what);
}

/// Of those that it has.
void keep_capabilities(std::initializer_list<int> kept) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    __user_cap_data_struct had[2] = {};
    if (::syscall(SYS_capget, &header, had) != 0) give_up("capget");
    for (const int capability : kept)
        data[capability / 32].permitted |= 1U << (static_cast<unsigned>(capability) % 32U);
    for (int half = 0; half < 2; ++half)
        data[half].effective = data[half].permitted &= had[half].permitted;
    if (::syscall(SYS_capset, &header, data) != 0) give_up("capset");
}

/// SIGCHLD wakes the loop; SIGTERM is how an engine stops a container, and pid 1 would not feel it.
int open_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGCHLD);
    ::sigaddset(&set, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    return ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/// Exits on SIGTERM: the kernel then ends the whole namespace.
void take_signals(int signals) {
    signalfd_siginfo info;
    while (::read(signals, &info, sizeof info) > 0) {
        if (info.ssi_signo == SIGTERM) ::_exit(0);
    }
}

/// Each start of the container waits for a word of its own, which it uses up: a container that
/// somebody else starts, without the fence of its network, runs nothing.
void wait_for_go(int signals) {
    while (::unlink(kDoorGo) != 0) {
        if (errno != ENOENT) give_up("cannot take the word to begin");
        pollfd wait{signals, POLLIN, 0};
        if (::poll(&wait, 1, kGoLookMs) > 0) take_signals(signals);
    }
}

/// A socket that every uid may connect to, or -1.
int listen_at(const char* path) {
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    ::umask(0);
    const bool open = fd >= 0 &&
                      ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                      ::listen(fd, kBacklog) == 0;
    ::umask(0022);
    return open ? fd : -1;
}

/// Open to every uid: the node agent's is not known here. Commands cannot reach the folder, and are
/// told apart besides.
int open_door() {
    const int fd = listen_at(kDoorSocket);
    if (fd < 0) give_up("cannot open the door");
    return fd;
}

/// One child of the door, and where it hears of its shims.
struct Served {
    pid_t pid;
    int shims;
};
Served g_served[kMaxChildren];

void forget_served(pid_t pid) {
    for (Served& one : g_served) {
        if (one.pid != pid) continue;
        if (one.shims >= 0) ::close(one.shims);
        one = {};
    }
}

/// All shims of a container knock at one place, whatever run they are of: each is passed on to the
/// run that it descends from. Who descends from none is closed unheard, which refuses it.
void pass_shim_on(int listener) {
    const int connection = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (connection < 0) return;
    ucred peer{};
    socklen_t size = sizeof peer;
    pid_t pid = 0;
    if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) pid = peer.pid;
    const pid_t self = ::getpid();
    for (int step = 0; step < kMostAncestors && pid > 0; ++step) {
        const pid_t parent = parent_of(pid);
        if (parent == self) break;
        pid = parent;
    }
    for (const Served& one : g_served) {
        if (pid > 0 && one.pid == pid && one.shims >= 0)
            (void)send_message(one.shims, {kDoorShim, 0}, &connection, 1);
    }
    ::close(connection);
}

/// A peer outside this pid namespace has no number in it; everything inside has one.
bool is_outside(int connection) {
    ucred peer{};
    socklen_t size = sizeof peer;
    return ::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == 0;
}

/// The request and its descriptors, placed where run() looks for them; how many come after the
/// launch description. -1: no such thing came.
int take_request(int connection, bool& tool) {
    pollfd wait{connection, POLLIN, 0};
    if (::poll(&wait, 1, kRequestPatienceMs) <= 0) return -1;
    InitMessage message{};
    iovec part{&message, sizeof message};
    alignas(cmsghdr) char space[CMSG_SPACE(kMostPassed * sizeof(int))];
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = space;
    header.msg_controllen = sizeof space;
    if (::recvmsg(connection, &header, MSG_CMSG_CLOEXEC) != static_cast<ssize_t>(sizeof message))
        return -1;
    if (message.kind == kDoorEnd) ::kill(::getppid(), SIGTERM);
    tool = message.kind == kDoorTool;
    const bool guarded = message.kind == kDoorGuarded;
    if (!tool && !guarded && message.kind != kDoorRun) return -1;
    const cmsghdr* entry = CMSG_FIRSTHDR(&header);
    const int wanted = tool ? 4 : guarded ? 6 : 5;
    if (entry == nullptr || entry->cmsg_type != SCM_RIGHTS ||
        entry->cmsg_len != CMSG_LEN(static_cast<std::size_t>(wanted) * sizeof(int)))
        return -1;
    int fds[kMostPassed];
    std::memcpy(fds, CMSG_DATA(entry), static_cast<std::size_t>(wanted) * sizeof(int));
    for (int i = 0; i < wanted; ++i) fds[i] = ::fcntl(fds[i], F_DUPFD_CLOEXEC, kParked);
    for (int i = 0; i < 3; ++i) ::dup2(fds[i], i);
    if (!tool) ::dup3(fds[3], kInitControlFd, O_CLOEXEC);
    ::dup3(fds[tool ? 3 : 4], kInitLaunchFd, O_CLOEXEC);
    if (guarded) ::dup3(fds[5], kInitGuardFd, O_CLOEXEC);
    return guarded ? 1 : 0;
}

[[noreturn]] void serve(int connection, int shims, uid_t user) {
    const int parked = ::fcntl(connection, F_DUPFD_CLOEXEC, kParked);
    const int parked_shims = ::fcntl(shims, F_DUPFD_CLOEXEC, kParked);
    RunOptions options{kInitLaunchFd + 1, false, user, -1};
    const int guards = parked < 0 ? -1 : take_request(parked, options.tool);
    if (guards < 0) ::_exit(125);
    options.connection += guards;
    ::dup3(parked, options.connection, O_CLOEXEC);
    int last = options.connection;
    if (guards > 0) options.shims = ::dup3(parked_shims, ++last, O_CLOEXEC);
    // What was parked, the listener and the rest: the run must see the end of its pipes.
    ::syscall(SYS_close_range, static_cast<unsigned>(last) + 1U, ~0U, 0U);
    if (options.tool) ::close(kInitControlFd);
    ::_exit(run(options));
}

/// Gives a child of its own to whoever asks from outside.
void answer(int connection, uid_t user) {
    Served* place = nullptr;
    for (Served& one : g_served) {
        if (one.pid == 0) place = &one;
    }
    int pair[2];
    if (place == nullptr || !is_outside(connection) ||
        ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return;
    const pid_t pid = ::fork();
    if (pid == 0) serve(connection, pair[1], user);
    ::close(pair[1]);
    if (pid > 0)
        *place = {pid, pair[0]};
    else
        ::close(pair[0]);
}

/// The memfd that `enter tool` describes its program in.
int describe(const char* cwd, char** argv, int argc) {
    const int fd = ::memfd_create("berth-launch", MFD_CLOEXEC);
    if (fd < 0) die("memfd_create");
    std::uint32_t envc = 0;
    while (::environ[envc] != nullptr) ++envc;
    const InitLaunch head{0, 0, 0, static_cast<std::uint32_t>(argc), envc, 0, 0, 0};
    (void)!::write(fd, &head, sizeof head);
    const auto put = [fd](const char* text) {
        const auto size = static_cast<ssize_t>(std::strlen(text) + 1);
        if (::write(fd, text, static_cast<std::size_t>(size)) != size) die("memfd");
    };
    put(cwd);
    for (int i = 0; i < argc; ++i) put(argv[i]);
    for (std::uint32_t i = 0; i < envc; ++i) put(::environ[i]);
    return fd;
}

int connect_to_door(const char* folder) {
    // Through the folder, because a socket's path may have 107 bytes only.
    if (::chdir(folder) != 0) die("the machine's container has no door");
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path, "%s", kDoorSocket);
    if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
        die("the machine's container does not answer");
    return fd;
}

}  // namespace

int door(int argc, char** argv) {
    ::prctl(PR_SET_NAME, "berth-door");
    ::prctl(PR_SET_DUMPABLE, 0);
    if (::chdir(argv[2]) != 0) die("no folder for the door");
    ::unlink(kDoorError);
    const auto user = static_cast<uid_t>(std::atoi(argv[3]));
    if (user == 0) {
        errno = EINVAL;
        give_up("commands do not run as root");
    }
    for (int i = 4; i < argc; ++i) {
        struct stat info {};
        if (::stat(argv[i], &info) != 0) give_up(argv[i]);
        if (info.st_uid != user && ::chown(argv[i], user, user) != 0) give_up(argv[i]);
    }
    keep_capabilities({CAP_SETUID, CAP_SETGID, CAP_KILL, CAP_SYS_PTRACE});
    if (::unlink(kDoorSocket) != 0 && errno != ENOENT) give_up("cannot remove the old door");
    const int signals = open_signals();
    wait_for_go(signals);
    const int listener = open_door();
    ::unlink(kShimSocket);
    const int shims = listen_at(kShimSocket);  // -1: there is no place for it, and so for no shim
    for (;;) {
        pollfd wait[3] = {{listener, POLLIN, 0}, {signals, POLLIN, 0}, {shims, POLLIN, 0}};
        if (::poll(wait, 3, -1) < 0 && errno != EINTR) ::_exit(1);
        take_signals(signals);
        for (pid_t dead = 0; (dead = ::waitpid(-1, nullptr, WNOHANG)) > 0;) forget_served(dead);
        if (wait[2].revents != 0) pass_shim_on(shims);
        const int connection = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (connection < 0) continue;
        answer(connection, user);
        ::close(connection);
    }
}

int enter(int argc, char** argv) {
    const bool tool = std::strcmp(argv[3], "tool") == 0;
    const bool guarded = !tool && argc > 4 && std::strcmp(argv[4], "guarded") == 0;
    if (tool && argc < 6) return 2;
    const int connection = connect_to_door(argv[2]);
    int fds[kMostPassed] = {0, 1, 2, kInitControlFd, kInitLaunchFd, kInitGuardFd};
    if (tool) fds[3] = describe(argv[4], argv + 5, argc - 5);
    const char kind = tool ? kDoorTool : guarded ? kDoorGuarded : kDoorRun;
    if (!send_message(connection, {kind, 0}, fds, tool ? 4 : guarded ? 6 : 5))
        die("the machine's container does not take the command");
    // From here on only the other side holds the run's descriptors: their ends are exact.
    const int kept = ::fcntl(connection, F_DUPFD_CLOEXEC, kParked);
    if (kept < 0) die("fcntl");
    ::syscall(SYS_close_range, 0U, static_cast<unsigned>(kParked) - 1U, 0U);
    int code = tool ? 125 : 0;
    for (;;) {
        InitMessage message{};
        const ssize_t got = ::recv(kept, &message, sizeof message, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got != static_cast<ssize_t>(sizeof message)) return code;
        if (message.kind == kInitExited)
            code = WIFSIGNALED(message.value) ? 128 + WTERMSIG(message.value)
                                              : WEXITSTATUS(message.value);
    }
}

}  // namespace berth::node::init
