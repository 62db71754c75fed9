// SPDX-License-Identifier: Apache-2.0
// berth-probe WAY PROGRAM [ARG...]: starts a program by a way that no shell has; `berth harden`
// tries its images with it.
#include <cstdio>

#include "node_agent/ways.hpp"

namespace {
constexpr int kNotExecuted = 126;  // as shells have it
}

int main(int argc, char** argv) {
    using namespace berth::node;
    if (argc < 3) {
        std::fprintf(stderr, "usage: berth-probe WAY PROGRAM [ARG...]\n");
        return 2;
    }
    ways::target = argv + 2;
    const int code = ways::start_by(argv[1]);
    if (code == -1) std::fprintf(stderr, "berth-probe: there is no way '%s'\n", argv[1]);
    return code == -1 ? 2 : code == ways::kClosed ? kNotExecuted : code;
}
