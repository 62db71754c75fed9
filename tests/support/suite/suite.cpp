// SPDX-License-Identifier: Apache-2.0
// Starting, asking and ending a real deployment.
#include "support/suite/suite.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "core/fd.hpp"
#include "core/id.hpp"
#include "core/random.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

constexpr milliseconds kPoll{25};  // between two looks at something that has no event to wait for

/// Where the programs are run from. Root's deployment lives as the system user berth, who may not
/// enter a build folder below root's home: then they are copied, once in this process, to where it
/// can.
class Programs {
public:
    explicit Programs(const fs::path& built) : folder_(built) {
        if (::geteuid() != 0 || open_to_all(built)) return;
        std::string made = "/tmp/berth-suite-programs-XXXXXX";
        if (::mkdtemp(made.data()) == nullptr || ::chmod(made.c_str(), 0755) != 0)
            throw std::runtime_error("cannot make a folder for the programs");
        folder_ = made;
        owner_ = ::getpid();
        for (const auto& program : fs::directory_iterator(built))
            fs::copy_file(program.path(), folder_ / program.path().filename());
    }
    ~Programs() {
        std::error_code ignored;
        if (owner_ == ::getpid()) fs::remove_all(folder_, ignored);  // not in a forked child
    }
    Programs(const Programs&) = delete;
    Programs& operator=(const Programs&) = delete;
    const fs::path& folder() const { return folder_; }

private:
    static bool open_to_all(fs::path path) {
        for (path = fs::canonical(path); path.has_relative_path(); path = path.parent_path()) {
            if ((fs::status(path).permissions() & fs::perms::others_exec) == fs::perms::none)
                return false;
        }
        return true;
    }

    fs::path folder_;
    pid_t owner_ = -1;
};

}  // namespace

std::string bin(const std::string& name) {
    const char* built = std::getenv("BERTH_BIN_DIR");
    if (built == nullptr)
        throw std::runtime_error("BERTH_BIN_DIR is not set; run the tests through ctest");
    static const Programs programs{built};
    return (programs.folder() / name).string();
}

struct Running::State {
    std::mutex mutex;
    std::condition_variable changed;
    std::string out;
    std::string err;
    int open = 2;
};

Running::Running(process::Child child, Fd in, Fd out, Fd err)
    : child_(std::move(child)), in_(std::move(in)), state_(std::make_shared<State>()) {
    const auto read_all = [](const std::shared_ptr<State>& state, Fd fd, std::string State::*into) {
        char buffer[65536];
        for (;;) {
            const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
            if (got < 0 && errno == EINTR) continue;
            const std::lock_guard lock(state->mutex);
            if (got > 0) (state.get()->*into).append(buffer, static_cast<std::size_t>(got));
            if (got <= 0) --state->open;
            state->changed.notify_all();
            if (got <= 0) return;
        }
    };
    readers_.emplace_back(read_all, state_, std::move(out), &State::out);
    readers_.emplace_back(read_all, state_, std::move(err), &State::err);
}

Running::~Running() {
    if (!child_.poll()) child_.kill();
    for (std::thread& reader : readers_) reader.join();
}

bool Running::wait_out(const std::string& text, milliseconds patience) {
    std::unique_lock lock(state_->mutex);
    return state_->changed.wait_for(lock, patience, [&] {
        return state_->out.find(text) != std::string::npos;
    });
}

bool Running::wait_err(const std::string& text, milliseconds patience) {
    std::unique_lock lock(state_->mutex);
    return state_->changed.wait_for(lock, patience, [&] {
        return state_->err.find(text) != std::string::npos;
    });
}

void Running::write_in(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t put = ::write(in_.get(), bytes.data(), bytes.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return;  // the command does not read any more: its own business
        bytes.remove_prefix(static_cast<std::size_t>(put));
    }
}

std::string Running::out() {
    const std::lock_guard lock(state_->mutex);
    return state_->out;
}

Said Running::finish(milliseconds patience) {
    Said said;
    const auto status = child_.wait(patience);
    if (status) {
        said.exit_code = status->code;
    } else {
        child_.kill();
    }
    std::unique_lock lock(state_->mutex);
    // A grandchild may hold the pipes: what came by then is what counts.
    state_->changed.wait_for(lock, seconds{5}, [&] { return state_->open == 0; });
    said.out = state_->out;
    said.err = state_->err;
    return said;
}

