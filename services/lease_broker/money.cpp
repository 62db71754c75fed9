// SPDX-License-Identifier: Apache-2.0
// Prices, budgets and months.
#include "lease_broker/money.hpp"

#include <algorithm>

namespace berth::lease {
namespace {

constexpr std::int64_t kMicros = 1'000'000;
constexpr std::int64_t kMillisecondsPerHour = 3'600'000;
constexpr int kMostMonths = 36;

}  // namespace

std::int64_t price_of(std::int64_t per_hour, milliseconds time) {
    if (per_hour <= 0 || time.count() <= 0) return 0;
    // Hours and the rest apart: the product of a month's milliseconds and the highest price would
    // not fit.
    const std::int64_t hours = time.count() / kMillisecondsPerHour;
    const std::int64_t rest = time.count() % kMillisecondsPerHour;
    return hours * per_hour + (rest * per_hour + kMillisecondsPerHour - 1) / kMillisecondsPerHour;
}

std::int64_t settled_price(std::int64_t per_hour, std::int64_t reserved, milliseconds active) {
    return std::min(reserved, price_of(per_hour, active));
}

Result<void> check_budget(
    const Budget& budget, std::int64_t wanted, const std::string& whose, const std::string& currency
) {
    if (budget.limit == 0 || wanted == 0) return {};
    const std::int64_t used = budget.spent + budget.reserved;
    if (used <= budget.limit && wanted <= budget.limit - used) return {};
    const std::int64_t left = std::max<std::int64_t>(0, budget.limit - used);
    return limit(
        "budget_exceeded",
        whose + " has " + money_text(left) + " " + currency + " of this month's " +
            money_text(budget.limit) + " left and this lease's whole ttl costs " +
            money_text(wanted) + "; ask for a shorter ttl or release a lease"
    );
}

std::string money_text(std::int64_t micros) {
    const std::int64_t whole = micros / kMicros;
    std::string rest = std::to_string(kMicros + micros % kMicros).substr(1);
    while (rest.size() > 2 && rest.back() == '0') rest.pop_back();
    return std::to_string(whole) + "." + rest;
}

std::string month_of(WallTime time) { return to_rfc3339(time).substr(0, 7); }

Result<WallTime> month_begin(const std::string& month, const std::string& field) {
    const auto begin = parse_rfc3339(month + "-01T00:00:00Z");
    if (month.size() != 7 || !begin || month_of(*begin) != month)
        return invalid("bad_month", "'" + field + "' must be a month such as \"2026-01\"", field);
    return *begin;
}

Result<Months> asked_months(
    const std::string& from, const std::string& to, const std::string& this_month
) {
    for (const auto& [month, field] : {std::pair(from, "from"), std::pair(to, "to")})
        if (!month.empty()) BERTH_TRY(month_begin(month, field));
    Months out{from, to};
    if (out.to.empty()) out.to = std::max(from, this_month);  // months compare as texts
    if (out.from.empty()) out.from = to.empty() ? this_month : to;
    BERTH_ASSIGN(const WallTime begin, month_begin(out.from, "from"));
    BERTH_ASSIGN(const WallTime last, month_begin(out.to, "to"));
    if (last < begin || last - begin > std::chrono::hours{24 * 31} * kMostMonths)
        return invalid("bad_month", "'to' must be 'from' or up to 36 months later", "to");
    return out;
}

}  // namespace berth::lease
