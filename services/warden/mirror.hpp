// SPDX-License-Identifier: Apache-2.0
// Holds the audit's table against stream AUDIT: whoever can write to the database can write a whole
// new chain, but nobody can take back what the stream has.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bus/connection.hpp"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::warden {

/// A record of the table, as far as the stream is asked about it.
struct Link {
    std::uint64_t sequence = 0;
    std::string hash;
    std::int64_t at_us = 0;
};

/// What a part of the table is in the eyes of the stream.
struct Reflection {
    std::uint64_t first_bad = 0;  ///< 0: all is well
    std::string reason;
    std::uint64_t next = 0;      ///< where in the stream the next part may begin
    std::uint64_t furthest = 0;  ///< the highest record of the org that was seen
};

/// Thread-safe.
class Mirror {
public:
    explicit Mirror(bus::Connection& bus) : bus_(bus) {}
    /// Compares records of one org, gapless and in order, reading the stream from `from` on.
    /// `last`: no more records follow, and the stream is read to its end. Records younger than
    /// kMirrorLag may still be on their way. Errors: those of the bus; unavailable "slow_stream".
    Result<Reflection> compare(
        const std::string& org,
        const std::vector<Link>& links,
        std::uint64_t from,
        bool last,
        WallTime now
    );

private:
    bus::Connection& bus_;
};

}  // namespace berth::warden
