// SPDX-License-Identifier: Apache-2.0
// berth-init: the first process of a sandbox. Static and libc only, because it runs from a bare
// file system.
//   berth-init run    pid 1 of one run: starts the command, reaps, forwards signals, tells the
//   exact status,
//                     and exits: the kernel then kills whatever is left in the pid namespace.
//   berth-init hold   owns a machine's user and network namespace until it is killed.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "node_agent/init_protocol.hpp"

namespace {

using namespace berth::node;

[[noreturn]] void die(const char* what) {
    ::dprintf(2, "berth-init: %s: %s\n", what, ::strerror(errno));
    ::_exit(125);
}

// ---- hold
// ------------------------------------------------------------------------------------------------

void write_text(const char* path, const char* text) {
    const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::write(fd, text, std::strlen(text)) < 0) die(path);
    ::close(fd);
}

void raise_loopback() {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (fd < 0 || ::ioctl(fd, SIOCSIFFLAGS, &request) != 0)
        die("cannot raise the loopback interface");
    ::close(fd);
}

int hold() {
    const uid_t uid = ::getuid();
    const gid_t gid = ::getgid();
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        die("cannot make a user and a network namespace");
    char map[64];
    // Mapped as root, so that nft and bwrap, which are exec'd in here, keep the namespace's own
    // capabilities.
    write_text("/proc/self/setgroups", "deny");
    std::snprintf(map, sizeof map, "0 %u 1", uid);
    write_text("/proc/self/uid_map", map);
    std::snprintf(map, sizeof map, "0 %u 1", gid);
    write_text("/proc/self/gid_map", map);
    raise_loopback();
    if (::chdir("/") != 0) die("chdir");
    ::prctl(PR_SET_NAME, "berth-hold");
    if (::write(kHoldReadyFd, "R", 1) != 1) die("nobody waits for the namespaces");
    // The answer comes when this process is on record. A node agent that dies before leaves no
    // orphan.
    char recorded = 0;
    if (::read(0, &recorded, 1) != 1) ::_exit(0);
    ::syscall(SYS_close_range, 0U, ~0U, 0U);
    for (;;) ::pause();
}

// ---- run
// -------------------------------------------------------------------------------------------------

struct Command {
    InitLaunch head{};
    const char* cwd = "";
    char** argv = nullptr;
    char** env = nullptr;
};

/// Walks NUL-ended strings and never past the end of the mapping.
struct Cursor {
    char* at;
    char* end;
    char* next() {
        char* text = at;
        char* stop = static_cast<char*>(std::memchr(at, 0, static_cast<std::size_t>(end - at)));
        if (stop == nullptr) {
            errno = EINVAL;
            die("the launch description is cut short");
        }
        at = stop + 1;
        return text;
    }
};

Command read_command() {
    struct stat info {};
    Command command;
    if (::fstat(kInitLaunchFd, &info) != 0) die("no launch description");
    const auto size = static_cast<std::size_t>(info.st_size);
    void* map = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, kInitLaunchFd, 0);
    if (map == MAP_FAILED || size < sizeof command.head) die("cannot read the launch description");
    ::close(kInitLaunchFd);
    std::memcpy(&command.head, map, sizeof command.head);
    char* start = static_cast<char*>(map);
    Cursor cursor{start + sizeof command.head, start + size};
    command.cwd = cursor.next();
    const auto take = [&cursor](std::uint32_t count) {
        char** list = static_cast<char**>(std::calloc(count + 1U, sizeof(char*)));
        if (list == nullptr) die("no memory");
        for (std::uint32_t i = 0; i < count; ++i) list[i] = cursor.next();
        return list;
    };
    command.argv = take(command.head.argc);
    command.env = take(command.head.envc);
    return command;
}

/// Sends a message with init's credentials and, for a terminal, its master.
void tell(char kind, std::int32_t value, int fd = -1) {
    InitMessage message{kind, value};
    iovec part{&message, sizeof message};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (fd >= 0) {
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        cmsghdr* entry = CMSG_FIRSTHDR(&header);
        entry->cmsg_level = SOL_SOCKET;
        entry->cmsg_type = SCM_RIGHTS;
        entry->cmsg_len = CMSG_LEN(sizeof fd);
        std::memcpy(CMSG_DATA(entry), &fd, sizeof fd);
    }
    while (::sendmsg(kInitControlFd, &header, MSG_NOSIGNAL) < 0 && errno == EINTR) {
    }
}

