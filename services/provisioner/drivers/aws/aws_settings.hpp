// SPDX-License-Identifier: Apache-2.0
// What the AWS driver is told.
#pragma once

#include <string>
#include <vector>

#include "core/result.hpp"
#include "core/time.hpp"
#include "provisioner/drivers/aws/sigv4.hpp"

namespace berth::prov {

struct AwsRegion {
    std::string name;                  ///< "eu-central-1"
    std::string vpc;                   ///< empty: the region's default VPC
    std::vector<std::string> subnets;  ///< of that VPC, in order of preference; empty: AWS chooses
};

struct AwsSettings {
    /// What makes this deployment this one and no other; every resource carries it as a tag.
    std::string deployment;
    aws::Credentials credentials;
    /// Where machines may be. A region taken out of the list is not looked at any more: empty it
    /// first.
    std::vector<AwsRegion> regions;
    /// "{region}" in it is replaced. Another partition: https://ec2.{region}.amazonaws.com.cn
    std::string endpoint = "https://ec2.{region}.amazonaws.com";
    /// One line of OpenSSH's public key format (ed25519 or rsa); needed by profiles with ssh.
    std::string ssh_public_key;
    /// Who may reach port 2222 of machines of profiles with ssh.
    std::vector<std::string> ssh_sources = {"0.0.0.0/0"};
    /// From the request to the node's first word: AWS needs 10 to 60 s, the system's first boot
    /// and the agent's installation the rest.
    milliseconds create_patience{300'000};
    /// An instance terminates in 20 to 90 s.
    milliseconds destroy_patience{120'000};
    /// Between two looks at something that is changing.
    milliseconds poll{3'000};
    /// How long what was made may stay invisible to AWS's own reads.
    milliseconds consistency{30'000};
    /// list() and tend() share what was read within this time: tending each machine each second
    /// would use up the account's request quota.
    milliseconds inventory_every{20'000};
    /// Before the first repetition of a throttled request; doubled for each further one.
    milliseconds backoff{500};
};

/// Error "bad_setting" with the offending field.
Result<void> check(const AwsSettings& settings);

}  // namespace berth::prov
