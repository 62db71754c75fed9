// SPDX-License-Identifier: Apache-2.0
// berth-lease: the lease broker.
#include "lease_broker/app.hpp"

int main(int argc, char** argv) { return berth::service::run(berth::lease::service(), argc, argv); }