std::unique_ptr<Running> launch(
    const std::vector<std::string>& argv,
    const fs::path& cwd,
    const std::map<std::string, std::string>& env,
    bool no_input
) {
    process::Pipe in = process::make_pipe().value();
    process::Pipe out = process::make_pipe().value();
    process::Pipe err = process::make_pipe().value();
    process::SpawnSpec spec;
    spec.argv = argv;
    spec.cwd = cwd.string();
    spec.stdin_fd = no_input ? process::kNull : in.read.get();
    spec.stdout_fd = out.write.get();
    spec.stderr_fd = err.write.get();
    spec.env.emplace();
    for (const auto& [name, value] : env) spec.env->push_back(name + "=" + value);
    auto child = process::spawn(spec);
    if (!child) throw std::runtime_error(argv.front() + ": " + child.error().describe());
    if (no_input) in.write.reset();
    return std::make_unique<Running>(
        std::move(*child), std::move(in.write), std::move(out.read), std::move(err.read)
    );
}

void shell(const fs::path& cwd, const std::string& script) {
    const std::map<std::string, std::string> env{
        {"PATH", std::getenv("PATH")}, {"HOME", cwd.string()}};
    const Said said = launch({"/bin/sh", "-ec", script}, cwd, env, true)->finish();
    if (said.exit_code != 0) throw std::runtime_error(script + ": " + said.out + said.err);
}

