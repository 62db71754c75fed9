// SPDX-License-Identifier: Apache-2.0
// One run's first process: alone in a pid namespace, or one of many behind a container's door.
#include "node_agent/init_run.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
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
#include <utility>

#include "node_agent/init_filter.hpp"
#include "node_agent/init_tree.hpp"
#include "node_agent/shim_protocol.hpp"

namespace berth::node::init {

void die(const char* what) {
    ::dprintf(2, "berth-init: %s: %s\n", what, ::strerror(errno));
    ::_exit(125);
}

bool send_message(int to, const InitMessage& message, const int* fds, int count) {
    InitMessage copy = message;
    iovec part{&copy, sizeof copy};
    alignas(cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))] = {};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (count > 0) {
        const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(int);
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(bytes);
        cmsghdr* entry = CMSG_FIRSTHDR(&header);
        entry->cmsg_level = SOL_SOCKET;
        entry->cmsg_type = SCM_RIGHTS;
        entry->cmsg_len = CMSG_LEN(bytes);
        std::memcpy(CMSG_DATA(entry), fds, bytes);
    }
    ssize_t sent = -1;
    do {
        sent = ::sendmsg(to, &header, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

namespace {

struct Command {
    InitLaunch head{};
    const char* cwd = "";
    char** argv = nullptr;
    char** env = nullptr;
    char** drop = nullptr;
    char** keep = nullptr;
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

char** make_list(std::size_t count) {
    char** list = static_cast<char**>(std::calloc(count + 1U, sizeof(char*)));
    if (list == nullptr) die("no memory");
    return list;
}

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
        char** list = make_list(count);
        for (std::uint32_t i = 0; i < count; ++i) list[i] = cursor.next();
        return list;
    };
    command.argv = take(command.head.argc);
    command.env = take(command.head.envc);
    command.drop = take(command.head.dropc);
    command.keep = take(command.head.keepc);
    return command;
}

std::size_t count_of(char** list) {
    std::size_t count = 0;
    while (list[count] != nullptr) ++count;
    return count;
}

bool names(char** list, const char* entry) {
    const char* equals = std::strchr(entry, '=');
    const std::size_t size =
        equals == nullptr ? std::strlen(entry) : static_cast<std::size_t>(equals - entry) + 1;
    for (; *list != nullptr; ++list) {
        if (std::strncmp(*list, entry, size) == 0) return true;
    }
    return false;
}

/// An entry of an environment against names, which may end in '*'.
bool matches(char** names, const char* entry) {
    const std::size_t size = std::strcspn(entry, "=");
    for (; *names != nullptr; ++names) {
        const std::size_t length = std::strlen(*names);
        const bool open = length > 0 && (*names)[length - 1] == '*';
        const std::size_t compared = open ? length - 1 : length;
        if ((open ? size >= compared : size == compared) &&
            std::strncmp(*names, entry, compared) == 0)
            return true;
    }
    return false;
}

/// The container's environment is the image's: it holds where the launch says nothing else, and
/// the policy has nothing against it.
void add_image_environment(Command& command) {
    char** merged = make_list(count_of(command.env) + count_of(::environ));
    std::size_t count = 0;
    for (char** entry = command.env; *entry != nullptr; ++entry) merged[count++] = *entry;
    for (char** entry = ::environ; *entry != nullptr; ++entry) {
        const bool dropped = matches(command.drop, *entry) && !matches(command.keep, *entry);
        if (!dropped && !names(command.env, *entry)) merged[count++] = *entry;
    }
    command.env = merged;
}

/// The shims' folder comes first where commands are looked up.
void add_shims(Command& command) {
    for (char** entry = command.env; *entry != nullptr; ++entry) {
        if (std::strncmp(*entry, "PATH=", 5) != 0) continue;
        char* longer = nullptr;
        if (::asprintf(&longer, "PATH=%s:%s", kShimTools, *entry + 5) < 0) die("no memory");
        *entry = longer;
        return;
    }
}

void tell(char kind, std::int32_t value, int fd = -1) {
    (void)send_message(kInitControlFd, {kind, value}, &fd, fd >= 0 ? 1 : 0);
}

/// A terminal of the sandbox's own /dev/pts, so that ttyname(3) works in the command.
int open_terminal(const Command& command, uid_t owner, char* slave, std::size_t size) {
    // Whoever opens the master owns the slave.
    if (owner != 0 && ::seteuid(owner) != 0) die("seteuid");
    const int master = ::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    int unlock = 0;
    unsigned number = 0;
    if (master < 0 || ::ioctl(master, TIOCSPTLCK, &unlock) != 0 ||
        ::ioctl(master, TIOCGPTN, &number) != 0) {
        die("cannot open a terminal");
    }
    if (owner != 0 && ::seteuid(0) != 0) die("seteuid");
    std::snprintf(slave, size, "/dev/pts/%u", number);
    winsize window{};
    window.ws_row = static_cast<unsigned short>(command.head.rows);
    window.ws_col = static_cast<unsigned short>(command.head.cols);
    if (window.ws_row != 0 && window.ws_col != 0) ::ioctl(master, TIOCSWINSZ, &window);
    return master;
}

/// From the container's root to its user, for good.
void become(uid_t user) {
    // The kernel shall choose a command when memory runs out, never the door.
    constexpr char kOomScore[] = "500";
    const int score = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (score >= 0) (void)!::write(score, kOomScore, sizeof kOomScore - 1);
    if (::setgroups(0, nullptr) != 0 || ::setresgid(user, user, user) != 0 ||
        ::setresuid(user, user, user) != 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        die("cannot become the machine's user");
    ::umask(0022);
}

/// The run's guard where it is a process of its own here, and our end to it.
struct Beside {
    pid_t pid = 0;
    int fd = -1;
};
Beside g_beside;

/// Stands still until the guard traces this process; one beside that does not trace says at least
/// that its shims are in their place.
void wait_for_guard() {
    int pair[2];
    char traced = 0;
    const int guard = g_beside.pid != 0 ? g_beside.fd : kInitControlFd;
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 ||
        !send_message(guard, {kInitTraceMe, 0}, &pair[1], 1))
        die("nobody guards the command");
    ::close(pair[1]);
    // Its end says that the supervisor could not, and has said why.
    if (::read(pair[0], &traced, 1) != 1) ::_exit(125);
}

/// The value of a variable of the command's environment; "" without it.
const char* variable(const Command& command, const char* name) {
    const std::size_t size = std::strlen(name);
    for (char** entry = command.env; *entry != nullptr; ++entry) {
        if (std::strncmp(*entry, name, size) == 0 && (*entry)[size] == '=')
            return *entry + size + 1;
    }
    return "";
}

/// Enters a folder below `base`, making what is missing of it. No symlink is followed: one might
/// lead out. False with errno.
bool make_and_enter(const char* base, const char* cwd) {
    const std::size_t size = std::strlen(base);
    if (size == 0 || std::strncmp(cwd, base, size) != 0 || cwd[size] != '/') {
        errno = ENOENT;
        return false;
    }
    int folder = ::open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
    char* rest = ::strdup(cwd + size);
    char* left = nullptr;
    for (const char* name = ::strtok_r(rest, "/", &left); name != nullptr && folder >= 0;
         name = ::strtok_r(nullptr, "/", &left)) {
        if (std::strcmp(name, "..") == 0) {
            errno = EINVAL;
            return false;
        }
        if (::mkdirat(folder, name, 0755) != 0 && errno != EEXIST) return false;
        folder = ::openat(folder, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    return folder >= 0 && ::fchdir(folder) == 0;  // what else is open here ends with the exec
}

/// A folder that no file was sent of (build/, ignored or empty) is made rather than missed.
void enter_folder(const Command& command, const RunOptions& options) {
    if (::chdir(command.cwd) == 0) return;
    if (errno == ENOENT && !options.tool &&
        make_and_enter(variable(command, "BERTH_WORKSPACE"), command.cwd))
        return;
    const int why = errno;
    if (!options.tool) tell(kInitNoFolder, why);
    ::dprintf(2, "berth: cannot enter %s: %s\n", command.cwd, ::strerror(why));
    ::_exit(126);
}

[[noreturn]] void run_command(
    const Command& command, const char* slave, const RunOptions& options
) {
    ::setsid();
    if (options.connection >= 0) become(options.user);
    if (command.head.tty != 0) {
        const int terminal = ::open(slave, O_RDWR);
        if (terminal < 0 || ::ioctl(terminal, TIOCSCTTY, 0) != 0) die("cannot take the terminal");
        for (int i = 0; i < 3; ++i) ::dup2(terminal, i);
        if (terminal > 2) ::close(terminal);
    }
    enter_folder(command, options);
    if ((command.head.guard & (kGuardTraced | kGuardBeside)) != 0) wait_for_guard();
    ::syscall(SYS_close_range, 3U, ~0U, 0U);
    if ((command.head.guard & kGuardFiltered) != 0) install_filter();
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::environ = command.env;  // execvp looks PATH up in here
    ::execvp(command.argv[0], command.argv);
    if (errno == ENOENT) {
        ::dprintf(2, "berth: %s: not found\n", command.argv[0]);
        ::_exit(127);
    }
    ::dprintf(2, "berth: %s: %s\n", command.argv[0], ::strerror(errno));
    ::_exit(126);
}

/// Starts the guard that is to trace the command from in here. Before the command is forked.
void start_guard(const RunOptions& options) {
    int pair[2];
    const int on = 1;  // before anybody sends: whose word it is comes along
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
        ::setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0)
        die("socketpair");
    const pid_t pid = ::fork();
    if (pid < 0) die("fork");
    if (pid > 0) {
        ::close(pair[1]);
        ::close(kInitGuardFd);
        if (options.shims >= 0) ::close(options.shims);
        g_beside = {pid, pair[0]};
        return;
    }
    // Above what is about to be placed, and then only what the guard is to have: the reader of the
    // command's output must see its end.
    constexpr int kAbove = 64;
    const int words = ::fcntl(kInitGuardFd, F_DUPFD_CLOEXEC, kAbove);
    const int init = ::fcntl(pair[1], F_DUPFD_CLOEXEC, kAbove);
    const int shims = ::fcntl(options.shims, F_DUPFD_CLOEXEC, kAbove);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 3; ++i) ::dup2(null, i);
    ::dup2(words, kInitControlFd);
    ::dup2(init, kBesideInitFd);
    ::dup2(shims, kBesideShimsFd);
    ::syscall(SYS_close_range, static_cast<unsigned>(kBesideShimsFd) + 1U, ~0U, 0U);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    char user[16];
    std::snprintf(user, sizeof user, "%u", options.user);
    const char* argv[] = {kBesideProgram, "--guard", user, nullptr};
    ::execv(kBesideProgram, const_cast<char**>(argv));
    ::_exit(125);
}

/// Ends everything of the run. Alone in its namespace, the exit of this process does.
void end_all(const RunOptions& options) {
    if (options.connection < 0) return;
    // The guard sees the end of this, waits for the last of the tree and writes down what it saw.
    if (g_beside.fd >= 0) ::close(std::exchange(g_beside.fd, -1));
    end_tree(options.user, g_beside.pid);
}

/// Reads one message of the supervisor. Its end means the supervisor is dead, and so is this run.
void obey(pid_t command, const RunOptions& options) {
    InitMessage message{};
    const ssize_t got = ::recv(kInitControlFd, &message, sizeof message, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0 || message.kind == kInitKill) {
        end_all(options);
        ::_exit(137);
    }
    if (message.kind == kInitStop && options.connection >= 0)
        return tell(kInitStopped, stop_tree(g_beside.pid));
    if (got == static_cast<ssize_t>(sizeof message) && message.kind == kInitSignal) {
        // What asks to end asks everybody, also who left for a session of its own.
        if (message.value == SIGTERM) return (void)signal_descendants(SIGTERM, g_beside.pid);
        // The leader may have moved to another group; then it alone is told.
        if (::kill(-command, message.value) != 0) ::kill(command, message.value);
    }
}

/// Reaps everything that is dead. True when the command itself is, with its wait status, or its
/// guard, whose death is the command's.
bool reap(pid_t command, int& status) {
    for (;;) {
        int one = 0;
        const pid_t pid = ::waitpid(-1, &one, WNOHANG);
        if (pid <= 0) return false;
        if (pid == g_beside.pid) {
            g_beside.pid = 0;
            status = SIGKILL;
            return true;
        }
        if (pid != command) continue;
        status = one;
        return true;
    }
}

void tell_end(const RunOptions& options, int status, const MemoryKills& before) {
    if (options.tool) {
        end_all(options);
        (void)send_message(options.connection, {kInitExited, status}, nullptr, 0);
        return;
    }
    if (options.connection >= 0 && MemoryKills::read().count > before.count)
        tell(kInitMemory, memory_limit_mib());
    tell(kInitExited, status);
    end_all(options);
}

pid_t start(const Command& command, const RunOptions& options) {
    char slave[32] = "";
    const int master =
        command.head.tty != 0 ? open_terminal(command, options.user, slave, sizeof slave) : -1;
    const pid_t pid = ::fork();
    if (pid < 0) die("fork");
    if (pid == 0) run_command(command, slave, options);
    if (!options.tool) tell(kInitStarted, 0, master);
    // Nothing of the run's stays open here: the reader of the output must see its end.
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 3 && null >= 0; ++i) ::dup2(null, i);
    if (master >= 0) ::close(master);
    return pid;
}

}  // namespace

