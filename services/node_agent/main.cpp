// SPDX-License-Identifier: Apache-2.0
// berth-node: the node agent of one machine (--dir), or its end (--destroy --dir).
#include "node_agent/app.hpp"

int main(int argc, char** argv) { return berth::node::node_main(argc, argv); }
