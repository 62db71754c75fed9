// SPDX-License-Identifier: Apache-2.0
// The least that guarding can cost on a kernel: the same filter and a tracer with the same options
// that judges nothing, records nothing and lets everything go on.
#pragma once

#include <string>

namespace berth::node::testing {

/// What a piece of work takes from its start to its end: seconds on the clock, and of the
/// processors' time of all its processes. The latter says something on a busy host, too.
struct Cost {
    double wall = 0;
    double cpu = 0;
};

enum class Floor { kPlain, kFiltered, kTraced };

/// Runs `sh -c script` in `folder`, with a /tmp of its own in memory as a sandbox has it and else
/// without one; ends this process where it fails.
Cost floor_cost(const std::string& folder, const std::string& script, Floor floor);

}  // namespace berth::node::testing