int run(const RunOptions& options) {
    ::prctl(PR_SET_NAME, "berth-init");
    ::prctl(PR_SET_DUMPABLE, 0);  // a command of the same uid must not trace us
    Command command = read_command();
    if (command.head.argc == 0) {
        errno = EINVAL;
        die("no command");
    }
    MemoryKills before;
    if (options.connection >= 0) {
        // Whoever of the run loses its parent becomes our child: end_tree() misses nobody.
        if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) die("cannot become a subreaper");
        if (!options.tool) add_image_environment(command);
        if ((command.head.guard & kGuardShims) != 0) add_shims(command);
        before = MemoryKills::read();
    }
    ::fcntl(kInitControlFd, F_SETFD, FD_CLOEXEC);
    sigset_t children;
    ::sigemptyset(&children);
    ::sigaddset(&children, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &children, nullptr);
    const int signals = ::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) die("signalfd");
    if ((command.head.guard & kGuardBeside) != 0) start_guard(options);
    const pid_t pid = start(command, options);
    for (;;) {
        pollfd wait[3] = {
            {options.tool ? -1 : kInitControlFd, POLLIN, 0},
            {signals, POLLIN, 0},
            {options.connection, POLLIN, 0}};
        if (::poll(wait, 3, -1) < 0 && errno != EINTR) ::_exit(125);
        signalfd_siginfo info;
        while (::read(signals, &info, sizeof info) > 0) {
        }
        int status = 0;
        if (reap(pid, status)) {
            tell_end(options, status, before);
            return 0;
        }
        if (wait[0].revents != 0) obey(pid, options);
        if (wait[2].revents != 0) {  // whoever asked for it is gone
            end_all(options);
            return 137;
        }
    }
}

}  // namespace berth::node::init
