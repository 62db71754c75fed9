// SPDX-License-Identifier: Apache-2.0
// How many requests the provider still lets us make: what every thread asks before it sends one.
#pragma once

#include <optional>

#include "core/time.hpp"

namespace berth::prov::hetzner {

/// What an answer said of the account's limit (headers RateLimit-*, Retry-After).
struct RateNotice {
    std::optional<long long> limit;       ///< requests per hour
    std::optional<long long> remaining;   ///< of them, at the time of the answer
    std::optional<long long> reset_unix;  ///< when it will be whole again, in Unix seconds
    std::optional<seconds> retry_after;   ///< of a 429
    bool refused = false;                 ///< the answer was a 429
};

/// A token bucket that fills by itself and is corrected by each answer: others may spend from the
/// same account. Pure: the time comes from outside. Not thread-safe.
class RateBudget {
public:
    /// `reserve`: what requests that can wait (lists, looking after) leave to those that cannot.
    RateBudget(long long per_hour, double reserve_share);

    /// Takes one request out and returns zero, or returns how long it must wait (and takes
    /// nothing). `urgent`: may use the reserve.
    milliseconds take(SteadyTime now, bool urgent);
    void heard(const RateNotice& notice, SteadyTime now, WallTime wall);
    /// What is there now; for metrics and tests.
    double available(SteadyTime now);

private:
    void fill(SteadyTime now);

    double limit_;
    double reserve_share_;
    double tokens_;
    double per_second_;
    std::optional<SteadyTime> filled_;
    SteadyTime closed_until_{};
};

}  // namespace berth::prov::hetzner
