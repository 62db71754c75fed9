// SPDX-License-Identifier: Apache-2.0
// Machines: one that only says it is there, and one that is a Debian.
#include "support/cloud/booted.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include "berth/node/v1/node.pb.h"
#include "bus/connection.hpp"
#include "core/fd.hpp"
#include "core/id.hpp"
#include "core/random.hpp"
#include "core/text.hpp"
#include "identity/creds.hpp"
#include "identity/nkeys.hpp"
#include "support/free_port.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

constexpr milliseconds kLook{100};  // the cloud has no event for "a machine is there"
constexpr milliseconds kPresence{500};

/// The value of a line "key: value" of the script's node.yaml.
std::string yaml_value(const std::string& text, const std::string& key) {
    const auto at = text.find("\n" + key + ": ");
    if (at == std::string::npos) return {};
    const auto from = at + key.size() + 3;
    return text.substr(from, text.find_first_of("\n'", from) - from);
}

class Presence final : public Booted {
public:
    Presence(std::string machine, std::unique_ptr<bus::Connection> connection)
        : machine_(std::move(machine)), connection_(std::move(connection)) {
        thread_ = std::thread([this] {
            node::v1::Presence presence;
            presence.set_machine(machine_);
            while (!stopping_) {
                (void)connection_->publish_plain(
                    "berth.live.node." + machine_, presence.SerializeAsString()
                );
                std::this_thread::sleep_for(kPresence);
            }
        });
    }
    ~Presence() override {
        stopping_ = true;
        thread_.join();
    }

private:
    const std::string machine_;
    std::unique_ptr<bus::Connection> connection_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

class Root final : public Booted {
public:
    Root(process::Child child, fs::path folder)
        : child_(std::move(child)), folder_(std::move(folder)) {}
    ~Root() override {
        child_.kill();  // unshare's --kill-child takes the whole machine with it
        std::error_code ignored;
        if (std::getenv("BERTH_KEEP_SUITE") == nullptr) fs::remove_all(folder_, ignored);
    }

private:
    process::Child child_;
    const fs::path folder_;
};

/// A server that comes up in another process tells nobody: it is asked.
void wait_for_port(int port) {
    const auto until = std::chrono::steady_clock::now() + seconds{20};
    while (std::chrono::steady_clock::now() < until) {
        const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return;
        std::this_thread::sleep_for(kLook);
    }
    throw std::runtime_error("the host's ssh server did not come up");
}

std::string script() {
    const char* source = std::getenv("BERTH_SOURCE_DIR");
    if (source == nullptr) throw std::runtime_error("BERTH_SOURCE_DIR is not set");
    return std::string(source) + "/tests/support/cloud/machine_root";
}

}  // namespace

std::string assigned(const std::string& user_data, const std::string& name) {
    const std::string start = "\n" + name + "='";
    const auto at = user_data.find(start);
    if (at == std::string::npos) return {};
    const auto from = at + start.size();
    return user_data.substr(from, user_data.find('\'', from) - from);
}

CloudHost::CloudHost(FakeCloud& cloud, Boot boot) : cloud_(cloud), boot_(std::move(boot)) {
    thread_ = std::thread([this] { run(); });
}

CloudHost::~CloudHost() {
    stopping_ = true;
    thread_.join();
}

void CloudHost::run() {
    for (; !stopping_; std::this_thread::sleep_for(kLook)) {
        std::map<std::string, std::string> running;
        try {
            running = cloud_.running();
        } catch (const std::exception& problem) {
            std::fprintf(stderr, "the cloud is not seen: %s\n", problem.what());
            continue;
        }
        std::erase_if(machines_, [&](const auto& machine) {
            return !running.contains(machine.first);
        });
        for (const auto& [id, user_data] : running) {
            if (user_data.empty()) continue;
            // One that could not enrol tries again, as a machine does.
            if (auto& machine = machines_[id]; machine == nullptr) machine = boot_(user_data);
        }
    }
    machines_.clear();
}

