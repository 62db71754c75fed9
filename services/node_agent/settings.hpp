// SPDX-License-Identifier: Apache-2.0
// node/node.yaml, and the numbers of the node agent with their reasons.
#pragma once

#include <filesystem>
#include <string>

#include "core/result.hpp"
#include "core/time.hpp"
#include "policy/policy.hpp"

namespace berth::node {

inline constexpr milliseconds kPresenceEvery{5'000};  // a machine silent for 20 s is presumed dead
inline constexpr milliseconds kRenewCheckEvery{
    10'000};  // far below half of a credential's 15 minutes
inline constexpr milliseconds kPublishPauseFirst{100};
inline constexpr milliseconds kPublishPauseLongest{5'000};
inline constexpr std::size_t kWindowFrames = 64;        // of one run, unconfirmed
inline constexpr std::size_t kWindowBytes = 4U << 20U;  // …and their bytes
inline constexpr std::size_t kRememberedCommands =
    4'096;  // signals and syncs are known again this long
inline constexpr milliseconds kDoneKept{
    48LL * 3'600'000};  // tombstones outlive every redelivery (CMD_NODE: 1 h)
inline constexpr milliseconds kSyncLongest{
    3'600'000};                               // a sync that takes longer has lost its client
inline constexpr std::size_t kMaxSyncs = 8;   // at once on one machine
inline constexpr std::size_t kMaxRuns = 256;  // live at once on one machine

/// What the provisioner wrote for this machine.
struct Settings {
    std::filesystem::path dir;
    /// Folder of berth-init and berth-supervisor: beside berth-node, or where --programs says.
    std::filesystem::path programs;
    std::string machine;
    std::string org;
    std::string lease;
    std::string slug;
    std::string profile;
    std::string nats_url;
    /// With tls://: the one authority that is believed; empty: the system's.
    std::filesystem::path nats_ca_file;
    std::string nats_name;  ///< the name the bus's certificate bears; empty: nats_url's host
    std::filesystem::path creds_file;  ///< empty: none
    std::string enrol_url;  ///< the gateway, where the machine enrols; empty: it has creds
    bool network = false;
    policy::Level guard = policy::Level::kEnforce;  ///< once the org has a policy
    bool container = false;  ///< commands run in a container, through dir/door
};

/// Where the policy is kept that guards judge by, and what they write about one run: for a machine
/// that is a container in the folder that both sides see.
std::filesystem::path guard_folder(const Settings& settings);
std::filesystem::path guard_folder(const Settings& settings, const std::string& run);

/// Reads <dir>/node/node.yaml; relative files are relative to <dir>/node. Unknown keys are
/// errors.
Result<Settings> load_settings(const std::filesystem::path& dir);

}  // namespace berth::node
