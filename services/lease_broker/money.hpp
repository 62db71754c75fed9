// SPDX-License-Identifier: Apache-2.0
// What leases cost, in whole millionths of the deployment's currency. Pure: no clock, no I/O.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::lease {

/// The highest price per hour (micros) a profile may have: with it a lease of the longest ttl, and
/// a million of them in a sum, stay far below 2^63.
inline constexpr std::int64_t kMostPrice = 10'000'000'000;

/// Of `time` at `per_hour`, rounded up to a whole micro. Nothing for no time or no price.
std::int64_t price_of(std::int64_t per_hour, milliseconds time);
/// What an ended lease costs: its active time, never more than was reserved for it.
std::int64_t settled_price(std::int64_t per_hour, std::int64_t reserved, milliseconds active);

/// What a month's budget holds at the moment of an acquire.
struct Budget {
    std::int64_t limit = 0;  ///< 0: none
    std::int64_t spent = 0;
    std::int64_t reserved = 0;
};
/// Error kLimit "budget_exceeded" where `wanted` does not fit any more; `whose` begins the message.
Result<void> check_budget(
    const Budget& budget, std::int64_t wanted, const std::string& whose, const std::string& currency
);

/// "1234.56" of 1234560000 micros; as many digits as are needed, two at least.
std::string money_text(std::int64_t micros);

/// The UTC month of a moment, "2026-01"; what a lease is acquired in is what it is counted to.
std::string month_of(WallTime time);
/// The first moment of a month. Error "bad_month" with `field`.
Result<WallTime> month_begin(const std::string& month, const std::string& field);

/// The first and the last month of a question about usage, both inclusive.
struct Months {
    std::string from;
    std::string to;
};
/// Where neither is said: this one; only `from`: until this one; only `to`: that one. Error
/// "bad_month", also where there are none or more than 36.
Result<Months> asked_months(
    const std::string& from, const std::string& to, const std::string& this_month
);

}  // namespace berth::lease
