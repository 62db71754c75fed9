// SPDX-License-Identifier: Apache-2.0
// Wires the topology's library to the server that this deployment starts.
#include "cli/up/nats.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "bus/connection.hpp"
#include "topology/apply.hpp"

namespace berth::cli::up {
namespace {

constexpr milliseconds kRequestPatience{10'000};
constexpr milliseconds kGreetingPatience{200};

// The server greets with INFO as soon as it takes connections.
std::string not_ready(int port) {
    const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
        return "it takes no connections yet";
    pollfd waiting{socket.get(), POLLIN, 0};
    std::array<char, 5> word{};
    if (::poll(&waiting, 1, static_cast<int>(kGreetingPatience.count())) != 1)
        return "it does not greet";
    if (::read(socket.get(), word.data(), word.size()) != 5 ||
        std::string_view(word.data(), 5) != "INFO ")
        return "it greets strangely";
    return {};
}

}  // namespace

Result<Nats> prepare_nats(const Layout& layout) {
    Nats out;
    BERTH_ASSIGN(out.port, kept_port(layout, "nats"));
    topology::DeploymentOptions options;
    options.port = out.port;
    BERTH_ASSIGN(
        out.deployment,
        topology::generate(topology::builtin(), layout.nats(), options, Clock::system().now())
    );
    return out;
}

Result<PartSpec> nats_part(const Layout& layout, const Nats& nats) {
    auto program = process::find_program("nats-server");
    if (!program)
        return unavailable(
            "nats_missing", "nats-server is not installed; install the package nats-server"
        );
    PartSpec part;
    part.name = "nats";
    part.log = layout.log() / "nats.log";
    part.make = [program = *program, conf = nats.deployment.conf]() -> Result<process::SpawnSpec> {
        process::SpawnSpec spec;
        spec.argv = {program, "-c", conf.string()};
        return spec;
    };
    part.not_ready = [port = nats.port](pid_t) { return not_ready(port); };
    return part;
}

Result<void> apply_topology(const Nats& nats) {
    std::string admin;
    for (const auto& user : topology::builtin().users) {
        if (user.admin) admin = user.name;
    }
    const auto creds = nats.deployment.creds.find(admin);
    if (creds == nats.deployment.creds.end())
        return internal("topology", "the topology names no admin user");
    bus::ConnectSettings settings;
    settings.url = nats.url();
    settings.name = "berth-up";
    settings.inbox_prefix = "_INBOX." + admin;
    settings.credentials = bus::credentials_from_file(creds->second.string());
    BERTH_ASSIGN(const auto connection, bus::connect(std::move(settings)));
    const auto request = [&](std::string_view subject, std::string_view json) {
        return connection->request(subject, json, kRequestPatience);
    };
    auto report = topology::apply_topology(topology::builtin(), request);
    if (!report) return std::move(report).error();
    return {};
}

}  // namespace berth::cli::up
