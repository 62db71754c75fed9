// SPDX-License-Identifier: Apache-2.0
// Requests that nobody vouches for, as the audit is told of them: not one by one, so that strangers
// cannot flood it.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "core/time.hpp"

namespace berth::service {

/// Thread-safe.
class RefusalCount {
public:
    /// Of one address a request is recorded this often; the record counts those in between.
    static constexpr seconds kEvery{60};
    /// Beyond so many all others share one place: nobody gets more room by having addresses.
    static constexpr std::size_t kMostAddresses = 64;

    /// One more of `address`. How many requests a record that is made now is of; 0: none is made.
    int add(const std::string& address, SteadyTime now) {
        const std::lock_guard lock(mutex_);
        if (!seen_.contains(address) && seen_.size() >= kMostAddresses) {
            std::erase_if(seen_, [&](const auto& each) {
                return each.second.since == 0 && now - each.second.told >= kEvery;
            });
        }
        const bool crowded = !seen_.contains(address) && seen_.size() >= kMostAddresses;
        const auto [place, first] = seen_.try_emplace(crowded ? "" : address);
        Seen& seen = place->second;
        ++seen.since;
        if (!first && now - seen.told < kEvery) return 0;
        seen.told = now;
        return std::exchange(seen.since, 0);
    }
    /// What a record of so many says after its reason.
    static std::string note(int requests) {
        return requests > 1 ? "; " + std::to_string(requests) + " requests since the last record"
                            : std::string();
    }

private:
    struct Seen {
        SteadyTime told{};
        int since = 0;  ///< requests that were not recorded one by one
    };
    std::mutex mutex_;
    std::map<std::string, Seen> seen_;  // by mutex_: addresses
};

}  // namespace berth::service
