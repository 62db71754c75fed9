// SPDX-License-Identifier: Apache-2.0
// What the engine is told to make of a machine: names, labels, limits and walls, as pure functions.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "provisioner/driver.hpp"

namespace berth::prov {

/// Labels of everything a machine has at the engine. What carries our deployment is ours.
inline constexpr const char* kLabelDeployment = "berth.deployment";
inline constexpr const char* kLabelMachine = "berth.machine";
/// A profile that names no limit of processes gets this one: enough for any build, too few to
/// exhaust the host.
inline constexpr std::int64_t kDefaultPids = 2'048;
/// The uid and gid commands run as; the node agent's side of it is kInsideUid.
inline constexpr const char* kInsideUser = "1000";

/// "berth-<machine>": of the container and of its network.
std::string container_name(const std::string& machine);
std::string fence_name(const std::string& machine);
struct MachineVolume {
    std::string name;
    std::string target;
};
std::vector<MachineVolume> volumes_of(const std::string& machine);

Json labels_of(const MachineSpec& spec, const std::string& deployment);
/// Label filters of everything this deployment has, or of one machine of it.
std::vector<std::string> own_labels(const std::string& deployment, const std::string& machine = {});

/// Folders as the engine's host sees them.
struct EnginePaths {
    std::filesystem::path machine;  ///< door/ etc/ fence/
    std::filesystem::path tools;
};

Json network_request(const MachineSpec& spec, const Json& labels);
/// `resolvers`: where names are asked for, when there is a network.
Json container_request(
    const MachineSpec& spec,
    const Json& labels,
    const EnginePaths& paths,
    const std::vector<std::string>& resolvers
);
/// A container that loads the fence into the network namespace of `container` and ends.
Json fence_request(
    const MachineSpec& spec,
    const Json& labels,
    const EnginePaths& paths,
    const std::string& container
);

}  // namespace berth::prov
