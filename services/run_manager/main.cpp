// SPDX-License-Identifier: Apache-2.0
// berth-run: the run manager.
#include "run_manager/app.hpp"

int main(int argc, char** argv) { return berth::service::run(berth::run::service(), argc, argv); }
