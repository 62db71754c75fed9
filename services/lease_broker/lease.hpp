// SPDX-License-Identifier: Apache-2.0
// The Lease state machine, pure: no clock, no random, no I/O (rule 2).
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "berth/lease/v1/lease.pb.h"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::lease {

using v1::LeaseState;

/// A lease as the broker keeps it. `live_runs` counts attached work: such a lease is never idle.
struct Lease {
    std::string id;
    std::string slug;
    std::string org;
    std::string owner;
    std::string profile;
    std::string machine;
    LeaseState state = LeaseState::LEASE_STATE_PENDING;
    WallTime created_at;
    WallTime touched_at;
    WallTime ended_at;  // meaningful once ended
    milliseconds ttl{};
    milliseconds idle_timeout{};
    std::string label;
    bool one_shot = false;
    int live_runs = 0;
    std::string end_reason;
    std::string end_detail;             // of a failure: words for people
    std::vector<v1::Attempt> attempts;  // of a machine that could not be made
    WallTime begun_at{};                // ttl counts from here; the epoch: from created_at
    WallTime wait_until{};              // in line for a machine until then; the epoch: it never was
    WallTime activated_at{};            // the epoch: never
    std::int64_t price_per_hour = 0;    // micros, of the profile when it was acquired
    std::int64_t reserved = 0;          // micros: its whole ttl's price while it lives
    std::int64_t spent = 0;             // micros, once it ended
    std::int64_t revision = 1;
    std::string recipe;  // digest of the profile as it was (Recipe::digest)

    bool live() const {
        return state == LeaseState::LEASE_STATE_PENDING || state == LeaseState::LEASE_STATE_ACTIVE;
    }
    /// Stands in line for a machine.
    bool queued() const { return state == LeaseState::LEASE_STATE_PENDING && machine.empty(); }
    WallTime ttl_from() const { return std::max(created_at, begun_at); }
    /// min(begun + ttl, touched + idle_timeout); with live runs begun + ttl; in line wait_until.
    WallTime expires_at() const;
};

/// Every move a lease may make. What is not here is refused.
inline constexpr std::array<std::pair<LeaseState, LeaseState>, 7> kLeaseMoves{{
    {LeaseState::LEASE_STATE_PENDING, LeaseState::LEASE_STATE_ACTIVE},
    {LeaseState::LEASE_STATE_PENDING, LeaseState::LEASE_STATE_RELEASED},
    {LeaseState::LEASE_STATE_PENDING, LeaseState::LEASE_STATE_EXPIRED},
    {LeaseState::LEASE_STATE_PENDING, LeaseState::LEASE_STATE_FAILED},
    {LeaseState::LEASE_STATE_ACTIVE, LeaseState::LEASE_STATE_RELEASED},
    {LeaseState::LEASE_STATE_ACTIVE, LeaseState::LEASE_STATE_EXPIRED},
    {LeaseState::LEASE_STATE_ACTIVE, LeaseState::LEASE_STATE_FAILED},
}};
bool may_move(LeaseState from, LeaseState to);

/// The limits of what a client may ask for; beyond them is a mistake, not a wish.
inline constexpr milliseconds kLeastDuration{1'000};
inline constexpr milliseconds kMostTtl{std::chrono::hours{24 * 30}};
inline constexpr milliseconds kMostWait{std::chrono::hours{24}};

/// Checks a requested duration: error "bad_duration" with the field.
Result<void> check_duration(
    milliseconds value, std::string_view field, milliseconds most = kMostTtl
);

/// Where a lease that asks for a machine now has to wait for one, until `until`.
void stand_in_line(Lease& lease, WallTime until);
/// Its wait is over: it has `machine`, which may still have to be made. Its ttl begins now.
void leave_line(Lease& lease, std::string machine, WallTime now);

/// The machine answered: an active lease, its idle time counted from now.
Result<void> activate(Lease& lease, WallTime now);
/// Someone used the lease. Error "lease_ended" once it ended or its time is over, never a revival.
Result<void> touch(Lease& lease, WallTime now);
/// Work began or ended on it. Beginning checks as touch() does.
Result<void> attach(Lease& lease, WallTime now);
void detach(Lease& lease, WallTime now);
/// Ends it and settles its price. False when it had ended before (the first reason stays).
bool end(Lease& lease, LeaseState to, std::string_view reason, WallTime now);
/// How long an ended lease was active; nothing for one that never was.
milliseconds active_time(const Lease& lease);
/// Why it is over at `now`: "ttl", "idle", "pool_exhausted" (nothing came free while it stood in
/// line), or empty while it is not.
std::string_view overdue(const Lease& lease, WallTime now);

/// "pending", "active", …
std::string_view state_name(LeaseState state);
LeaseState lease_state(std::string_view name);

v1::Lease to_proto(const Lease& lease);

}  // namespace berth::lease
