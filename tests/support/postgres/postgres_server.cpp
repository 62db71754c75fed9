// SPDX-License-Identifier: Apache-2.0
// Starts PostgreSQL the way an administrator would, minus everything a test does not need.
#include "support/postgres/postgres_server.hpp"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <thread>
#include <vector>

#include "core/fd.hpp"
#include "core/time.hpp"

namespace berth::testing {
namespace {

constexpr seconds kInitLimit{60};
constexpr seconds kStartLimit{30};
constexpr seconds kStopLimit{10};
constexpr milliseconds kPollPause{5};

/// The newest installation: Debian keeps the server's programs out of PATH.
std::filesystem::path find_program(const std::string& name) {
    std::filesystem::path best;
    int best_version = -1;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql", ignored)) {
        const int version = std::atoi(entry.path().filename().c_str());
        if (version > best_version && std::filesystem::exists(entry.path() / "bin" / name)) {
            best = entry.path() / "bin" / name;
            best_version = version;
        }
    }
    return best.empty() ? std::filesystem::path(name) : best;
}

bool wait_for(std::chrono::milliseconds limit, const std::function<bool()>& done) {
    const SteadyTime deadline = std::chrono::steady_clock::now() + limit;
    while (!done()) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        std::this_thread::sleep_for(kPollPause);
    }
    return true;
}

/// In the child: die with the parent, drop root, write to the log, become the program.
[[noreturn]] void become(
    const std::vector<std::string>& arguments,
    const std::filesystem::path& log,
    const passwd* user,
    pid_t parent
) {
    // A group of its own: a terminal's Ctrl-C ends the test first, and initdb is killed with its
    // children.
    ::setpgid(0, 0);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (out < 0 || in < 0) ::_exit(126);
    ::dup2(in, 0);
    ::dup2(out, 1);
    ::dup2(out, 2);
    if (user != nullptr && (::setgroups(0, nullptr) != 0 || ::setgid(user->pw_gid) != 0 ||
                            ::setuid(user->pw_uid) != 0))
        ::_exit(126);
    // After setuid, which clears it; SIGQUIT is an immediate shutdown that takes the backends
    // along.
    ::prctl(PR_SET_PDEATHSIG, SIGQUIT);
    if (::getppid() != parent) ::_exit(126);
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
        argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
}

pid_t spawn(const std::vector<std::string>& arguments, const std::filesystem::path& log) {
    const passwd* const user = ::geteuid() == 0 ? ::getpwnam("postgres") : nullptr;
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) become(arguments, log, user, parent);
    return pid;
}

/// True when the child has ended; its status then.
bool reap(pid_t pid, int& status) { return ::waitpid(pid, &status, WNOHANG) == pid; }

std::string tail(const std::filesystem::path& log) {
    const auto text = read_file(log);
    if (!text) return "(no log)";
    return text->size() > 2000 ? text->substr(text->size() - 2000) : *text;
}

bool can_connect(const std::filesystem::path& socket_path) {
    const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket_path.c_str(), sizeof address.sun_path - 1);
    return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

PostgresServer::PostgresServer() : PostgresServer(Options{}) {}
PostgresServer::PostgresServer(Options options) : options_(options) {}

