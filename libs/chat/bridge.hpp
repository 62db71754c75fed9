// SPDX-License-Identifier: Apache-2.0
// A chat bridge: everything but the platform's wire. A new platform is a folder of channels/ whose
// main() is
//
//     int main(int argc, char** argv) {
//         return berth::service::run(
//             berth::chat::bridge_service("slack", "...", berth::slack::read_platform), argc, argv
//         );
//     }
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "chat/platform.hpp"
#include "config/config.hpp"
#include "service/runtime.hpp"

namespace berth::chat {

/// Makes the platform, once per term of leadership: of several instances with one database (one
/// bot) only the leader receives and sends, and a term that ended never begins again. Called on
/// the bridge's own thread. An error ends the term; it is told as the reason why the bridge is not
/// ready, and tried again.
using PlatformFactory = std::function<Result<std::unique_ptr<Platform>>()>;

/// Reads the platform's own keys of the settings file (secrets by read_secret_file), once at start.
/// What is wrong is told by reader.reject(); the factory is then never called.
using PlatformReader = std::function<Result<PlatformFactory>(config::Reader& reader)>;

/// The service of one platform. `token` is the platform's name: subject, durables, NATS user,
/// schema and metrics (ARCHITECTURE.md). libs/chat/settings.hpp has the keys it reads itself.
service::Service bridge_service(std::string token, std::string summary, PlatformReader read);

}  // namespace berth::chat
