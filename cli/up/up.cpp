// SPDX-License-Identifier: Apache-2.0
// `berth up` and `berth down`: the foreground, the daemon, and how they tell each other how it
// went.
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <csignal>
#include <cstring>

#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/credentials.hpp"
#include "cli/exit_codes.hpp"
#include "cli/paths.hpp"
#include "cli/up/machines.hpp"
#include "cli/up/supervisor.hpp"
#include "cli/up/users.hpp"
#include "core/fd.hpp"
#include "core/json.hpp"
#include "process/file_lock.hpp"
#include "process/process_id.hpp"

namespace berth::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kDefaultPort = 7480;
// What the daemon may need beyond its own patience before it tells: making a database.
constexpr seconds kPreparation{180};

up::Layout layout_of(const Arguments& arguments) {
    const std::string data = arguments.get("data");
    std::error_code ignored;
    return {data.empty() ? default_data_folder() : fs::absolute(data, ignored).lexically_normal()};
}

Result<milliseconds> duration_of(const Arguments& arguments, std::string_view fallback) {
    auto time = parse_duration(arguments.get("timeout", fallback));
    if (time) return time;
    return invalid(
        "usage",
        fmt::format(
            "--timeout must be a duration like 90s, not '{}'; see 'berth help {}'",
            arguments.get("timeout"),
            arguments.command->name
        )
    );
}

Result<up::SupervisorOptions> options_of(const Arguments& arguments) {
    up::SupervisorOptions out;
    out.layout = layout_of(arguments);
    const std::string port = arguments.get("port", std::to_string(kDefaultPort));
    const auto [end, error] =
        std::from_chars(port.data(), port.data() + port.size(), out.http_port);
    if (error != std::errc() || end != port.data() + port.size() || out.http_port < 1 ||
        out.http_port > 65535) {
        return invalid(
            "usage",
            fmt::format(
                "--port must be a number from 1 to 65535, not '{}'; see 'berth help up'", port
            )
        );
    }
    BERTH_ASSIGN(out.patience, duration_of(arguments, "60s"));
    return out;
}

// As the caller: folders, the token, and the caller's own settings. As root this is the last of
// root's work.
/// Before anything is written: a start that cannot succeed must not log the user out of whoever has
/// the port.
Result<void> check_port_free(int port) {
    const Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int reuse = 1;
    ::setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    if (::bind(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
        return {};
    return conflict(
        "port_taken",
        fmt::format(
            "port {} on 127.0.0.1 cannot be used ({}); choose another with --port",
            port,
            std::strerror(errno)
        )
    );
}

Result<void> prepare(const up::SupervisorOptions& options) {
    BERTH_TRY(check_port_free(options.http_port));
    BERTH_TRY(up::make_folders(options.layout));
    BERTH_ASSIGN(const Secret token, up::bootstrap_token(options.layout));
    BERTH_TRY(up::prepare_user(options.layout));
    const std::string url = fmt::format("http://127.0.0.1:{}", options.http_port);
    BERTH_TRY(store_token(url, token));
    if (options.http_port != kDefaultPort) BERTH_TRY(store_server(url, false));
    return {};
}

void greet(const Context& context, const up::SupervisorOptions& options, bool detached) {
    const std::string url = fmt::format("http://127.0.0.1:{}", options.http_port);
    if (context.json()) {
        Json out = Json::object();
        out.set("url", url)
            .set("data", options.layout.data.string())
            .set("token_file", token_path(url).string())
            .set("ready", true);
        context.print(out.dump() + "\n");
        return;
    }
    context.print(fmt::format("Berth is ready at {}\n", url));
    context.print(
        fmt::format("dashboard: {}/ (log in with the token in {})\n", url, token_path(url).string())
    );
    context.print("this user's CLI is logged in: berth run -- <command>\n");
    if (context.server() != url)
        context.print(
            fmt::format("this shell talks to {}: use --server {}\n", context.server(), url)
        );
    context.print(
        detached ? fmt::format("stop it with '{}'\n", up::command_for(options.layout, "down"))
                 : "stop it with Ctrl-C\n"
    );
}

// What `berth down` and Ctrl-C leave behind, in words a user can act on.
bool tell_left(
    const Context& context, const up::Layout& layout, const std::vector<up::LeftMachine>& left
) {
    bool good = true;
    for (const auto& one : left) {
        if (!one.trouble.empty()) {
            good = false;
            context.complain(fmt::format("machine {} still runs: {}", one.machine, one.trouble));
            continue;
        }
        context.progress(fmt::format(
            "machine {} goes on with {} run{}: the next '{}' takes it up again, '{} --all' ends it",
            one.machine,
            one.runs,
            one.runs == 1 ? "" : "s",
            up::command_for(layout, "up"),
            up::command_for(layout, "down")
        ));
    }
    return good;
}

int run_in_foreground(const Context& context, up::SupervisorOptions options) {
    int code = 0;
    options.progress = [&](const std::string& text) { context.progress(text); };
    options.on_started = [&](const Result<void>& ready) {
        if (ready) {
            greet(context, options, false);
        } else {
            context.complain(ready.error());
        }
    };
    Result<void> done = up::become_user(options.layout);
    if (done) done = up::supervise(options);
    if (!done) return fail(context, done.error());
    if (!tell_left(context, options.layout, up::end_machines(options.layout, false))) code = 1;
    return code;
}

// The daemon's side of the pipe: one kind letter, the text, a NUL.
void tell(int fd, char kind, const std::string& text) { write_all(fd, kind + text + '\0'); }

[[noreturn]] void run_as_daemon(up::SupervisorOptions options, Fd pipe) {
    ::setsid();
    ::umask(077);
    Fd told(std::move(pipe));
    options.progress = [&](const std::string& text) {
        if (told) tell(told.get(), 'P', text);
    };
    options.on_started = [&](const Result<void>& ready) {
        tell(told.get(), ready ? 'R' : 'N', ready ? "" : ready.error().message);
        told.reset();
    };
    Result<void> done = up::become_user(options.layout);
    if (done) {
        const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
        const Fd log(::open(
            (options.layout.log() / "up.log").c_str(),
            O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
            0600
        ));
        ::dup2(null.get(), STDIN_FILENO);
        ::dup2(log ? log.get() : null.get(), STDOUT_FILENO);
        ::dup2(log ? log.get() : null.get(), STDERR_FILENO);
        done = up::supervise(options);
    }
    if (!done && told) tell(told.get(), 'F', done.error().message);
    ::_exit(done ? 0 : 1);
}

int wait_for_daemon(const Context& context, const up::SupervisorOptions& options, const Fd& pipe) {
    const auto end = std::chrono::steady_clock::now() + options.patience + kPreparation;
    std::string pending;
    for (;;) {
        const auto left =
            std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now())
                .count();
        pollfd polled{pipe.get(), POLLIN, 0};
        if (left <= 0 || ::poll(&polled, 1, static_cast<int>(left)) == 0) {
            return fail(
                context,
                deadline("timeout", "the deployment did not tell how it goes; see 'berth status'")
            );
        }
        std::array<char, 4096> buffer;
        const auto count = ::read(pipe.get(), buffer.data(), buffer.size());
        if (count == 0)
            return fail(
                context,
                internal(
                    "daemon_died",
                    "the deployment ended while it started; see the logs in " +
                        options.layout.log().string()
                )
            );
        if (count < 0) continue;
        pending.append(buffer.data(), static_cast<std::size_t>(count));
        for (auto at = pending.find('\0'); at != std::string::npos; at = pending.find('\0')) {
            const char kind = pending[0];
            const std::string text = pending.substr(1, at - 1);
            pending.erase(0, at + 1);
            if (kind == 'P') {
                context.progress(text);
            } else if (kind == 'R') {
                greet(context, options, true);
                return 0;
            } else {
                return fail(context, unavailable("not_ready", text));
            }
        }
    }
}

int run_detached(const Context& context, up::SupervisorOptions options) {
    auto pipe = process::make_pipe();
    if (!pipe) return fail(context, pipe.error());
    const pid_t child = ::fork();  // no threads yet
    if (child < 0) return fail(context, system_error("cannot start the daemon", errno));
    if (child == 0) {
        pipe->read.reset();
        run_as_daemon(std::move(options), std::move(pipe->write));
    }
    pipe->write.reset();
    return wait_for_daemon(context, options, pipe->read);
}

}  // namespace

