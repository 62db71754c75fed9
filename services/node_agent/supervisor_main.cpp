// SPDX-License-Identifier: Apache-2.0
// berth-supervisor: started by the node agent, one per run, in a session of its own. In a container
// berth-init starts it as the run's guard beside the commands.
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "node_agent/beside_guard.hpp"
#include "node_agent/run_socket.hpp"
#include "node_agent/supervisor.hpp"

int main(int argc, char** argv) {
    if (argc == 3 && std::strcmp(argv[1], "--guard") == 0)
        return berth::node::guard_beside(static_cast<uid_t>(std::atoi(argv[2])));
    if (argc != 3 || std::strcmp(argv[1], "--dir") != 0) {
        constexpr char kUsage[] =
            "usage: berth-supervisor --dir <run folder>; it is started by berth-node\n";
        (void)!::write(2, kUsage, sizeof kUsage - 1);
        return 2;
    }
    return static_cast<int>(
        berth::node::supervise(argv[2], berth::Fd(berth::node::kSupervisorListenFd))
    );
}
