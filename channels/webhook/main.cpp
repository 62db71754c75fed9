// SPDX-License-Identifier: Apache-2.0
// berth-webhook: events by HTTP.
#include "webhook/app.hpp"

int main(int argc, char** argv) {
    return berth::service::run(berth::webhook::service(), argc, argv);
}
