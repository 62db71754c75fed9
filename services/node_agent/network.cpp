// SPDX-License-Identifier: Apache-2.0
// The sandbox's way out: pasta for the packets, nftables for where they may not go.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

#include "core/fd.hpp"
#include "net/fence.hpp"
#include "node_agent/sandbox.hpp"
#include "process/spawn.hpp"

namespace berth::node {
namespace {

constexpr milliseconds kFencePatience{10'000};
constexpr milliseconds kPastaPatience{5'000};
constexpr milliseconds kPollStep{5};  // nothing tells when another namespace's routes appear

/// True once the namespace has an interface beside its loopback and a route.
bool has_route(pid_t holder) {
    const auto v4 = read_file("/proc/" + std::to_string(holder) + "/net/route");
    if (v4 && v4->find('\n') != std::string::npos && v4->find('\n') + 1 < v4->size()) return true;
    const auto v6 = read_file("/proc/" + std::to_string(holder) + "/net/if_inet6");
    return v6 && v6->find("eth") != std::string::npos;
}

}  // namespace

std::string Sandbox::fence_rules(const std::vector<std::string>& host_addresses) {
    return net::fence_rules({kInsideDns}, host_addresses);
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
    const std::string text = fence_rules(net::host_addresses());  // far below a pipe's 64 KiB
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
