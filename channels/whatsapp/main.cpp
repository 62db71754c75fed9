// SPDX-License-Identifier: Apache-2.0
// berth-whatsapp: the WhatsApp bridge.
#include "whatsapp/whatsapp.hpp"

int main(int argc, char** argv) {
    return berth::service::run(
        berth::chat::bridge_service(
            "whatsapp", "Berth's WhatsApp bridge", berth::whatsapp::read_platform
        ),
        argc,
        argv
    );
}
