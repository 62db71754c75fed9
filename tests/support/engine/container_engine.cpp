// SPDX-License-Identifier: Apache-2.0
// dockerd as a child, and the image.
#include "support/engine/container_engine.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "core/fd.hpp"
#include "net/http_client.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

constexpr seconds kStartPatience{60};
constexpr seconds kLockPatience{280};  // another test program's whole time
constexpr seconds kImagePatience{400};
constexpr seconds kStopPatience{20};
constexpr milliseconds kLook{50};

fs::path build_folder() {
    const char* bin = std::getenv("BERTH_BIN_DIR");
    if (bin == nullptr) throw std::runtime_error("BERTH_BIN_DIR is not set; run it by ctest");
    return fs::path(bin).parent_path();
}

bool shell(const std::string& script, seconds patience, const fs::path& log) {
    const Fd out(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    process::SpawnSpec spec;
    spec.argv = {"/bin/sh", "-ec", script};
    spec.stdin_fd = process::kNull;
    spec.stdout_fd = spec.stderr_fd = out.get();
    spec.death_signal = SIGKILL;
    auto child = process::spawn(spec);
    if (!child) return false;
    const auto end = child->wait(patience);
    if (!end) child->kill();
    return end && end->code == 0;
}

std::string how_to() {
    return "; to prove it: `deploy/debian/install docker` as root, then as root run this again";
}

}  // namespace

ContainerEngine::ContainerEngine() {
    if (::geteuid() != 0) {
        why_not_ = "only root can start a container engine for a test" + how_to();
        return;
    }
    if (!process::find_program("dockerd")) {
        why_not_ = "no container engine (dockerd) is installed" + how_to();
        return;
    }
    data_ = build_folder() / "engine";
    fs::create_directories(data_);
    auto lock = process::FileLock::acquire(data_ / "lock", kLockPatience);
    if (!lock) {
        why_not_ = "another test has the engine: " + lock.error().describe();
        return;
    }
    lock_ = std::move(*lock);
    std::string pattern = "/tmp/berth-engine-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    short_ = pattern;
    fs::permissions(short_, fs::perms{0755});
    socket_ = (short_ / "docker.sock").string();
    start();
    if (!why_not_.empty()) return;
    clear("berth.machine");  // of a test that was killed
    make_image();
}

ContainerEngine::~ContainerEngine() {
    if (engine_.pid() != 0) {
        try {
            clear("berth.machine");
        } catch (const std::exception&) {  // it is down: the next test clears
        }
        (void)engine_.signal(SIGTERM);
        if (!engine_.wait(kStopPatience)) engine_.kill();
    }
    std::error_code ignored;
    if (!short_.empty()) fs::remove_all(short_, ignored);
}

void ContainerEngine::start() {
    launch();
    const auto until = std::chrono::steady_clock::now() + kStartPatience;
    while (!answers()) {
        const bool ended = engine_.pid() == 0 || engine_.poll().has_value();
        if (ended || std::chrono::steady_clock::now() > until) {
            if (!ended) engine_.kill();
            engine_ = {};
            const std::string log = read_file(data_ / "dockerd.log").value_or("");
            why_not_ = "the container engine does not start here: " +
                       log.substr(log.size() > 600 ? log.size() - 600 : 0);
            return;
        }
        std::this_thread::sleep_for(kLook);  // a daemon that comes up tells nobody
    }
    // Berth as root drops to a user of its own; an engine of a user's has a group for that.
    ::chmod(socket_.c_str(), 0666);
}

void ContainerEngine::launch() {
    const Fd log(
        ::open((data_ / "dockerd.log").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)
    );
    process::SpawnSpec spec;
    spec.argv = {
        "dockerd",
        "--host",
        "unix://" + socket_,
        "--data-root",
        (data_ / "data").string(),
        "--exec-root",
        (short_ / "exec").string(),
        "--pidfile",
        (short_ / "pid").string()};
    spec.executable = process::find_program("dockerd").value();
    spec.stdin_fd = process::kNull;
    spec.stdout_fd = spec.stderr_fd = log.get();
    spec.death_signal = SIGTERM;  // it takes its containerd and its containers along
    auto child = process::spawn(spec);
    if (child) engine_ = std::move(*child);
}

