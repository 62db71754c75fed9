// SPDX-License-Identifier: Apache-2.0
// Discord as a chat::Platform.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "chat/bridge.hpp"
#include "chat/platform.hpp"
#include "config/config.hpp"
#include "core/secret.hpp"
#include "discord/settings.hpp"
#include "discord/wire.hpp"

namespace berth::discord {

struct Options {
    std::function<Secret()> token;  ///< asked at each use: its file may say another by then
    std::string api_url = kApiUrl;
    /// Where the session is kept over a crash; empty: nowhere, and what is said while no bridge
    /// runs is lost.
    std::string session_file;
    std::vector<Verb> verbs;
};

std::unique_ptr<chat::Platform> make_platform(Options options);

/// Reads `token_file`, `api_url` and `session_file`.
Result<chat::PlatformFactory> read_platform(config::Reader& reader);

}  // namespace berth::discord
