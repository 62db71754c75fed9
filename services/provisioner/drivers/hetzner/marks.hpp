// SPDX-License-Identifier: Apache-2.0
// How our things are recognised at Hetzner: their names, their labels, and the test for both.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/json.hpp"
#include "provisioner/driver.hpp"

namespace berth::prov::hetzner {

/// Label keys. The first two are the proof of ownership; the others are for people.
inline constexpr std::string_view kDeploymentLabel = "berth-deployment";
inline constexpr std::string_view kMachineLabel = "berth-machine";
inline constexpr std::string_view kLeaseLabel = "berth-lease";
inline constexpr std::string_view kOrgLabel = "berth-org";
inline constexpr std::string_view kCommandLabel = "berth-command";

/// A text as a label's value: itself where Hetzner takes it (at most 63 of letters, digits, "-",
/// "_" and ".", the ends alphanumeric), else a digest of it.
std::string label_value(std::string_view text);
/// The value of kDeploymentLabel: a digest, whatever the deployment's key looks like.
std::string deployment_value(std::string_view deployment);

/// The name of a machine's server and of its key: a valid host name that no other machine has.
std::string resource_name(std::string_view machine);
/// The name of the deployment's firewall without, or with, the ssh port.
std::string firewall_name(const std::string& deployment_label, bool ssh);

/// Every label of a machine's resources.
Json machine_labels(const std::string& deployment_label, const MachineSpec& spec);

/// A resource's label; empty when it has none of that name.
std::string label_of(const Json& resource, std::string_view key);
/// Both marks are there: this deployment's and this machine's.
bool is_ours(const Json& resource, const std::string& deployment_label, const std::string& machine);
/// The machine that a resource of this deployment belongs to; nothing for somebody else's.
std::optional<std::string> machine_of(const Json& resource, const std::string& deployment_label);

/// The public half of a new Ed25519 key as ssh writes it. The private half is forgotten at once:
/// the key is there so that Hetzner sends no root password by mail, and opens nothing.
std::string make_locked_ssh_key(std::string_view comment);

}  // namespace berth::prov::hetzner
