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
    std::vector<Verb> verbs;
};

std::unique_ptr<chat::Platform> make_platform(Options options);

/// Reads `token_file` and `api_url`.
Result<chat::PlatformFactory> read_platform(config::Reader& reader);

}  // namespace berth::discord
