// SPDX-License-Identifier: Apache-2.0
// The transitions of a lease and the names of its states.
#include "lease_broker/lease.hpp"

#include <algorithm>

#include "lease_broker/money.hpp"
#include "service/proto_time.hpp"

namespace berth::lease {
namespace {

constexpr std::array<std::pair<std::string_view, LeaseState>, 5> kLeaseNames{{
    {"pending", LeaseState::LEASE_STATE_PENDING},
    {"active", LeaseState::LEASE_STATE_ACTIVE},
    {"released", LeaseState::LEASE_STATE_RELEASED},
    {"expired", LeaseState::LEASE_STATE_EXPIRED},
    {"failed", LeaseState::LEASE_STATE_FAILED},
}};
template <typename Table, typename State>
std::string_view name_of(const Table& table, State state) {
    for (const auto& [name, value] : table) {
        if (value == state) return name;
    }
    return "unspecified";
}

template <typename State, typename Table>
State state_of(const Table& table, std::string_view name) {
    for (const auto& [known, value] : table) {
        if (known == name) return value;
    }
    return State{};
}

Error ended(const Lease& lease) {
    return conflict(
        "lease_ended",
        "lease " + lease.slug + " has ended (" +
            (lease.end_reason.empty() ? "expired" : lease.end_reason) + "); acquire a new one"
    );
}

}  // namespace

std::string_view state_name(LeaseState state) { return name_of(kLeaseNames, state); }
LeaseState lease_state(std::string_view name) { return state_of<LeaseState>(kLeaseNames, name); }

bool may_move(LeaseState from, LeaseState to) {
    return std::find(kLeaseMoves.begin(), kLeaseMoves.end(), std::pair{from, to}) !=
           kLeaseMoves.end();
}

WallTime Lease::expires_at() const {
    const WallTime by_ttl = ttl_from() + ttl;
    if (queued()) return wait_until;
    // Idle time begins anew with activation (activate()); while the machine is being made, whoever
    // does not wait for it has gone.
    if (live_runs > 0) return by_ttl;
    return std::min(by_ttl, touched_at + idle_timeout);
}

Result<void> check_duration(milliseconds value, std::string_view field, milliseconds most) {
    if (value < kLeastDuration || value > most) {
        return invalid(
            "bad_duration",
            std::string(field) + " must be between " + format_duration(kLeastDuration) + " and " +
                format_duration(most),
            std::string(field)
        );
    }
    return {};
}

std::string_view overdue(const Lease& lease, WallTime now) {
    if (!lease.live()) return {};
    if (lease.queued()) return now >= lease.wait_until ? "pool_exhausted" : "";
    if (now >= lease.ttl_from() + lease.ttl) return "ttl";
    if (now >= lease.expires_at()) return "idle";
    return {};
}

Result<void> activate(Lease& lease, WallTime now) {
    if (!may_move(lease.state, LeaseState::LEASE_STATE_ACTIVE)) return ended(lease);
    lease.state = LeaseState::LEASE_STATE_ACTIVE;
    lease.touched_at = now;
    lease.activated_at = now;
    ++lease.revision;
    return {};
}

Result<void> touch(Lease& lease, WallTime now) {
    if (!lease.live() || !overdue(lease, now).empty()) return ended(lease);
    lease.touched_at = std::max(lease.touched_at, now);
    ++lease.revision;
    return {};
}

Result<void> attach(Lease& lease, WallTime now) {
    if (lease.state == LeaseState::LEASE_STATE_PENDING) {
        return conflict(
            "lease_pending", "lease " + lease.slug + " has no machine yet; wait until it is active"
        );
    }
    BERTH_TRY(touch(lease, now));
    ++lease.live_runs;
    return {};
}

void detach(Lease& lease, WallTime now) {
    lease.live_runs = std::max(0, lease.live_runs - 1);
    lease.touched_at = std::max(lease.touched_at, now);
    ++lease.revision;
}

bool end(Lease& lease, LeaseState to, std::string_view reason, WallTime now) {
    if (!may_move(lease.state, to)) return false;
    lease.state = to;
    lease.end_reason = reason;
    lease.ended_at = now;
    lease.live_runs = 0;  // whatever still runs ends with its machine
    lease.spent = settled_price(lease.price_per_hour, lease.reserved, active_time(lease));
    lease.reserved = 0;
    ++lease.revision;
    return true;
}

milliseconds active_time(const Lease& lease) {
    if (lease.live() || lease.activated_at == WallTime{}) return milliseconds{0};
    return std::chrono::ceil<milliseconds>(
        std::max(lease.ended_at, lease.activated_at) - lease.activated_at
    );
}

void stand_in_line(Lease& lease, WallTime until) {
    lease.machine.clear();
    lease.wait_until = until;
}

void leave_line(Lease& lease, std::string machine, WallTime now) {
    lease.machine = std::move(machine);
    lease.begun_at = now;
    lease.touched_at = std::max(lease.touched_at, now);
    ++lease.revision;
}

v1::Lease to_proto(const Lease& lease) {
    v1::Lease out;
    out.set_id(lease.id);
    out.set_slug(lease.slug);
    out.set_org(lease.org);
    out.set_owner(lease.owner);
    out.set_profile(lease.profile);
    out.set_machine(lease.machine);
    out.set_state(lease.state);
    *out.mutable_created_at() = service::to_timestamp(lease.created_at);
    *out.mutable_touched_at() = service::to_timestamp(lease.touched_at);
    *out.mutable_expires_at() = service::to_timestamp(lease.expires_at());
    if (!lease.live()) *out.mutable_ended_at() = service::to_timestamp(lease.ended_at);
    *out.mutable_ttl() = service::to_duration(lease.ttl);
    *out.mutable_idle_timeout() = service::to_duration(lease.idle_timeout);
    out.set_label(lease.label);
    out.set_one_shot(lease.one_shot);
    // Rows of leases that ended long ago may still have a count.
    out.set_live_runs(static_cast<std::uint32_t>(lease.live() ? lease.live_runs : 0));
    out.set_end_reason(lease.end_reason);
    out.set_revision(static_cast<std::uint64_t>(lease.revision));
    *out.mutable_begun_at() = service::to_timestamp(lease.ttl_from());
    if (lease.queued()) *out.mutable_wait_until() = service::to_timestamp(lease.wait_until);
    out.set_end_detail(lease.end_detail);
    out.mutable_attempts()->Add(lease.attempts.begin(), lease.attempts.end());
    out.set_price_micros_per_hour(static_cast<std::uint64_t>(lease.price_per_hour));
    out.set_reserved_micros(static_cast<std::uint64_t>(lease.reserved));
    out.set_spent_micros(static_cast<std::uint64_t>(lease.spent));
    return out;
}

}  // namespace berth::lease
