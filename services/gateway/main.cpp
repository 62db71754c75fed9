// SPDX-License-Identifier: Apache-2.0
// berth-gateway: the HTTP edge.
#include "gateway/app.hpp"

int main(int argc, char** argv) {
    return berth::service::run(berth::gateway::service(), argc, argv);
}
