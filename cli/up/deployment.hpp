// SPDX-License-Identifier: Apache-2.0
// Where the parts of an embedded deployment keep their files, and what they are called.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "core/secret.hpp"

namespace berth::cli::up {

/// The data folder and what lies in it.
struct Layout {
    std::filesystem::path data;

    std::filesystem::path etc() const { return data / "etc"; }
    std::filesystem::path run() const { return data / "run"; }
    std::filesystem::path log() const { return data / "log"; }
    std::filesystem::path machines() const { return data / "machines"; }
    std::filesystem::path postgres() const { return data / "postgres"; }
    std::filesystem::path nats() const { return data / "nats"; }
    std::filesystem::path lock() const { return run() / "berth.lock"; }
    std::filesystem::path pid_file() const { return run() / "berth.pid"; }
    std::filesystem::path status_file() const { return run() / "status.json"; }
    std::filesystem::path bootstrap_token() const { return etc() / "bootstrap-token"; }
    /// What the user may say about the deployment: profiles.
    std::filesystem::path user_settings() const { return etc() / "berth.yaml"; }
};

/// A unix socket's path holds 107 bytes, and PostgreSQL appends "/.s.PGSQL.5432" to its folder.
inline constexpr std::size_t kMaxDataPath = 80;

/// A service of the deployment.
struct ServiceName {
    std::string_view token;   ///< subject, NATS user, schema and role
    std::string_view binary;  ///< beside the berth program
};
/// In the order of stopping: who asks stops before who answers.
inline constexpr std::array<ServiceName, 6> kServices = {
    {{"gateway", "berth-gateway"},
     {"webhook", "berth-webhook"},
     {"run", "berth-run"},
     {"warden", "berth-warden"},
     {"lease", "berth-lease"},
     {"prov", "berth-prov"}}};

/// The chat bridges: each runs where the user's settings have a section of its name.
inline constexpr std::array<ServiceName, 4> kBridges = {
    {{"slack", "berth-slack"},
     {"telegram", "berth-telegram"},
     {"discord", "berth-discord"},
     {"whatsapp", "berth-whatsapp"}}};

/// The services that this deployment runs, in the order of stopping. Error: the user's settings
/// cannot be read.
Result<std::vector<ServiceName>> services_of(const Layout& layout);

/// "berth down" and the like as the user types it for this deployment: with --data where it is not
/// in the default folder.
std::string command_for(const Layout& layout, const std::string& command);

/// What is said where somebody holds the deployment's lock.
Error already_up(const Layout& layout);

/// Makes the folders, private. Error "bad_data_folder" says what is wrong with the place.
Result<void> make_folders(const Layout& layout);

/// The admin's token, made at the first call.
Result<Secret> bootstrap_token(const Layout& layout);

/// The secret kept in etc/<name>.secret, made at the first call.
Result<Secret> kept_secret(const Layout& layout, std::string_view name);

/// The port kept in etc/<name>.port while it is free, else another free one, kept from now on.
Result<int> kept_port(const Layout& layout, std::string_view name);
/// True when 127.0.0.1:`port` can be listened on.
bool port_is_free(int port);

}  // namespace berth::cli::up
