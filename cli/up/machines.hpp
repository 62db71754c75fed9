// SPDX-License-Identifier: Apache-2.0
// What `berth down` does with machines on this host: their node agents live in sessions of their
// own and outlast the services.
#pragma once

#include <string>
#include <vector>

#include "cli/up/deployment.hpp"

namespace berth::cli::up {

/// A machine that still runs after end_machines().
struct LeftMachine {
    std::string machine;
    std::size_t runs = 0;  ///< that had not ended or not been told yet
    std::string trouble;   ///< why it could not be ended; empty: it was left on purpose
};

/// Ends the processes of every machine that has no run under way; with `all` of the others too,
/// whose runs are then lost. Files stay: a lease that is still live finds its machine, workspace
/// included, at the next start. Returns what still runs. To be called when the provisioner is gone,
/// since it would start them again; for root it works as the owner of the folder.
std::vector<LeftMachine> end_machines(const Layout& layout, bool all);

}  // namespace berth::cli::up
