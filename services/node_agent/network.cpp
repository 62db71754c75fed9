// SPDX-License-Identifier: Apache-2.0
// The sandbox's way out: pasta for the packets, nftables for where they may not go.
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <set>
#include <thread>

#include "core/fd.hpp"
#include "node_agent/sandbox.hpp"
#include "process/spawn.hpp"

namespace berth::node {
namespace {

constexpr milliseconds kFencePatience{10'000};
constexpr milliseconds kPastaPatience{5'000};
constexpr milliseconds kPollStep{5};  // nothing tells when another namespace's routes appear

/// Addresses of this host, which are public on many clouds and so in no private range.
std::vector<std::string> host_addresses() {
    std::set<std::string> all;
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) return {};
    for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
        char text[INET6_ADDRSTRLEN] = "";
        if (entry->ifa_addr == nullptr) continue;
        if (entry->ifa_addr->sa_family == AF_INET) {
            ::inet_ntop(
                AF_INET,
                &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr,
                text,
                sizeof text
            );
        } else if (entry->ifa_addr->sa_family == AF_INET6) {
            ::inet_ntop(
                AF_INET6,
                &reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr)->sin6_addr,
                text,
                sizeof text
            );
        }
        if (text[0] != '\0') all.insert(text);
    }
    ::freeifaddrs(list);
    return {all.begin(), all.end()};
}

/// True once the namespace has an interface beside its loopback and a route.
bool has_route(pid_t holder) {
    const auto v4 = read_file("/proc/" + std::to_string(holder) + "/net/route");
    if (v4 && v4->find('\n') != std::string::npos && v4->find('\n') + 1 < v4->size()) return true;
    const auto v6 = read_file("/proc/" + std::to_string(holder) + "/net/if_inet6");
    return v6 && v6->find("eth") != std::string::npos;
}

}  // namespace

std::string Sandbox::fence_rules(const std::vector<std::string>& host_addresses) {
    std::string rules =
        "table inet berth {\n chain output {\n  type filter hook output priority 0; policy "
        "accept;\n"
        "  oifname \"lo\" accept\n";
    const std::string dns = kInsideDns;
    rules +=
        "  ip daddr " + dns + " udp dport 53 accept\n  ip daddr " + dns + " tcp dport 53 accept\n";
    // Neighbour discovery, without which IPv6 has no next hop.
    rules +=
        "  icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept\n";
    rules +=
        "  ip daddr { 0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, "
        "172.16.0.0/12, "
        "192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/4, 240.0.0.0/4 } drop\n";
    // Also the forms of IPv6 that carry an IPv4 address: mapped, NAT64, 6to4.
    rules +=
        "  ip6 daddr { ::/96, ::ffff:0:0/96, 64:ff9b::/96, 64:ff9b:1::/48, 2002::/16, fc00::/7, "
        "fe80::/10, "
        "fec0::/10, ff00::/8 } drop\n";
    for (const auto& address : host_addresses) {
        rules += (address.find(':') == std::string::npos ? "  ip daddr " : "  ip6 daddr ") +
                 address + " drop\n";
    }
    return rules + " }\n}\n";
}

Result<void> Sandbox::fence(const process::ProcessId& holder) const {
    const std::string base = "/proc/" + std::to_string(holder.pid) + "/ns/";
    const Fd user(::open((base + "user").c_str(), O_RDONLY | O_CLOEXEC));
    const Fd net(::open((base + "net").c_str(), O_RDONLY | O_CLOEXEC));
    if (!user || !net) return system_error("cannot open the machine's namespaces", errno);
    BERTH_ASSIGN(process::Pipe rules, process::make_pipe());
    BERTH_ASSIGN(process::Pipe complaint, process::make_pipe());
    process::SpawnSpec spec;
    spec.argv = {nft_, "-f", "-"};
    spec.cwd = "/";
    spec.stdin_fd = rules.read.get();
    spec.stdout_fd = process::kNull;
    spec.stderr_fd = complaint.write.get();
    spec.namespaces = {user.get(), net.get()};
    spec.death_signal = SIGKILL;
    BERTH_ASSIGN(process::Child child, process::spawn(spec));
    rules.read.reset();
    complaint.write.reset();
    const std::string text = fence_rules(host_addresses());  // far below a pipe's 64 KiB
    const bool written =
        ::write(rules.write.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
    rules.write.reset();
    const auto end = child.wait(kFencePatience);
    if (!end) child.kill();
    if (!written || !end || end->code != 0) {
        char words[512];
        const ssize_t got = ::read(complaint.read.get(), words, sizeof words);
        return unavailable(
            "network_unavailable",
            "the network's fence could not be loaded, so the machine gets no network: " +
                std::string(words, static_cast<std::size_t>(got > 0 ? got : 0))
        );
    }
    return {};
}

Result<void> Sandbox::connect_network(const process::ProcessId& holder) const {
    BERTH_ASSIGN(process::Pipe complaint, process::make_pipe());
    process::SpawnSpec spec;
    spec.argv = {
        pasta_,
        "--foreground",
        "--quiet",
        "--config-net",
        "--no-map-gw",
        "--dns-forward",
        kInsideDns,
        "-t",
        "none",
        "-u",
        "none",
        "-T",
        "none",
        "-U",
        "none",
        std::to_string(holder.pid)};
    spec.cwd = "/";
    spec.stdin_fd = spec.stdout_fd = process::kNull;
    spec.stderr_fd = complaint.write.get();
    spec.new_session = true;
    BERTH_ASSIGN(process::Child child, process::spawn(spec));
    complaint.write.reset();
    const auto until = std::chrono::steady_clock::now() + kPastaPatience;
    while (!has_route(holder.pid)) {
        const bool ended = child.poll().has_value();
        if (!ended && std::chrono::steady_clock::now() < until) {
            std::this_thread::sleep_for(kPollStep);
            continue;
        }
        child.kill();
        char words[512];
        const ssize_t got = ::read(complaint.read.get(), words, sizeof words);
        return unavailable(
            "network_unavailable",
            "pasta could not connect the machine: " +
                std::string(words, static_cast<std::size_t>(got > 0 ? got : 0))
        );
    }
    return write_file_atomic(settings_.dir / "node" / "pasta", child.id().to_text() + "\n", 0600);
}

}  // namespace berth::node
