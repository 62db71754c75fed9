// SPDX-License-Identifier: Apache-2.0
// fork and exec with every allocation before the fork and every failure told over a pipe.
#include "process/spawn.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "core/text.hpp"

namespace berth::process {
namespace {

enum class Step : int { kOther, kDescriptors, kNamespace, kUser, kDirectory, kExec };

struct Failure {
    Step step;
    int error;
};

/// Everything the child needs, made before fork.
struct Plan {
    const SpawnSpec* spec;
    std::vector<char*> argv;
    std::vector<char*> env;
    char** envp;
    std::string executable;
    pid_t parent;
    int report;               // write end of the failure pipe
    std::vector<int> parked;  // scratch for move_descriptors, sized before fork
};

[[noreturn]] void fail(const Plan& plan, int report, Step step) {
    const Failure failure{step, errno};
    (void)plan;
    const ssize_t ignored = ::write(report, &failure, sizeof failure);
    (void)ignored;
    ::_exit(127);
}

/// Puts the wanted descriptors at their numbers. First all are copied above every target, so that
/// no copy overwrites a source that is still needed. Returns the report descriptor's new number.
int move_descriptors(Plan& plan) {
    const SpawnSpec& spec = *plan.spec;
    int floor = 3;
    for (const auto& pair : spec.fds) floor = std::max(floor, pair.second + 1);
    const int report = ::fcntl(plan.report, F_DUPFD_CLOEXEC, floor);
    if (report < 0) fail(plan, plan.report, Step::kDescriptors);
    const int standard[3] = {spec.stdin_fd, spec.stdout_fd, spec.stderr_fd};
    int parked[3] = {-1, -1, -1};
    for (int i = 0; i < 3; ++i) {
        if (standard[i] == kInherit) continue;
        parked[i] = standard[i] == kNull ? ::open("/dev/null", O_RDWR | O_CLOEXEC)
                                         : ::fcntl(standard[i], F_DUPFD_CLOEXEC, floor);
        if (parked[i] < 0) fail(plan, report, Step::kDescriptors);
    }
    for (std::size_t i = 0; i < spec.fds.size(); ++i) {
        plan.parked[i] = ::fcntl(spec.fds[i].first, F_DUPFD_CLOEXEC, floor);
        if (plan.parked[i] < 0) fail(plan, report, Step::kDescriptors);
    }
    for (int i = 0; i < 3; ++i) {
        if (parked[i] >= 0 && ::dup2(parked[i], i) < 0) fail(plan, report, Step::kDescriptors);
    }
    for (std::size_t i = 0; i < spec.fds.size(); ++i) {
        if (::dup2(plan.parked[i], spec.fds[i].second) < 0) fail(plan, report, Step::kDescriptors);
    }
    return report;
}

void close_others(const Plan& plan) {
    unsigned next = 3;
    // The targets are few; the gaps between them are marked close-on-exec (not closed: `report`
    // lives there).
    for (;;) {
        unsigned lowest = ~0U;
        for (const auto& pair : plan.spec->fds) {
            const auto number = static_cast<unsigned>(pair.second);
            if (number >= next) lowest = std::min(lowest, number);
        }
        if (lowest == ~0U) break;
        if (lowest > next) ::syscall(SYS_close_range, next, lowest - 1, CLOSE_RANGE_CLOEXEC);
        next = lowest + 1;
    }
    ::syscall(SYS_close_range, next, ~0U, CLOSE_RANGE_CLOEXEC);
}

void reset_signals() {
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; ++number) {
        if (number != SIGKILL && number != SIGSTOP) ::sigaction(number, &plain, nullptr);
    }
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

#ifdef __SANITIZE_THREAD__
/// ThreadSanitizer gives the forked child of a one-threaded program a thread of its own again, and
/// a process with two threads may not enter a user namespace (EINVAL). Of a program with several
/// threads it leaves the child alone, so there is one more that only sleeps.
void have_two_threads() {
    static const bool once = [] {
        std::thread([] {
            while (true) ::pause();
        }).detach();
        return true;
    }();
    (void)once;
}
#endif

/// Async-signal-safe calls only: other threads of the parent may have held any lock at the fork.
[[noreturn]] void run_child(Plan& plan) {
    const SpawnSpec& spec = *plan.spec;
    if (spec.new_session)
        ::setsid();
    else if (spec.new_group)
        ::setpgid(0, 0);
    const int report = move_descriptors(plan);
    for (const int space : spec.namespaces) {
        if (::setns(space, 0) != 0) fail(plan, report, Step::kNamespace);
    }
    if (spec.user) {
        // Raw calls: glibc's wrappers would try to change the parent's threads too.
        if (::syscall(SYS_setgroups, 0, nullptr) != 0 ||
            ::syscall(SYS_setresgid, spec.user->gid, spec.user->gid, spec.user->gid) != 0 ||
            ::syscall(SYS_setresuid, spec.user->uid, spec.user->uid, spec.user->uid) != 0) {
            fail(plan, report, Step::kUser);
        }
    }
    if (spec.no_new_privileges && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        fail(plan, report, Step::kUser);
    // After the change of user, which clears it.
    if (spec.death_signal != 0) {
        ::prctl(PR_SET_PDEATHSIG, spec.death_signal);
        if (::getppid() != plan.parent) ::_exit(127);
    }
    if (!spec.cwd.empty() && ::chdir(spec.cwd.c_str()) != 0) fail(plan, report, Step::kDirectory);
    close_others(plan);
    reset_signals();
    ::execve(plan.executable.c_str(), plan.argv.data(), plan.envp);
    fail(plan, report, Step::kExec);
}

Error describe(const SpawnSpec& spec, const Failure& failure) {
    const std::string name = spec.executable.empty() ? spec.argv.front() : spec.executable;
    Error error = system_error("cannot start " + name, failure.error);
    switch (failure.step) {
        case Step::kExec:
            error.code = failure.error == ENOENT ? "not_found" : "not_executable";
            error.fault = failure.error == ENOENT ? Fault::kNotFound : Fault::kInvalid;
            break;
        case Step::kDirectory:
            error = system_error("cannot enter " + spec.cwd, failure.error);
            error.code = "bad_directory";
            error.fault = Fault::kInvalid;
            break;
        case Step::kNamespace: error.code = "no_namespace"; break;
        case Step::kUser: error.code = "no_privilege"; break;
        case Step::kDescriptors:
        case Step::kOther: break;
    }
    return error;
}

void fill_arguments(const SpawnSpec& spec, Plan& plan) {
    for (const auto& word : spec.argv) plan.argv.push_back(const_cast<char*>(word.c_str()));
    plan.argv.push_back(nullptr);
    plan.envp = ::environ;
    if (spec.env) {
        for (const auto& word : *spec.env) plan.env.push_back(const_cast<char*>(word.c_str()));
        plan.env.push_back(nullptr);
        plan.envp = plan.env.data();
    }
    plan.parked.resize(spec.fds.size());
}

}  // namespace

ExitStatus to_exit_status(int wait_status) {
    if (WIFSIGNALED(wait_status)) return {128 + WTERMSIG(wait_status), WTERMSIG(wait_status)};
    return {WEXITSTATUS(wait_status), 0};
}

Result<Child> spawn(const SpawnSpec& spec) {
    if (spec.argv.empty()) return invalid("not_found", "nothing to start: argv is empty");
    BERTH_ASSIGN(Pipe report, make_pipe());
    Plan plan{&spec, {}, {}, nullptr, spec.executable, ::getpid(), report.write.get(), {}};
    if (plan.executable.empty()) {
        BERTH_ASSIGN(plan.executable, find_program(spec.argv.front()));
    }
    fill_arguments(spec, plan);

    // No handler of ours may run in the child before reset_signals().
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
#ifdef __SANITIZE_THREAD__
    if (!spec.namespaces.empty()) have_two_threads();  // here: it takes no signal either
#endif
    const pid_t pid = ::fork();
    if (pid == 0) run_child(plan);
    const int fork_error = errno;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (pid < 0) return system_error("cannot fork", fork_error);

    Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    report.write.reset();
    Failure failure{};
    ssize_t got = 0;
    do {
        got = ::read(report.read.get(), &failure, sizeof failure);
    } while (got < 0 && errno == EINTR);
    if (got == static_cast<ssize_t>(sizeof failure)) {
        ::waitpid(pid, nullptr, 0);
        return describe(spec, failure);
    }
    // The child is not reaped yet, so its stat is there even when it has ended already.
    BERTH_ASSIGN(const ProcessId id, ProcessId::of(pid));
    return Child(id, std::move(pidfd));
}

std::optional<ExitStatus> Child::poll() {
    if (status_ || id_.pid <= 0) return status_;
    int status = 0;
    if (::waitpid(id_.pid, &status, WNOHANG) == id_.pid) status_ = to_exit_status(status);
    return status_;
}

Result<ExitStatus> Child::wait(milliseconds patience) {
    if (id_.pid <= 0) return not_found("no_process", "no process was started");
    const auto until = std::chrono::steady_clock::now() + patience;
    for (;;) {
        if (const auto status = poll()) return *status;
        const auto left =
            std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
        if (left.count() <= 0)
            return deadline("timeout", "process " + std::to_string(id_.pid) + " still runs");
        pollfd wait{pidfd_.get(), POLLIN, 0};
        const int ready = ::poll(&wait, 1, static_cast<int>(left.count()));
        if (ready > 0 && !poll()) return not_found("no_process", "process was reaped elsewhere");
    }
}

Result<void> Child::signal(int number) const {
    if (status_ || id_.pid <= 0) return not_found("no_process", "the process is gone");
    if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0) != 0) {
        return not_found("no_process", "the process is gone");
    }
    return {};
}

void Child::kill() {
    if (status_ || id_.pid <= 0) return;
    (void)signal(SIGKILL);  // an error means it ended by itself
    int status = 0;
    while (::waitpid(id_.pid, &status, 0) < 0 && errno == EINTR) {
    }
    status_ = to_exit_status(status);
}

Result<std::string> find_program(const std::string& name) {
    if (name.find('/') != std::string::npos) return name;
    const char* path = std::getenv("PATH");
    const std::string all =
        std::string(path != nullptr ? path : "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin";
    for (const std::string_view folder : split(all, ':')) {
        if (folder.empty()) continue;
        std::string candidate = std::string(folder) + "/" + name;
        if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    }
    return not_found(
        "not_found", name + " was not found in PATH; install it or add its folder to PATH"
    );
}

Result<Pipe> make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return system_error("cannot make a pipe", errno);
    return Pipe{Fd(ends[0]), Fd(ends[1])};
}

Result<std::pair<Fd, Fd>> make_socket_pair(int type) {
    int ends[2];
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0)
        return system_error("cannot make a socket pair", errno);
    return std::pair<Fd, Fd>{Fd(ends[0]), Fd(ends[1])};
}

}  // namespace berth::process
