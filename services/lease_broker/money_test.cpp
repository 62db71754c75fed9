// SPDX-License-Identifier: Apache-2.0
// Money never rounds in favour of nobody, never overflows, and a budget is never exceeded.
#include "lease_broker/money.hpp"

#include <gtest/gtest.h>

#include "lease_broker/lease.hpp"

namespace berth::lease {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

const WallTime kMonthStart = from_unix_micros(1'800'000'000'000'000);

TEST(Money, APriceIsExactAndRoundsUp) {
    EXPECT_EQ(price_of(3'600'000, hours{1}), 3'600'000);
    EXPECT_EQ(price_of(3'600'000, milliseconds{1}), 1);
    EXPECT_EQ(price_of(1, milliseconds{1}), 1) << "a started micro counts";
    EXPECT_EQ(price_of(0, hours{5}), 0);
    EXPECT_EQ(price_of(100, milliseconds{0}), 0);
    EXPECT_EQ(price_of(kMostPrice, kMostTtl), kMostPrice * 24 * 30) << "no overflow at the limits";
    EXPECT_EQ(price_of(kMostPrice, hours{1} - milliseconds{1}), 9'999'997'223);
}

TEST(Money, ALeaseReservesItsTtlAndPaysForTheTimeItWasActive) {
    Lease lease;
    lease.created_at = lease.touched_at = kMonthStart;
    lease.ttl = hours{2};
    lease.idle_timeout = hours{2};
    lease.price_per_hour = 6'000'000;
    lease.reserved = price_of(lease.price_per_hour, lease.ttl);
    ASSERT_TRUE(activate(lease, kMonthStart + minutes{1}));
    ASSERT_TRUE(end(lease, LeaseState::LEASE_STATE_RELEASED, "released", kMonthStart + minutes{11})
    );
    EXPECT_EQ(lease.spent, 1'000'000) << "ten minutes";
    EXPECT_EQ(lease.reserved, 0);
    EXPECT_EQ(active_time(lease), minutes{10});
}

TEST(Money, WhatWasNeverActiveCostsNothingAndNothingCostsMoreThanWasReserved) {
    Lease lease;
    lease.created_at = kMonthStart;
    lease.price_per_hour = 6'000'000;
    lease.reserved = 12'000'000;
    Lease late = lease;
    ASSERT_TRUE(
        end(lease, LeaseState::LEASE_STATE_FAILED, "capacity_exhausted", kMonthStart + hours{1})
    );
    EXPECT_EQ(lease.spent, 0);
    ASSERT_TRUE(activate(late, kMonthStart));
    ASSERT_TRUE(end(late, LeaseState::LEASE_STATE_EXPIRED, "ttl", kMonthStart + hours{3}));
    EXPECT_EQ(late.spent, 12'000'000) << "the reaper may be late; the budget holds";
}

TEST(Money, ABudgetCountsWhatIsSpentAndWhatIsReserved) {
    EXPECT_TRUE(check_budget({100, 40, 50}, 10, "ann", "EUR"));
    const auto over = check_budget({100, 40, 50}, 11, "ann", "EUR");
    ASSERT_FALSE(over);
    EXPECT_EQ(over.error().code, "budget_exceeded");
    EXPECT_EQ(http_status(over.error().fault), 429);
    EXPECT_TRUE(check_budget({0, 40, 50}, 1'000, "ann", "EUR")) << "no limit";
    EXPECT_TRUE(check_budget({100, 200, 0}, 0, "ann", "EUR")) << "what is free is never refused";
    EXPECT_FALSE(check_budget({100, 200, 0}, 1, "ann", "EUR"));
}

TEST(Money, AMessageNamesAmountsAsPeopleWriteThem) {
    EXPECT_EQ(money_text(1'234'560'000), "1234.56");
    EXPECT_EQ(money_text(45'000), "0.045");
    EXPECT_EQ(money_text(0), "0.00");
    EXPECT_EQ(money_text(1), "0.000001");
}

TEST(Money, MonthsAreUtcAndChecked) {
    EXPECT_EQ(month_of(*parse_rfc3339("2026-02-01T00:30:00+01:00")), "2026-01");
    EXPECT_EQ(month_of(*month_begin("2026-02", "from")), "2026-02");
    for (const char* bad : {"2026-13", "2026-1", "2026", "", "2026-01-01", "abcd-ef"}) {
        const auto month = month_begin(bad, "from");
        ASSERT_FALSE(month) << bad;
        EXPECT_EQ(month.error().field, "from");
    }
}

TEST(Money, AQuestionAboutUsageNamesItsMonths) {
    const auto months = [](const char* from, const char* to) {
        const auto asked = asked_months(from, to, "2026-11");
        return asked ? asked->from + ".." + asked->to
                     : asked.error().code + " " + asked.error().field;
    };
    EXPECT_EQ(months("", ""), "2026-11..2026-11");
    EXPECT_EQ(months("2026-09", ""), "2026-09..2026-11");
    EXPECT_EQ(months("", "2026-09"), "2026-09..2026-09");
    EXPECT_EQ(months("2026-09", "2026-10"), "2026-09..2026-10");
    EXPECT_EQ(months("2027-01", ""), "2027-01..2027-01");
    EXPECT_EQ(months("2026-10", "2026-09"), "bad_month to");
    EXPECT_EQ(months("2020-01", ""), "bad_month to") << "more than 36";
    EXPECT_EQ(months("2026-13", ""), "bad_month from");
    EXPECT_EQ(months("", "2026-13"), "bad_month to");
}

TEST(Lease, InLineItEndsAtItsDeadlineAndItsTtlBeginsWithItsMachine) {
    Lease lease;
    lease.created_at = lease.touched_at = kMonthStart;
    lease.ttl = hours{1};
    lease.idle_timeout = minutes{5};
    stand_in_line(lease, kMonthStart + minutes{30});
    EXPECT_TRUE(lease.queued());
    EXPECT_EQ(overdue(lease, kMonthStart + minutes{29}), "") << "nobody in line is idle";
    EXPECT_EQ(overdue(lease, kMonthStart + minutes{30}), "pool_exhausted");
    leave_line(lease, "m_1", kMonthStart + minutes{20});
    EXPECT_FALSE(lease.queued());
    ASSERT_TRUE(activate(lease, kMonthStart + minutes{21}));
    EXPECT_EQ(lease.expires_at(), kMonthStart + minutes{26});
    for (int minute = 25; minute < 80; minute += 4)
        ASSERT_TRUE(touch(lease, kMonthStart + minutes{minute}));
    EXPECT_EQ(lease.expires_at(), kMonthStart + minutes{80}) << "an hour from the end of the wait";
}

}  // namespace
}  // namespace berth::lease
