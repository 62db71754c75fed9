// SPDX-License-Identifier: Apache-2.0
// berth-telegram: the Telegram bridge.
#include "telegram/telegram.hpp"

int main(int argc, char** argv) {
    return berth::service::run(
        berth::chat::bridge_service(
            "telegram", "Berth's Telegram bridge", berth::telegram::read_platform
        ),
        argc,
        argv
    );
}
