// SPDX-License-Identifier: Apache-2.0
// What follows from an attempt to deliver: pure, so that a day passes in a test.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "core/random.hpp"
#include "core/time.hpp"

namespace berth::webhook {

/// A subscriber's health as its lane knows it. Stored, so that a restart forgets none of it.
struct Health {
    int failures = 0;  ///< in a row
    std::optional<WallTime> failing_since{};
    WallTime next_at{};     ///< of its backoff: the next success ends it
    WallTime not_before{};  ///< of Retry-After, which another's success does not end

    /// Nothing but a test is sent before.
    WallTime quiet_until() const { return std::max(next_at, not_before); }
    bool operator==(const Health&) const = default;
};

/// A delivery as far as its attempts go.
struct Attempts {
    int made = 0;
    std::optional<WallTime> first_at{};
    WallTime next_at{};
};

/// How one attempt ended.
struct Answer {
    int status = 0;                             ///< 0: there was none
    std::optional<milliseconds> retry_after{};  ///< as the subscriber said
};

enum class Verdict {
    kDelivered,
    kAgain,    ///< at Attempts::next_at, not before Health::quiet_until()
    kGivenUp,  ///< this delivery alone: others went well meanwhile
    kDisable,  ///< the subscriber: nothing went well for kGiveUpAfter, or it said 410
};

/// Takes the answer into account.
Verdict decide(
    Health& health, Attempts& attempts, const Answer& answer, WallTime now, Random& random
);

/// The pause after the n-th failure (1 …): 5 s, doubled each time up to an hour, a fifth more or
/// less.
milliseconds backoff(int failures, Random& random);

/// Retry-After: seconds, or an HTTP date. None where it is neither; a day at most.
std::optional<milliseconds> parse_retry_after(std::string_view text, WallTime now);

}  // namespace berth::webhook
