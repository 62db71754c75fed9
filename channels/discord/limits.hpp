// SPDX-License-Identifier: Apache-2.0
// Discord's budgets: each route has one, shared per channel, all of them together one more, and
// refused requests a last one.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "core/time.hpp"

namespace berth::discord {

/// What an answer says of its budget; empty texts where it says nothing.
struct BudgetHeaders {
    std::string bucket;
    std::string remaining;
    std::string reset_after;  ///< seconds, with a fraction
};

/// Not thread-safe. No clock of its own.
class RateLimits {
public:
    /// Zero, and one request is counted; or how long to wait before asking again. `route` is the
    /// method and the path's template, `major` the channel or webhook in it. Requests by an
    /// interaction's token do not count against the sum.
    milliseconds take(
        const std::string& route, const std::string& major, bool by_token, SteadyTime now
    );
    void learn(
        const std::string& route,
        const std::string& major,
        const BudgetHeaders& headers,
        SteadyTime now
    );
    /// An answer of 429.
    void refused(
        const std::string& route,
        const std::string& major,
        bool everywhere,
        milliseconds wait,
        SteadyTime now
    );
    /// An answer of 401, 403 or 429.
    void invalid(SteadyTime now);

private:
    struct Budget {
        long long remaining = 1;
        SteadyTime reset{};
    };
    using Key = std::pair<std::string, std::string>;
    Key key_of(const std::string& route, const std::string& major) const;
    void forget(SteadyTime now);

    std::map<std::string, std::string> buckets_;  // route → bucket
    std::map<Key, Budget> budgets_;               // bucket or route, and major
    SteadyTime closed_until_{};
    std::deque<SteadyTime> recent_;  // of the last second
    std::deque<SteadyTime> invalid_;
};

}  // namespace berth::discord