std::unique_ptr<Booted> boot_presence(const std::string& user_data) {
    const std::string machine = assigned(user_data, "machine");
    const auto key = identity::KeyPair::create(identity::KeyKind::kUser);
    const std::string nonce = make_ulid(Clock::system().now(), Random::system());
    http::Client client;
    http::Request request;
    request.method = "POST";
    request.url = assigned(user_data, "gateway_url") + "/v1/nodes/enrol";
    request.headers = {{"Content-Type", "application/json"}};
    request.body =
        Json::object()
            .set("machine", machine)
            .set("token", assigned(user_data, "token"))
            .set("user_public_key", key.public_key())
            .set("nonce", nonce)
            .set("signature", base64url(key.sign("berth-enrol:" + machine + ":" + nonce)))
            .dump();
    const auto answer = client.send(request);
    if (!answer || answer->status != 200) return nullptr;
    const auto body = Json::parse(answer->body);
    const Secret creds = identity::format_creds({body->string_or("jwt", ""), key.seed()});
    bus::ConnectSettings settings;
    settings.url = yaml_value(user_data, "nats_url");
    settings.name = "booted";
    settings.inbox_prefix = "_INBOX.node." + machine;
    settings.credentials = [creds]() -> Result<Secret> { return creds; };
    auto connection = bus::connect(std::move(settings));
    if (!connection) return nullptr;
    return std::make_unique<Presence>(machine, std::move(*connection));
}

std::string RealRoots::why_not() {
    if (::geteuid() != 0) return "only root can make a machine's root and enter it";
    for (const char* tool : {"debootstrap", "unshare", "pivot_root", "setpriv"}) {
        if (!process::find_program(tool)) return std::string(tool) + " is missing";
    }
    process::SpawnSpec spec;
    spec.argv = {script(), "make", cache_};
    spec.stdin_fd = process::kNull;
    auto child = process::spawn(spec);
    if (!child) return child.error().describe();
    const auto end = child->wait(std::chrono::minutes{8});
    if (!end) child->kill();
    return end && end->code == 0 ? "" : "debootstrap failed; see " + cache_ + "/debootstrap.log";
}

std::unique_ptr<Booted> RealRoots::boot(const std::string& user_data) {
    const fs::path folder = fs::path(cache_) / "machines" / std::to_string(++next_);
    fs::create_directories(folder);
    if (!write_file_atomic(folder / "user_data", user_data, 0700)) return nullptr;
    process::SpawnSpec spec;
    spec.argv = {
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--ipc",
        "--uts",
        script(),
        "enter",
        cache_,
        folder.string()};
    spec.stdin_fd = process::kNull;
    spec.env = {
        {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}};
    auto child = process::spawn(spec);
    if (!child) return nullptr;
    return std::make_unique<Root>(std::move(*child), folder);
}

RealRoots::Host RealRoots::boot_host() {
    Host host;
    const fs::path keys = fs::path(cache_) / "keys" / std::to_string(++next_);
    fs::remove_all(keys);
    fs::create_directories(keys);
    fs::permissions(keys, fs::perms::owner_all);
    for (const char* name : {"host", "login"}) {
        process::SpawnSpec spec;
        spec.argv = {
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "test",
            "-f",
            (keys / name).string()};
        spec.stdin_fd = process::kNull;
        auto child = process::spawn(spec);
        if (!child || !child->wait(seconds{20})) throw std::runtime_error("no ssh-keygen");
    }
    const auto text = [&](const char* name) { return read_file(keys / name).value(); };
    host.host_key = text("host.pub");
    while (host.host_key.ends_with('\n')) host.host_key.pop_back();
    host.key_file = (keys / "login").string();
    host.port = free_port();
    // /run is fresh; sshd reads its key and configuration from there alone.
    const std::string script =
        "#!/bin/sh\nset -eu\nmkdir -p /run/sshd /root/.ssh\numask 077\ncat >/run/sshd/host "
        "<<'KEY'\n" +
        text("host") + "KEY\ncat >/root/.ssh/authorized_keys <<'KEY'\n" + text("login.pub") +
        "KEY\nprintf 'Port " + std::to_string(host.port) +
        "\\nListenAddress 127.0.0.1\\nHostKey /run/sshd/host\\nPermitRootLogin "
        "prohibit-password\\nPasswordAuthentication no\\nUsePAM no\\nStrictModes "
        "no\\nMaxStartups 100\\nPidFile /run/sshd/pid\\n' >/run/sshd/config\n/usr/sbin/sshd -f "
        "/run/sshd/config\n";
    host.machine = boot(script);
    wait_for_port(host.port);
    return host;
}

RealRoots& real_roots() {
    const char* const cache = std::getenv("BERTH_ROOT_CACHE");
    static RealRoots all(
        cache != nullptr ? cache : std::string(std::getenv("BERTH_BIN_DIR")) + "/../cloud_root"
    );
    return all;
}

}  // namespace berth::testing
