// SPDX-License-Identifier: Apache-2.0
// The process handling of NatsServer: fork, exec, readiness by the ports file and the server's
// greeting.
#include "support/nats/nats_server.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include "core/fd.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;
using Steady = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPollStep{2};          // the server boots in about 25 ms
constexpr std::chrono::milliseconds kStopPatience{10000};  // SIGTERM syncs the store first

fs::path make_temporary_folder() {
    std::string pattern = (fs::temp_directory_path() / "berth-nats-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
        throw std::runtime_error("mkdtemp failed: " + pattern);
    return pattern;
}

std::string slurp(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Limits stated: the default store limit is a share of the free disk, which would make a test
/// depend on it.
fs::path write_plain_conf(const fs::path& folder) {
    fs::path conf = folder / "plain.conf";
    std::ofstream(conf) << "jetstream { store_dir: \"" << (folder / "store").string()
                        << "\", max_mem: 1GB, max_file: 256GB }\n";
    return conf;
}

/// The port of the first client URL in a ports file: {"nats":["nats://127.0.0.1:4222"],…}; 0 while
/// incomplete.
int port_of_ports_file(const std::string& text) {
    const auto key = text.find("\"nats\"");
    if (key == std::string::npos || text.find('}') == std::string::npos) return 0;
    const auto scheme = text.find("://", key);
    if (scheme == std::string::npos) return 0;
    const auto end = text.find('"', scheme);
    const auto colon = text.rfind(':', end);
    if (end == std::string::npos || colon <= scheme) return 0;
    return std::atoi(text.substr(colon + 1, end - colon - 1).c_str());
}

/// True when the server greets ("INFO …") within `patience`.
bool greets(int port, std::chrono::milliseconds patience) {
    const Fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return false;
    pollfd wait{socket.get(), POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(patience.count())) != 1) return false;
    char greeting[5] = {};
    return ::recv(socket.get(), greeting, sizeof greeting, 0) == 5 &&
           std::memcmp(greeting, "INFO ", 5) == 0;
}

}  // namespace

NatsServer NatsServer::start(NatsServerOptions options) {
    NatsServer server;
    server.own_folder_ = options.folder.empty();
    server.folder_ = server.own_folder_ ? make_temporary_folder() : options.folder;
    fs::create_directories(server.folder_);
    server.port_ = options.port;
    server.options_ = std::move(options);
    server.launch();
    return server;
}

NatsServer::NatsServer(NatsServer&& other) noexcept
    : options_(std::move(other.options_)),
      folder_(std::move(other.folder_)),
      own_folder_(std::exchange(other.own_folder_, false)),
      port_(other.port_),
      pid_(std::exchange(other.pid_, 0)) {}

NatsServer& NatsServer::operator=(NatsServer&& other) noexcept {
    if (this == &other) return *this;
    dispose();
    options_ = std::move(other.options_);
    folder_ = std::move(other.folder_);
    own_folder_ = std::exchange(other.own_folder_, false);
    port_ = other.port_;
    pid_ = std::exchange(other.pid_, 0);
    return *this;
}

NatsServer::~NatsServer() { dispose(); }

void NatsServer::dispose() noexcept {
    kill9();
    if (own_folder_) {
        std::error_code ignored;
        fs::remove_all(folder_, ignored);
    }
    own_folder_ = false;
}

std::string NatsServer::url() const { return "nats://127.0.0.1:" + std::to_string(port_); }

std::string NatsServer::log() const { return slurp(folder_ / "nats-server.log"); }

void NatsServer::launch() {
    const auto until = Steady::now() + options_.patience;
    std::vector<std::string> words{
        "nats-server",
        "-a",
        "127.0.0.1",
        "-p",
        std::to_string(port_ == 0 ? -1 : port_),
        "--ports_file_dir",
        folder_.string(),
        "-l",
        (folder_ / "nats-server.log").string(),
        "-c",
        options_.conf.empty() ? write_plain_conf(folder_).string() : options_.conf.string()};
    words.insert(words.end(), options_.arguments.begin(), options_.arguments.end());
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);

    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) throw std::runtime_error("fork failed");
    if (child == 0) {
        // Only async-signal-safe calls here: the test may be multi-threaded.
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(127);
        const int null = ::open("/dev/null", O_RDWR);
        ::dup2(null, 0);
        ::dup2(null, 1);  // start errors reach stderr, which stays the test's
        ::execvp(argv[0], argv.data());
        ::_exit(127);
    }
    pid_ = child;
    await_ready(until);
}

void NatsServer::await_ready(Steady::time_point until) {
    const fs::path ports = folder_ / ("nats-server_" + std::to_string(pid_) + ".ports");
    while (Steady::now() < until) {
        int status = 0;
        if (::waitpid(pid_, &status, WNOHANG) == pid_) {
            pid_ = 0;
            throw std::runtime_error("nats-server ended at start; its log:\n" + log());
        }
        if (const int port = port_of_ports_file(slurp(ports));
            port != 0 && greets(port, options_.patience)) {
            port_ = port;
            return;
        }
        std::this_thread::sleep_for(kPollStep
        );  // nothing tells when another process's file is complete
    }
    kill9();
    throw std::runtime_error("nats-server was not ready in time; its log:\n" + log());
}

void NatsServer::kill9() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
}

void NatsServer::stop() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGTERM);
    for (const auto until = Steady::now() + kStopPatience; Steady::now() < until;) {
        if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
            pid_ = 0;
            return;
        }
        std::this_thread::sleep_for(kPollStep);
    }
    kill9();
}

void NatsServer::restart() {
    stop();
    launch();
}

void NatsServer::pause() {
    if (pid_ != 0) ::kill(pid_, SIGSTOP);
}

void NatsServer::resume() {
    if (pid_ != 0) ::kill(pid_, SIGCONT);
}

void NatsServer::reload() {
    if (pid_ != 0) ::kill(pid_, SIGHUP);
}

}  // namespace berth::testing
