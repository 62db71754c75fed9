// SPDX-License-Identifier: Apache-2.0
// What provisioner is told by its settings file, and its named limits.
#pragma once

#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/time.hpp"

namespace berth::prov {

/// Section `docker`: machines that are containers of this host's engine.
struct DockerSettings {
    std::string socket;  ///< of the engine; empty: no such machines
    std::string dir;     ///< of their folders; default: machines_dir/docker
    /// `dir` as the engine's host sees it; only where the provisioner is a container itself.
    std::string engine_dir;
    /// Where machines with a network ask for names; default: this host's resolvers.
    std::vector<std::string> resolvers;
};

struct ProvSettings {
    std::string account_seed_file;  ///< the NATS account's signing key; only the provisioner has it
    std::string machines_dir;       ///< of the local driver
    std::string node_binary;        ///< of the local driver
    std::string node_nats_url;      ///< how a node reaches NATS; default: as the service does
    DockerSettings docker;
    milliseconds tend_every{1'000};  ///< how soon a dead node agent is started again
};

/// Threads that create and destroy: each waits for a node to come up.
inline constexpr int kActors = 4;
/// How long one create or destroy may take before it counts as failed.
inline constexpr seconds kActionDeadline{20};
/// A create that failed for a passing reason is tried this often in all.
inline constexpr int kCreateAttempts = 3;
/// Retries of a destroy slow down to this.
inline constexpr seconds kSlowestRetry{30};
/// A machine's user lives this long and is renewed at half of it.
inline constexpr seconds kNodeCredentialLife{15 * 60};

ProvSettings read_prov_settings(config::Reader& reader);

}  // namespace berth::prov