void ContainerEngine::kill9() { engine_.kill(); }

bool ContainerEngine::answers() {
    net::HttpClient client("unix:" + socket_);
    net::HttpRequest request;
    request.path = "/_ping";
    request.timeout = milliseconds{1'000};
    const auto answer = client.send(request);
    return answer && answer->status == 200;
}

Json ContainerEngine::call(const std::string& method, const std::string& path, const Json& body) {
    net::HttpClient client("unix:" + socket_);
    net::HttpRequest request;
    request.method = method;
    request.path = path;
    if (!body.is_null()) {
        request.body = body.dump();
        request.headers.set("Content-Type", "application/json");
    }
    const auto answer = client.send(request);
    if (!answer) throw std::runtime_error(path + ": " + answer.error().describe());
    if (answer->status >= 300) throw std::runtime_error(path + ": " + answer->body);
    const auto json = Json::parse(answer->body);
    return json ? *json : Json();
}

std::vector<std::string> ContainerEngine::labelled(const std::string& label) {
    Json filters;
    filters.set("label", Json::strings({label}));
    const std::string query = "filters=" + net::percent_encode(filters.dump());
    std::vector<std::string> found;
    const auto add = [&found](const Json* list, const std::string& kind, const char* name) {
        if (list == nullptr || list->as_array() == nullptr) return;
        for (const Json& item : *list->as_array())
            found.push_back(kind + " " + item.string_or(name, ""));
    };
    const Json containers = get("/containers/json?all=1&" + query);
    const Json volumes = get("/volumes?" + query);
    const Json networks = get("/networks?" + query);
    add(&containers, "container", "Id");
    add(volumes.find("Volumes"), "volume", "Name");
    add(&networks, "network", "Id");
    return found;
}

void ContainerEngine::clear(const std::string& label) {
    for (const std::string& thing : labelled(label)) {
        const std::size_t space = thing.find(' ');
        const std::string kind = thing.substr(0, space);
        const std::string id = thing.substr(space + 1);
        (void)call("DELETE", "/" + kind + "s/" + id + (kind == "network" ? "" : "?force=1"));
    }
}

void ContainerEngine::make_image() {
    try {
        (void)get("/images/" + std::string(kImage) + "/json");
        return;
    } catch (const std::exception&) {  // not there yet
    }
    // The compose check makes the same one; whoever is first keeps it for both.
    const char* source = std::getenv("BERTH_SOURCE_DIR");
    const fs::path shared = fs::path(source == nullptr ? "" : source) /
                            "build/compose_check/debian-bookworm-slim.tar.gz";
    const fs::path tarball = fs::exists(shared) ? shared : data_ / "debian-bookworm-slim.tar.gz";
    const fs::path log = data_ / "image.log";
    if (!fs::exists(tarball)) {
        const char* mirror = std::getenv("BERTH_DEBIAN_MIRROR");
        const std::string root = (data_ / "root").string();
        const std::string made = tarball.string();
        if (!shell(
                "command -v debootstrap; rm -rf '" + root +
                    "'; debootstrap --variant=minbase bookworm '" + root + "' " +
                    (mirror == nullptr ? "http://deb.debian.org/debian" : mirror) + "; tar -C '" +
                    root + "' --numeric-owner -cz . > '" + made + ".new'; mv '" + made + ".new' '" +
                    made + "'; rm -rf '" + root + "'",
                kImagePatience,
                log
            )) {
            why_not_ = "the image cannot be made by debootstrap; see " + log.string() + how_to();
            return;
        }
    }
    if (!shell(
            "gzip -dc '" + tarball.string() + "' | curl -sS --fail --unix-socket '" + socket_ +
                "' -T - -X POST 'http://engine/images/create?fromSrc=-&repo=debian&"
                "tag=bookworm-slim'",
            kImagePatience,
            log
        ))
        why_not_ = "the image cannot be imported; see " + log.string();
}

}  // namespace berth::testing