Suite::Suite(const SuiteOptions& options) {
    std::string pattern = (fs::temp_directory_path() / "berth-suite-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    folder_ = pattern;
    fs::permissions(folder_, fs::perms{0755});  // as root the suite runs as another user
    for (const char* name : {"config", "home", "tree", "cache"})
        fs::create_directories(folder_ / name);
    shell(
        tree(),
        "git init -q . && git config user.email t@example.org && git config user.name T && printf "
        "'hello\\n' > a.txt && printf '*.o\\n' > .gitignore && git add . && git commit -qm one"
    );
    port_ = std::to_string(free_port());
    if (!options.settings.empty()) {
        std::string settings = options.settings;
        const std::string hole = "{port}";
        for (auto at = settings.find(hole); at != std::string::npos; at = settings.find(hole))
            settings.replace(at, hole.size(), port_);
        fs::create_directories(data() / "etc");
        std::ofstream(data() / "etc" / "berth.yaml") << settings;
    }
    const Said said = up();
    if (said.exit_code != 0) throw std::runtime_error("berth up: " + said.out + said.err + logs());
    greeting_ = said.out;
    const Json now = status();
    url_ = now.string_or("url", "");
    for (const auto& entry : fs::directory_iterator(folder_ / "config" / "berth" / "tokens"))
        token_ = read_file(entry.path()).value();
    while (!token_.empty() && token_.back() == '\n') token_.pop_back();
}

Suite::~Suite() {
    try {
        down();
    } catch (const std::exception& exception) {
        std::fprintf(stderr, "berth down: %s\n", exception.what());
    }
    std::error_code ignored;
    if (std::getenv("BERTH_KEEP_SUITE") == nullptr) fs::remove_all(folder_, ignored);
}

Said Suite::up() {
    Said said = berth({"up", "--detach", "--data", data().string(), "--port", port_});
    if (said.exit_code == 0) up_ = true;
    return said;
}

void Suite::down() {
    if (!up_) return;
    up_ = false;
    const Said said = berth({"down", "--all", "--data", data().string()});
    if (said.exit_code != 0) throw std::runtime_error(said.out + said.err);
}

std::map<std::string, std::string> Suite::environment(const std::map<std::string, std::string>& more
) const {
    std::map<std::string, std::string> env{
        {"PATH", std::getenv("PATH")},
        {"HOME", (folder_ / "home").string()},
        {"XDG_CONFIG_HOME", (folder_ / "config").string()},
        {"XDG_CACHE_HOME", (folder_ / "cache").string()},
        {"XDG_DATA_HOME", (folder_ / "home").string()},
        {"LANG", "C.UTF-8"},
    };
    for (const char* kept : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"}) {
        if (const char* value = std::getenv(kept)) env[kept] = value;
    }
    if (!url_.empty()) env["BERTH_SERVER"] = url_;
    for (const auto& [name, value] : more) env[name] = value;
    return env;
}

std::unique_ptr<Running> Suite::start(
    const std::vector<std::string>& arguments, const CommandOptions& options
) {
    std::vector<std::string> argv{bin("berth")};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return launch(
        argv,
        options.cwd.empty() ? tree() : options.cwd,
        environment(options.env),
        options.no_input && options.input.empty()
    );
}

Said Suite::berth(const std::vector<std::string>& arguments, const CommandOptions& options) {
    auto running = start(arguments, options);
    if (!options.input.empty()) running->write_in(options.input);
    running->close_in();
    return running->finish(options.patience);
}

http::Response Suite::api(
    const std::string& method,
    const std::string& path,
    const std::string& body,
    const std::vector<std::pair<std::string, std::string>>& headers
) {
    return api_at(url_, method, path, body, headers);
}

http::Response Suite::api_at(
    const std::string& url,
    const std::string& method,
    const std::string& path,
    const std::string& body,
    const std::vector<std::pair<std::string, std::string>>& headers
) {
    thread_local http::Client client;
    http::Request request;
    request.method = method;
    request.url = url + path;
    request.body = body;
    request.headers = headers;
    const auto has = [&](std::string_view name) {
        return std::any_of(headers.begin(), headers.end(), [name](const auto& header) {
            return header.first == name;
        });
    };
    if (!has("Authorization")) request.headers.emplace_back("Authorization", "Bearer " + token_);
    if (!body.empty() && !has("Content-Type"))
        request.headers.emplace_back("Content-Type", "application/json");
    auto response = client.send(request);
    if (!response) {
        http::Response none;
        none.body = response.error().describe();
        return none;
    }
    return std::move(*response);
}

bool Suite::eventually(const std::function<bool()>& good, milliseconds patience) {
    const SteadyTime until = std::chrono::steady_clock::now() + patience;
    std::mutex mutex;
    std::condition_variable never;
    std::unique_lock lock(mutex);
    while (!good()) {
        if (std::chrono::steady_clock::now() > until) return false;
        never.wait_for(lock, kPoll);
    }
    return true;
}

Json Suite::status() {
    const Said said = berth({"status", "--json", "--data", data().string()});
    auto json = Json::parse(said.out);
    if (!json) throw std::runtime_error("berth status: " + said.out + said.err);
    return std::move(*json);
}

pid_t Suite::pid(const std::string& part) {
    const Json now = status();
    if (const Json* parts = now.find("parts"); parts != nullptr && parts->as_array() != nullptr) {
        for (const Json& one : *parts->as_array()) {
            if (one.string_or("name", "") == part) return static_cast<pid_t>(one.int_or("pid", 0));
        }
    }
    return 0;
}

void Suite::kill9(const std::string& part) {
    pid_t target = 0;  // one that was killed a moment ago is being started again
    eventually([&] { return (target = pid(part)) > 0; });
    if (target <= 0) throw std::runtime_error("no process for " + part);
    ::kill(target, SIGKILL);
}

bool Suite::wait_ready(milliseconds patience) {
    return eventually([this] { return status().string_or("state", "") == "ready"; }, patience);
}

std::vector<std::string> Suite::machines() const {
    std::vector<std::string> found;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(data() / "machines", error)) {
        if (is_id("m", entry.path().filename().string()))
            found.push_back(entry.path().filename().string());
    }
    return found;
}

std::string Suite::sql(const std::string& statement) const {
    const std::string password = read_file(data() / "etc" / "postgres-admin.secret").value();
    Said said = launch(
                    {"psql",
                     "-qAt",
                     "-h",
                     (data() / "run").string(),
                     "-U",
                     "berth_admin",
                     "-d",
                     "berth",
                     "-c",
                     statement},
                    "/",
                    {{"PATH", std::getenv("PATH")},
                     {"PGPASSWORD", password.substr(0, password.find('\n'))}},
                    true
    )
                    ->finish(seconds{120});
    if (said.exit_code != 0) throw std::runtime_error("psql: " + said.err);
    return std::move(said.out);
}

std::string Suite::logs() const {
    std::string text;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(data() / "log", error)) {
        const auto content = read_file(entry.path());
        if (!content) continue;
        text += "\n--- " + entry.path().filename().string() + "\n" +
                content->substr(content->size() > 3'000 ? content->size() - 3'000 : 0);
    }
    return text;
}

}  // namespace berth::testing
