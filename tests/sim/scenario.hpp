// SPDX-License-Identifier: Apache-2.0
// One seed: a busy, faulty while, then quiet, then what must hold.
#pragma once

#include <string>
#include <vector>

#include "world.hpp"

namespace berth::sim {

/// Plays a seed and returns what was violated; empty: all is well.
std::vector<std::string> play(std::uint64_t seed, Counters& counters, bool tell_story);

}  // namespace berth::sim
