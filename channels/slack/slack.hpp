// SPDX-License-Identifier: Apache-2.0
// Slack as a chat platform: the Web API out, Socket Mode or signed HTTP in.
#pragma once

#include <memory>

#include "chat/bridge.hpp"
#include "slack/settings.hpp"

namespace berth::slack {

std::unique_ptr<chat::Platform> make_platform(const Settings& settings);
Result<chat::PlatformFactory> read_platform(config::Reader& reader);

}  // namespace berth::slack
