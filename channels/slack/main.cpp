// SPDX-License-Identifier: Apache-2.0
// berth-slack: the Slack bridge.
#include "slack/slack.hpp"

int main(int argc, char** argv) {
    return berth::service::run(
        berth::chat::bridge_service("slack", "Berth's Slack bridge", berth::slack::read_platform),
        argc,
        argv
    );
}
