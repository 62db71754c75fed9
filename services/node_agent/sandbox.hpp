// SPDX-License-Identifier: Apache-2.0
// What a command on this machine can see and reach: bubblewrap's arguments, the namespaces, the
// fenced network.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "node_agent/place.hpp"
#include "process/process_id.hpp"

namespace berth::node {

struct SandboxSettings {
    std::filesystem::path dir;   ///< the machine's folder: node/ workspace/ home/ tmp/ runs/
    std::filesystem::path init;  ///< berth-init
    std::string slug;            ///< host name inside
    bool network = false;        ///< outbound network, fenced
};

/// Address inside at which pasta answers DNS with the host's resolver.
inline constexpr const char* kInsideDns = "169.254.1.1";

/// One machine's sandbox. Not thread-safe.
///
/// A *holder* process owns a user and a network namespace in which every run of the machine starts,
/// so that runs share a loopback and the network's fence is loaded once, before anything runs. The
/// holder and pasta outlive the node agent; their identities are in node/holder and node/pasta.
class Sandbox final : public Place {
public:
    /// Finds the programs and writes the files that are generated for /etc. Errors:
    /// "no_bubblewrap", "no_pasta", "no_nft", "network_unavailable" (the message names the remedy),
    /// "system".
    static Result<Sandbox> prepare(SandboxSettings settings);

    /// The holder, started if it does not run. Errors: "no_user_namespaces" (the kernel or a
    /// container forbids them), "network_unavailable".
    Result<process::ProcessId> ensure_holder();

    /// ensure() tells the holder and brings the copies of the host's /etc up to date; run_command()
    /// ends in `berth-init run` as pid 1 and is to be started inside the holder's namespaces.
    Result<std::string> ensure() override;
    std::vector<std::string> run_command() const override;
    bool relayed() const override { return false; }
    /// Sees no network; needs no holder.
    std::vector<std::string> tool_command(
        const std::vector<std::string>& program, const std::string& cwd = kInsideWorkspace
    ) const override;
    Result<std::vector<std::string>> rsync() override;
    Result<void> reset() override { return destroy(settings_.dir); }
    std::map<std::string, std::string> environment() const override;

    /// Kills the holder and pasta by their recorded identities and waits until they are gone.
    static Result<void> destroy(const std::filesystem::path& dir);

    /// The nftables rules of the fence, with the host's own addresses added; for tests and the
    /// curious.
    static std::string fence_rules(const std::vector<std::string>& host_addresses);

private:
    explicit Sandbox(SandboxSettings settings) : settings_(std::move(settings)) {}
    Result<void> write_etc() const;
    Result<void> refresh_etc() const;
    Result<process::ProcessId> start_holder();
    Result<void> fence(const process::ProcessId& holder) const;
    Result<void> connect_network(const process::ProcessId& holder) const;
    std::vector<std::string> base_command() const;

    SandboxSettings settings_;
    std::string bwrap_;
    std::string pasta_;
    std::string nft_;
};

}  // namespace berth::node
