// SPDX-License-Identifier: Apache-2.0
// Requests that nobody vouches for, as the audit is told of them: not one by one, so that strangers
// cannot flood it.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/time.hpp"

namespace berth::service {

/// Each reason of each address is counted on its own. The first is recorded at once, those that
/// follow by one record a minute, which its owner takes by the clock and, the rest, as it stops.
/// What is counted is memory: an end without a stop loses a minute's number at most. Thread-safe.
class RefusalCount {
public:
    /// Of one reason of one address there is a record this often.
    static constexpr seconds kEvery{60};
    /// Beyond so many all other addresses share a place: nobody gets more room by having addresses.
    static constexpr std::size_t kMostPlaces = 64;

    /// What is to be recorded.
    struct Counted {
        std::string address;  ///< empty: of several
        std::string reason;
        int requests = 0;  ///< since the last record; 0: the first, which is recorded by itself
        std::string text() const {
            if (requests == 0) return reason;
            return reason + "; " + std::to_string(requests) +
                   (requests == 1 ? " more request" : " more requests") +
                   (address.empty() ? " of several addresses" : "") + " since the last record";
        }
    };

    /// One more. `reason` is one of a few fixed texts. True: it is to be recorded now, by itself.
    [[nodiscard]] bool add(const std::string& address, const std::string& reason, SteadyTime now) {
        const std::lock_guard lock(mutex_);
        if (!seen_.contains({address, reason}) && seen_.size() >= kMostPlaces) forget(now);
        const bool crowded = !seen_.contains({address, reason}) && seen_.size() >= kMostPlaces;
        const auto [place, first] = seen_.try_emplace({crowded ? "" : address, reason});
        Seen& seen = place->second;
        if (!first && (seen.since > 0 || now - seen.told < kEvery)) {
            ++seen.since;
            return false;
        }
        seen.told = now;
        return true;
    }
    /// What was counted and was last told of a minute ago.
    std::vector<Counted> take_due(SteadyTime now) {
        const std::lock_guard lock(mutex_);
        forget(now);
        return take([&](const Seen& seen) { return now - seen.told >= kEvery; }, now);
    }
    /// All that was counted: for a stop.
    std::vector<Counted> take_all(SteadyTime now) {
        const std::lock_guard lock(mutex_);
        return take([](const Seen&) { return true; }, now);
    }
    /// It could not be recorded: it is of the next record.
    void put_back(const Counted& counted, SteadyTime now) {
        const std::lock_guard lock(mutex_);
        const auto place = seen_.try_emplace({counted.address, counted.reason}, Seen{now, 0}).first;
        place->second.since += std::max(counted.requests, 1);
    }

private:
    struct Seen {
        SteadyTime told{};
        int since = 0;  ///< requests that were not recorded one by one
    };
    void forget(SteadyTime now) {
        std::erase_if(seen_, [&](const auto& each) {
            return each.second.since == 0 && now - each.second.told >= kEvery;
        });
    }
    template <typename Due>
    std::vector<Counted> take(Due due, SteadyTime now) {
        std::vector<Counted> out;
        for (auto& [key, seen] : seen_) {
            if (seen.since == 0 || !due(seen)) continue;
            out.push_back({key.first, key.second, std::exchange(seen.since, 0)});
            seen.told = now;
        }
        return out;
    }

    std::mutex mutex_;
    std::map<std::pair<std::string, std::string>, Seen> seen_;  // by mutex_: address, reason
};

}  // namespace berth::service
