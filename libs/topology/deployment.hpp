// SPDX-License-Identifier: Apache-2.0
// The keys, credentials and nats-server.conf of one deployment, made from the topology.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "core/result.hpp"
#include "core/time.hpp"
#include "topology/bus_tls.hpp"
#include "topology/topology.hpp"

namespace berth::topology {

struct DeploymentOptions {
    std::string host = "127.0.0.1";
    int port = 4222;                     ///< -1: any free one, told through the ports file
    std::filesystem::path ports_folder;  ///< set: the server writes nats-server_<pid>.ports there
    std::filesystem::path store_folder;  ///< empty: <folder>/jetstream
    int http_port = 0;                   ///< the server's own monitoring on 127.0.0.1; 0: off
    std::uint64_t max_memory = 1ULL << 30U;  ///< of all memory streams
    std::uint64_t max_file = 64ULL
                             << 30U;  ///< of all file streams; at least the sum of their max_bytes
    /// Set: the server speaks TLS with everybody, and to nobody without. It has one port for all.
    std::optional<BusTls> tls;
};

struct Deployment {
    std::filesystem::path conf;
    std::filesystem::path account_seed;  ///< for the provisioner alone
    std::string account_public_key;
    std::map<std::string, std::filesystem::path> creds;  ///< by user
    std::filesystem::path ca_file;  ///< with TLS: what clients believe; empty: the system's
};

/// Writes into `folder` (made 0700): `keys/{operator,system}.seed`, `account.seed`,
/// `creds/<user>.creds`, with TLS
/// `tls/` (see bus_tls.hpp) (all 0600) and `nats-server.conf`. Idempotent: existing keys are kept,
/// so running connections stay valid, while rights and configuration are written anew. Errors:
/// "bad_seed", "bad_creds" for a file that was damaged (never replaced: that would lock everybody
/// out), "bad_option", system errors.
Result<Deployment> generate(
    const Topology& topology,
    const std::filesystem::path& folder,
    const DeploymentOptions& options,
    WallTime now
);

}  // namespace berth::topology