PostgresServer::~PostgresServer() {
    stop();
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

Result<void> PostgresServer::start() {
    // Directly in /tmp: a unix socket's path has 107 characters, and TMPDIR may be long.
    std::string pattern = "/tmp/berth-pg-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) return system_error("mkdtemp", errno);
    folder_ = pattern;
    if (::geteuid() == 0) {
        const passwd* const user = ::getpwnam("postgres");
        if (user == nullptr)
            return unavailable(
                "no_postgres_user", "PostgreSQL refuses root and there is no user postgres"
            );
        if (::chown(pattern.c_str(), user->pw_uid, user->pw_gid) != 0)
            return system_error("chown", errno);
    }
    BERTH_TRY(run_initdb());
    return launch();
}

Result<void> PostgresServer::run_initdb() {
    const auto log = folder_ / "initdb.log";
    const pid_t pid = spawn(
        {find_program("initdb"),
         "-D",
         folder_ / "data",
         "-U",
         "postgres",
         "-A",
         "trust",
         "-E",
         "UTF8",
         "--locale=C",
         "--no-sync",
         "--no-instructions"},
        log
    );
    if (pid < 0) return system_error("fork", errno);
    int status = 0;
    if (!wait_for(kInitLimit, [&] { return reap(pid, status); })) {
        ::kill(-pid, SIGKILL);
        ::waitpid(pid, &status, 0);
        return unavailable("initdb", "initdb did not end in time");
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return unavailable("initdb", "initdb failed: " + tail(log));
    return {};
}

Result<void> PostgresServer::launch() {
    const std::string fsync = options_.fsync ? "on" : "off";
    pid_ = spawn(
        {find_program("postgres"),
         "-D",
         folder_ / "data",
         "-k",
         folder_,
         "-c",
         "listen_addresses=",
         "-c",
         "fsync=" + fsync,
         "-c",
         "full_page_writes=" + fsync,
         "-c",
         "max_connections=" + std::to_string(options_.max_connections),
         "-c",
         "shared_buffers=64MB",
         "-c",
         "unix_socket_permissions=0777",
         "-c",
         "dynamic_shared_memory_type=mmap"},
        folder_ / "postgres.log"
    );
    if (pid_ < 0) return system_error("fork", errno);
    return wait_ready();
}

Result<void> PostgresServer::wait_ready() {
    // The last word of postmaster.pid is the documented sign of readiness.
    int status = 0;
    bool ended = false;
    const bool ready = wait_for(kStartLimit, [&] {
        ended = reap(pid_, status);
        if (ended) return true;
        const auto text = read_file(folder_ / "data" / "postmaster.pid");
        return text && text->starts_with(std::to_string(pid_) + "\n") &&
               text->find("\nready") != std::string::npos && can_connect(folder_ / ".s.PGSQL.5432");
    });
    if (ended) pid_ = -1;
    if (ready && !ended) return {};
    if (!ended) stop();
    return unavailable("postgres", "PostgreSQL did not start: " + tail(folder_ / "postgres.log"));
}

std::string PostgresServer::conninfo(std::string_view user, std::string_view database) const {
    return "host=" + folder_.string() + " port=5432 user=" + std::string(user) +
           " dbname=" + std::string(database);
}

void PostgresServer::kill9() {
    if (pid_ <= 0) return;
    // Stopped first: it must not start new backends, nor reap these and let their ids be reused.
    int status = 0;
    ::kill(pid_, SIGSTOP);
    ::waitpid(pid_, &status, WUNTRACED);
    // Each backend leads a session of its own, so the group alone would leave them serving.
    std::vector<Fd> backends;
    std::ifstream children(
        "/proc/" + std::to_string(pid_) + "/task/" + std::to_string(pid_) + "/children"
    );
    for (pid_t child = 0; children >> child;) {
        backends.emplace_back(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
        ::kill(child, SIGKILL);
    }
    if (WIFSTOPPED(status)) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, &status, 0);
    }
    pid_ = -1;
    // A new server refuses to start for as long as one of them still holds the shared memory.
    for (const Fd& backend : backends) {
        pollfd end{backend.get(), POLLIN, 0};
        ::poll(&end, 1, static_cast<int>(milliseconds(kStopLimit).count()));
    }
}

Result<void> PostgresServer::restart() {
    if (running()) stop();
    return launch();
}

void PostgresServer::stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGINT);  // fast shutdown
    int status = 0;
    if (wait_for(kStopLimit, [&] { return reap(pid_, status); })) {
        pid_ = -1;
        return;
    }
    kill9();
}

}  // namespace berth::testing