int run_up(Context& context, const Arguments& arguments) {
    auto options = options_of(arguments);
    if (!options) return fail(context, options.error());
    if (process::FileLock::is_held(options->layout.lock()))
        return fail(context, up::already_up(options->layout));
    if (const auto prepared = prepare(*options); !prepared) return fail(context, prepared.error());
    // The first start on another port makes it this user's default: what is told counts from now.
    auto now = Context::make(arguments);
    if (!now) return fail(context, now.error());
    context = std::move(*now);
    return arguments.has("detach") ? run_detached(context, std::move(*options))
                                   : run_in_foreground(context, std::move(*options));
}

namespace {

// The machines' part of `berth down`, which also mends an earlier one that left some.
int end_down(
    const Context& context, const Arguments& arguments, const up::Layout& layout, bool stopped
) {
    const auto left = up::end_machines(layout, arguments.has("all"));
    const bool good = tell_left(context, layout, left);
    if (context.json()) {
        Json machines = Json::array();
        for (const auto& one : left)
            machines.push(Json::object()
                              .set("machine", one.machine)
                              .set("runs", static_cast<std::int64_t>(one.runs))
                              .set("trouble", one.trouble));
        context.print(
            Json::object().set("stopped", stopped).set("left", std::move(machines)).dump() + "\n"
        );
    }
    return good ? 0 : 1;
}

}  // namespace

int run_down(Context& context, const Arguments& arguments) {
    const up::Layout layout = layout_of(arguments);
    const auto patience = duration_of(arguments, "30s");
    if (!patience) return fail(context, patience.error());
    if (!process::FileLock::is_held(layout.lock())) {
        context.progress(fmt::format("nothing is running on {}", layout.data.string()));
        return end_down(context, arguments, layout, false);
    }
    auto text = read_file(layout.pid_file(), 256);
    if (!text) return fail(context, text.error());
    while (!text->empty() && text->back() == '\n') text->pop_back();
    const auto id = process::ProcessId::parse(*text);
    if (!id) return fail(context, id.error());
    if (const auto sent = id->signal(SIGTERM); !sent && id->alive()) {
        return fail(
            context,
            forbidden(
                "not_yours",
                fmt::format(
                    "the deployment (pid {}) belongs to another user: {}",
                    id->pid,
                    sent.error().message
                )
            )
        );
    }
    if (!id->wait_gone(*patience)) {
        context.complain(fmt::format(
            "the deployment did not stop within {}; it is killed", format_duration(*patience)
        ));
        // Its children get their death signal; NATS and PostgreSQL recover by themselves at the
        // next start.
        if (!id->end(milliseconds{0}))
            return fail(
                context, internal("not_stopped", fmt::format("pid {} could not be killed", id->pid))
            );
    }
    context.progress("stopped");
    return end_down(context, arguments, layout, true);
}

}  // namespace berth::cli
