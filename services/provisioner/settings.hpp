// SPDX-License-Identifier: Apache-2.0
// What provisioner is told by its settings file, and its named limits.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/time.hpp"
#include "provisioner/drivers/aws/aws_settings.hpp"
#include "provisioner/drivers/hetzner/hetzner_driver.hpp"
#include "provisioner/drivers/ssh/ssh_driver.hpp"

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

/// Section `cloud`: what a machine that boots elsewhere is told, whoever rents it out.
struct CloudSettings {
    std::string gateway_url;  ///< where such a machine finds the API: https://berth.example.org
    /// And the bus; default: public_nats_url. tls:// unless it is a loopback address.
    std::string nats_url;
    std::string bundle_file;  ///< what it installs; default: berth-node.tar.gz beside node_binary
    /// Who may log in as `dev` on port 2222 of machines of profiles with ssh: one line of
    /// OpenSSH's.
    std::string ssh_public_key;
    /// How long the token that a machine enrols with is good: from the request for it to the first
    /// word of its node.
    milliseconds enrol_within{15 * 60'000};
};

struct ProvSettings {
    std::string account_seed_file;  ///< the NATS account's signing key; only the provisioner has it
    std::string machines_dir;       ///< of the local driver
    std::string node_binary;        ///< of the local driver
    std::string node_nats_url;      ///< how a node reaches NATS; default: as the service does
    std::string public_nats_url;    ///< how one elsewhere does; default: node_nats_url
    DockerSettings docker;
    CloudSettings cloud;
    std::optional<HetznerSettings> hetzner;  ///< section `hetzner`
    std::optional<AwsSettings> aws;          ///< section `aws`
    std::optional<SshSettings> ssh;          ///< section `ssh`
    /// Machines that boot with nothing of ours: they need section `cloud`.
    bool has_elsewhere() const { return hetzner || aws || ssh; }
    milliseconds tend_every{1'000};  ///< how soon a dead node agent is started again
};

/// A create that failed for a passing reason is tried this often in all.
inline constexpr int kCreateAttempts = 3;
/// Of what a provider was asked for, told with the machine's fate: every type in every location of
/// a profile has room, and the event stays far below the bus's limit.
inline constexpr int kMostAttemptsTold = 64;
inline constexpr std::size_t kMostAttemptWords = 300;
/// Retries of a destroy slow down to this.
inline constexpr seconds kSlowestRetry{30};
/// A machine's user lives this long and is renewed at half of it.
inline constexpr seconds kNodeCredentialLife{15 * 60};

/// A reader's credential, within the template's own lifetime (schemas/topology/users.yaml).
inline constexpr seconds kShortestReader{60};
inline constexpr seconds kLongestReader{30 * 24 * 3'600};
/// Of one org: each costs the bus a durable.
inline constexpr int kMaxReaders = 100;
/// Stream EVT's: a reader that stayed away longer has missed something anyway.
inline constexpr seconds kEventAge{7 * 24 * 3'600};

/// Reads everything, secrets in files of their own too; what is wrong is told by the reader's
/// finish().
ProvSettings read_prov_settings(config::Reader& reader);

}  // namespace berth::prov
