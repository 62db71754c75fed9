// SPDX-License-Identifier: Apache-2.0
// The node agent's composition root.
#pragma once

namespace berth::node {

/// `berth-node --dir D [--allow-root]` serves until SIGTERM, which leaves the runs alive;
/// `berth-node --destroy
/// --dir D` kills what belongs to the machine. Exit codes: 0, 1 (failed, said on stderr), 2
/// (usage), 3 (another node agent has the machine).
int node_main(int argc, char** argv);

}  // namespace berth::node
