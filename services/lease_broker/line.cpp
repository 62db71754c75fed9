// SPDX-License-Identifier: Apache-2.0
// Round robin by owner.
#include "lease_broker/line.hpp"

#include <algorithm>
#include <tuple>

namespace berth::lease {

std::string turn_key(const Waiter& waiter) { return waiter.org + "/" + waiter.owner; }

std::vector<Waiter> line_order(std::vector<Waiter> waiters, const Turns& turns) {
    std::sort(waiters.begin(), waiters.end(), [](const Waiter& a, const Waiter& b) {
        return std::tie(a.since, a.lease) < std::tie(b.since, b.lease);
    });
    // A waiter's round is how many of its owner's leases stand before it.
    struct Place {
        int round;
        std::int64_t last_turn;
        WallTime owner_since;
        std::size_t index;
    };
    struct Owner {
        int waiting = 0;
        WallTime since;
    };
    std::map<std::string, Owner> owners;
    std::vector<Place> places;
    for (std::size_t i = 0; i < waiters.size(); ++i) {
        const std::string key = turn_key(waiters[i]);
        Owner& owner = owners[key];
        if (owner.waiting == 0) owner.since = waiters[i].since;
        const auto turn = turns.find(key);
        places.push_back({owner.waiting++, turn == turns.end() ? -1 : turn->second, owner.since, i}
        );
    }
    std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
        return std::tie(a.round, a.last_turn, a.owner_since, a.index) <
               std::tie(b.round, b.last_turn, b.owner_since, b.index);
    });
    std::vector<Waiter> out;
    out.reserve(places.size());
    for (const Place& place : places) out.push_back(std::move(waiters[place.index]));
    return out;
}

void leave_late(std::vector<Waiter>& waiters, WallTime now) {
    std::erase_if(waiters, [now](const Waiter& waiter) { return waiter.until <= now; });
}

int line_position(const std::vector<Waiter>& in_order, const std::string& lease) {
    const auto found = std::find_if(in_order.begin(), in_order.end(), [&](const Waiter& waiter) {
        return waiter.lease == lease;
    });
    return found == in_order.end() ? 0 : static_cast<int>(found - in_order.begin()) + 1;
}

}  // namespace berth::lease
