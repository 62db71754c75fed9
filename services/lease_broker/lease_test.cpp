// SPDX-License-Identifier: Apache-2.0
// Every pair of states and every clock position of a lease, tried exhaustively.
#include "lease_broker/lease.hpp"

#include <gtest/gtest.h>

#include "lease_broker/machine.hpp"

namespace berth::lease {
namespace {

const WallTime kStart = from_unix_micros(1'800'000'000'000'000);

Lease active_lease() {
    Lease lease;
    lease.slug = "calm-otter";
    lease.state = LeaseState::LEASE_STATE_ACTIVE;
    lease.created_at = kStart;
    lease.touched_at = kStart;
    lease.ttl = std::chrono::minutes{60};
    lease.idle_timeout = std::chrono::minutes{10};
    return lease;
}

TEST(Lease, MovesOnlyAsTheTableSays) {
    const std::array states{
        LeaseState::LEASE_STATE_PENDING,
        LeaseState::LEASE_STATE_ACTIVE,
        LeaseState::LEASE_STATE_RELEASED,
        LeaseState::LEASE_STATE_EXPIRED,
        LeaseState::LEASE_STATE_FAILED};
    for (const LeaseState from : states) {
        for (const LeaseState to : states) {
            Lease lease = active_lease();
            lease.state = from;
            const bool ends_it = to >= LeaseState::LEASE_STATE_RELEASED;
            if (ends_it) {
                EXPECT_EQ(end(lease, to, "x", kStart), from <= LeaseState::LEASE_STATE_ACTIVE)
                    << state_name(from) << " to " << state_name(to);
            } else if (to == LeaseState::LEASE_STATE_ACTIVE) {
                EXPECT_EQ(
                    activate(lease, kStart).has_value(), from == LeaseState::LEASE_STATE_PENDING
                );
            }
        }
    }
}

TEST(Lease, ExpiresAtTheEarlierOfTtlAndIdle) {
    Lease lease = active_lease();
    EXPECT_EQ(lease.expires_at(), kStart + std::chrono::minutes{10});
    ASSERT_TRUE(touch(lease, kStart + std::chrono::minutes{5}));
    EXPECT_EQ(lease.expires_at(), kStart + std::chrono::minutes{15});
    for (int minute = 10; minute < 60; minute += 5)
        ASSERT_TRUE(touch(lease, kStart + std::chrono::minutes{minute}));
    EXPECT_EQ(lease.expires_at(), kStart + std::chrono::minutes{60}) << "never past its ttl";
}

TEST(Lease, AfterItsEndNothingRevivesIt) {
    Lease lease = active_lease();
    const auto late = touch(lease, kStart + std::chrono::minutes{10});
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, "lease_ended");
    EXPECT_EQ(http_status(late.error().fault), 409);
    ASSERT_TRUE(
        end(lease, LeaseState::LEASE_STATE_EXPIRED, "idle", kStart + std::chrono::minutes{10})
    );
    EXPECT_FALSE(touch(lease, kStart));
    EXPECT_FALSE(attach(lease, kStart));
    EXPECT_FALSE(activate(lease, kStart));
}

TEST(Lease, ALiveRunIsNeverIdleButTtlHolds) {
    Lease lease = active_lease();
    ASSERT_TRUE(attach(lease, kStart));
    EXPECT_EQ(overdue(lease, kStart + std::chrono::minutes{59}), "");
    EXPECT_EQ(overdue(lease, kStart + std::chrono::minutes{60}), "ttl");
    detach(lease, kStart + std::chrono::minutes{30});
    EXPECT_EQ(overdue(lease, kStart + std::chrono::minutes{39}), "");
    EXPECT_EQ(overdue(lease, kStart + std::chrono::minutes{40}), "idle");
}

TEST(Lease, OneThatEndedHasNoLiveRun) {
    Lease lease = active_lease();
    ASSERT_TRUE(attach(lease, kStart));
    ASSERT_TRUE(end(lease, LeaseState::LEASE_STATE_EXPIRED, "ttl", kStart));
    EXPECT_EQ(lease.live_runs, 0);
    lease.live_runs = 1;  // as rows from before that have it
    EXPECT_EQ(to_proto(lease).live_runs(), 0U);
}

TEST(Lease, EveryChangeRaisesTheRevision) {
    Lease lease = active_lease();
    std::int64_t last = lease.revision;
    const auto grew = [&] { return lease.revision == last + 1 && ++last > 0; };
    ASSERT_TRUE(touch(lease, kStart));
    EXPECT_TRUE(grew());
    ASSERT_TRUE(end(lease, LeaseState::LEASE_STATE_RELEASED, "released", kStart));
    EXPECT_TRUE(grew());
    EXPECT_FALSE(end(lease, LeaseState::LEASE_STATE_EXPIRED, "idle", kStart));
    EXPECT_EQ(lease.end_reason, "released") << "the first reason stays";
}

TEST(Lease, RefusesDurationsThatAreMistakes) {
    EXPECT_EQ(check_duration(milliseconds{-5}, "ttl").error().field, "ttl");
    EXPECT_FALSE(check_duration(std::chrono::hours{24 * 31}, "ttl"));
    EXPECT_TRUE(check_duration(std::chrono::hours{1}, "ttl"));
}

TEST(Lease, StateNamesRoundTrip) {
    for (int state = 1; state <= 5; ++state) {
        EXPECT_EQ(
            lease_state(state_name(static_cast<LeaseState>(state))), static_cast<LeaseState>(state)
        );
    }
    for (int state = 1; state <= 6; ++state) {
        EXPECT_EQ(
            machine_state(state_name(static_cast<MachineState>(state))),
            static_cast<MachineState>(state)
        );
    }
}

}  // namespace
}  // namespace berth::lease