/// A terminal of the sandbox's own /dev/pts, so that ttyname(3) works in the command.
int open_terminal(const Command& command, char* slave, std::size_t size) {
    const int master = ::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    int unlock = 0;
    unsigned number = 0;
    if (master < 0 || ::ioctl(master, TIOCSPTLCK, &unlock) != 0 ||
        ::ioctl(master, TIOCGPTN, &number) != 0) {
        die("cannot open a terminal");
    }
    std::snprintf(slave, size, "/dev/pts/%u", number);
    winsize window{};
    window.ws_row = static_cast<unsigned short>(command.head.rows);
    window.ws_col = static_cast<unsigned short>(command.head.cols);
    if (window.ws_row != 0 && window.ws_col != 0) ::ioctl(master, TIOCSWINSZ, &window);
    return master;
}

[[noreturn]] void run_command(const Command& command, const char* slave) {
    ::setsid();
    if (command.head.tty != 0) {
        const int terminal = ::open(slave, O_RDWR);
        if (terminal < 0 || ::ioctl(terminal, TIOCSCTTY, 0) != 0) die("cannot take the terminal");
        for (int i = 0; i < 3; ++i) ::dup2(terminal, i);
        if (terminal > 2) ::close(terminal);
    }
    ::syscall(SYS_close_range, 3U, ~0U, 0U);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    if (::chdir(command.cwd) != 0) {
        ::dprintf(2, "berth: cannot enter %s: %s\n", command.cwd, ::strerror(errno));
        ::_exit(126);
    }
    ::environ = command.env;  // execvp looks PATH up in here
    ::execvp(command.argv[0], command.argv);
    if (errno == ENOENT) {
        ::dprintf(2, "berth: %s: not found\n", command.argv[0]);
        ::_exit(127);
    }
    ::dprintf(2, "berth: %s: %s\n", command.argv[0], ::strerror(errno));
    ::_exit(126);
}

/// Reads one message of the supervisor. Its end means the supervisor is dead, and so is this run.
void obey(pid_t command) {
    InitMessage message{};
    const ssize_t got = ::recv(kInitControlFd, &message, sizeof message, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0 || message.kind == kInitKill) ::_exit(137);
    if (got == static_cast<ssize_t>(sizeof message) && message.kind == kInitSignal) {
        // The leader may have moved to another group; then it alone is told.
        if (::kill(-command, message.value) != 0) ::kill(command, message.value);
    }
}

/// Reaps everything that is dead; exits when the command itself is.
void reap(pid_t command) {
    for (;;) {
        int status = 0;
        const pid_t pid = ::waitpid(-1, &status, WNOHANG);
        if (pid <= 0) return;
        if (pid != command) continue;
        tell(kInitExited, status);
        ::_exit(0);
    }
}

int run() {
    ::prctl(PR_SET_NAME, "berth-init");
    ::prctl(PR_SET_DUMPABLE, 0);  // the command has the same uid and must not trace us
    const Command command = read_command();
    if (command.head.argc == 0) {
        errno = EINVAL;
        die("no command");
    }
    ::fcntl(kInitControlFd, F_SETFD, FD_CLOEXEC);
    sigset_t children;
    ::sigemptyset(&children);
    ::sigaddset(&children, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &children, nullptr);
    const int signals = ::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) die("signalfd");
    char slave[32] = "";
    const int master = command.head.tty != 0 ? open_terminal(command, slave, sizeof slave) : -1;
    const pid_t pid = ::fork();
    if (pid < 0) die("fork");
    if (pid == 0) run_command(command, slave);
    tell(kInitStarted, 0, master);
    // Nothing of the run's stays open here: the reader of the output must see its end.
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 3 && null >= 0; ++i) ::dup2(null, i);
    if (master >= 0) ::close(master);
    for (;;) {
        pollfd wait[2] = {{kInitControlFd, POLLIN, 0}, {signals, POLLIN, 0}};
        if (::poll(wait, 2, -1) < 0 && errno != EINTR) ::_exit(125);
        if (wait[0].revents != 0) obey(pid);
        signalfd_siginfo info;
        while (::read(signals, &info, sizeof info) > 0) {
        }
        reap(pid);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], "run") == 0) return run();
    if (argc == 2 && std::strcmp(argv[1], "hold") == 0) return hold();
    ::dprintf(2, "berth-init is started by Berth; it takes no orders from people\n");
    return 2;
}
