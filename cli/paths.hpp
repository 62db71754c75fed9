// SPDX-License-Identifier: Apache-2.0
// Where Berth keeps things for this user, by the XDG base directory rules.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace berth::cli {

/// $XDG_CONFIG_HOME/berth, or ~/.config/berth.
/// $HOME, else that of the user database.
std::filesystem::path home_folder();
std::filesystem::path config_folder();
/// $XDG_CACHE_HOME/berth, or ~/.cache/berth.
std::filesystem::path cache_folder();
/// $XDG_STATE_HOME/berth, or ~/.local/state/berth.
std::filesystem::path state_folder();
/// Of the embedded deployment: $XDG_DATA_HOME/berth or ~/.local/share/berth, and /var/lib/berth for
/// root, whose home an unprivileged user cannot enter.
std::filesystem::path default_data_folder();
/// The token stored for a gateway: <config>/tokens/<server with odd characters as _>.
std::filesystem::path token_path(std::string_view server);
/// The nearest folder from `start` upward that holds .git or berth.yaml; empty when there is none.
std::filesystem::path find_repository(const std::filesystem::path& start);
/// mkdir -p with 0700 for what is new.
Result<void> make_private_folder(const std::filesystem::path& folder);
/// The path of this program.
std::filesystem::path own_path();

}  // namespace berth::cli
