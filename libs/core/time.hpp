// SPDX-License-Identifier: Apache-2.0
// Time as a dependency: wall time for records, steady time for waits, and the texts people and APIs
// use.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace berth {

using WallTime = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;
using SteadyTime = std::chrono::steady_clock::time_point;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// Where code that is not pure gets its time from. Thread-safe.
class Clock {
public:
    virtual ~Clock() = default;
    virtual WallTime now() const = 0;
    virtual SteadyTime steady() const = 0;
    /// The machine's own clock.
    static const Clock& system();
};

/// The machine's, for the deadlines of what is not pure anyway.
inline SteadyTime steady_now() { return std::chrono::steady_clock::now(); }

/// RFC 3339 in UTC with microseconds ("2026-01-31T09:05:00.000001Z") and back. Parsing takes any
/// number of fraction digits up to 9 and a numeric offset.
std::string to_rfc3339(WallTime time);
Result<WallTime> parse_rfc3339(std::string_view text);

/// A duration as people write it: "250ms", "90s", "15m", "2h", "1h30m", "7d", "0.5s", "1.5h". No
/// sign, no bare numbers; what is below a millisecond is cut off.
Result<milliseconds> parse_duration(std::string_view text);
/// The shortest such text: "1h30m", "450ms".
std::string format_duration(milliseconds duration);

/// Microseconds since the Unix epoch, the form in which wall time is stored in SQL and protobuf
/// helpers.
inline long long to_unix_micros(WallTime time) { return time.time_since_epoch().count(); }
inline WallTime from_unix_micros(long long micros) { return WallTime{microseconds{micros}}; }

}  // namespace berth
