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
#include <charconv>
#include <csignal>
#include <optional>

#include "bus/connection.hpp"
#include "config/config.hpp"
#include "topology/apply.hpp"

namespace berth::cli::up {
namespace {

constexpr milliseconds kRequestPatience{10'000};
constexpr milliseconds kGreetingPatience{200};
constexpr int kUsualPort = 4222;

struct Address {
    std::string host;
    int port = kUsualPort;
};

/// "host", "host:port", "[address]:port".
std::optional<Address> parse_address(const std::string& text) {
    Address out;
    const bool bracketed = text.starts_with('[');
    const auto end = bracketed ? text.find(']') : text.find(':');
    out.host = text.substr(0, bracketed && end != std::string::npos ? end + 1 : end);
    if (out.host.empty()) return std::nullopt;
    if (out.host.size() == text.size()) return out;
    const char* first = text.data() + out.host.size() + 1;
    const char* last = text.data() + text.size();
    const auto [stop, error] = std::from_chars(first, last, out.port);
    if (text[out.host.size()] != ':' || error != std::errc() || stop != last || out.port < 1 ||
        out.port > 65'535)
        return std::nullopt;
    return out;
}

/// Section `bus` of the user's settings.
struct PublicBus {
    Address address;  ///< what machines elsewhere are told
    Address listen;   ///< what the server binds
    topology::BusTls tls;
};

Result<std::optional<PublicBus>> read_public_bus(const Layout& layout) {
    std::error_code ignored;
    if (!std::filesystem::exists(layout.user_settings(), ignored))
        return std::optional<PublicBus>();
    BERTH_ASSIGN(const config::Document document, config::Document::load(layout.user_settings()));
    const auto node = document.root().find("bus");
    if (!node) return std::optional<PublicBus>();
    config::Reader section(*node);
    PublicBus out;
    if (const auto address = parse_address(section.require_string("public")))
        out.address = *address;
    else
        section.reject("public", "must be host:port, the address machines elsewhere connect to");
    const std::string listen =
        section.get_string("listen", "0.0.0.0:" + std::to_string(out.address.port));
    if (const auto address = parse_address(listen))
        out.listen = *address;
    else
        section.reject("listen", "must be address:port");
    // Brackets belong to the URL, not to the address.
    std::string host = out.address.host;
    if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
    if (out.listen.host.starts_with('['))
        out.listen.host = out.listen.host.substr(1, out.listen.host.size() - 2);
    out.tls.names = section.get_list("names");
    out.tls.names.insert(out.tls.names.begin(), host);
    out.tls.cert_file = section.get_string("cert_file");
    out.tls.key_file = section.get_string("key_file");
    out.tls.ca_file = section.get_string("ca_file");
    BERTH_TRY(section.finish());
    return std::optional<PublicBus>(std::move(out));
}

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
    topology::DeploymentOptions options;
    BERTH_ASSIGN(const auto bus, read_public_bus(layout));
    if (bus) {
        out.port = bus->listen.port;
        out.public_url = "tls://" + bus->address.host + ":" + std::to_string(bus->address.port);
        out.name = bus->tls.names.front();
        options.host = bus->listen.host;
        options.tls = bus->tls;
    } else {
        BERTH_ASSIGN(out.port, kept_port(layout, "nats"));
    }
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
    settings.ca_file = nats.deployment.ca_file.string();
    settings.server_name = nats.name;
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
