// SPDX-License-Identifier: Apache-2.0
// The Lease and Machine state machines, pure: no clock, no random, no I/O (rule 2).
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "berth/lease/v1/lease.pb.h"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::lease {

using v1::LeaseState;
using v1::MachineState;

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
    std::int64_t revision = 1;

    bool live() const {
        return state == LeaseState::LEASE_STATE_PENDING || state == LeaseState::LEASE_STATE_ACTIVE;
    }
    /// min(created + ttl, touched + idle_timeout); with live runs created + ttl.
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

/// Checks a requested duration: error "bad_duration" with the field.
Result<void> check_duration(milliseconds value, std::string_view field);

/// The machine answered: an active lease, its idle time counted from now.
Result<void> activate(Lease& lease, WallTime now);
/// Someone used the lease. Error "lease_ended" once it ended or its time is over, never a revival.
Result<void> touch(Lease& lease, WallTime now);
/// Work began or ended on it. Beginning checks as touch() does.
Result<void> attach(Lease& lease, WallTime now);
void detach(Lease& lease, WallTime now);
/// Ends it. False when it had ended before (the first reason stays).
bool end(Lease& lease, LeaseState to, std::string_view reason, WallTime now);
/// Why it is over at `now`: "ttl", "idle", or empty while it is not.
std::string_view overdue(const Lease& lease, WallTime now);

/// "pending", "active", …; "provisioning", "idle", …
std::string_view state_name(LeaseState state);
LeaseState lease_state(std::string_view name);
std::string_view state_name(MachineState state);
MachineState machine_state(std::string_view name);

v1::Lease to_proto(const Lease& lease);

}  // namespace berth::lease
