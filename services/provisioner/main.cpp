// SPDX-License-Identifier: Apache-2.0
// berth-prov: the provisioner.
#include "provisioner/app.hpp"

int main(int argc, char** argv) { return berth::service::run(berth::prov::service(), argc, argv); }
