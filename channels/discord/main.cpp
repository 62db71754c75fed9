// SPDX-License-Identifier: Apache-2.0
// berth-discord: the Discord bridge.
#include "chat/bridge.hpp"
#include "discord/discord.hpp"
#include "service/runtime.hpp"

int main(int argc, char** argv) {
    return berth::service::run(
        berth::chat::bridge_service(
            "discord", "Berth's Discord bridge", berth::discord::read_platform
        ),
        argc,
        argv
    );
}
