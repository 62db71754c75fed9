// SPDX-License-Identifier: Apache-2.0
// Who is next where a pool is exhausted: owners take turns, each with its oldest wait. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/time.hpp"

namespace berth::lease {

/// A lease in line for a machine of one profile.
struct Waiter {
    std::string lease;
    std::string org;
    std::string owner;
    WallTime since;
    WallTime until{};  ///< nobody is served after it
};

/// "org/owner": whose turn it is.
std::string turn_key(const Waiter& waiter);

/// The number of each owner's last turn; an owner who is not in it never had one. Turns are
/// numbered upwards over all owners.
using Turns = std::map<std::string, std::int64_t>;

/// `waiters` in the order in which they will be served if nobody joins: in rounds; in a round every
/// owner has one turn, the one whose last turn is longest ago first, and among those who never had
/// one the longest waiting; an owner's own leases in the order they came.
std::vector<Waiter> line_order(std::vector<Waiter> waiters, const Turns& turns);

/// Takes out those whose wait is over: they would hold their owner's turn.
void leave_late(std::vector<Waiter>& waiters, WallTime now);

/// 1 for who is next; 0 for a lease that is not in line.
int line_position(const std::vector<Waiter>& in_order, const std::string& lease);

}  // namespace berth::lease
