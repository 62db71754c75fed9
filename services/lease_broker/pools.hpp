// SPDX-License-Identifier: Apache-2.0
// Machines, pools, lines, shares and money as rows.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "lease_broker/lease.hpp"
#include "lease_broker/line.hpp"
#include "lease_broker/machine.hpp"
#include "lease_broker/money.hpp"
#include "store/postgres.hpp"

namespace berth::lease {

struct Share {
    std::string lease;
    std::string user;
    std::string right;  // use, manage
    std::string by;
    WallTime at;
};
v1::Share to_proto(const Share& share);

/// A drain of a profile, or of the fleet where `profile` is empty.
struct Drain {
    std::string profile;
    std::string by;
    std::string reason;
};

struct PoolFailure {
    int failures = 0;
    WallTime retry_at{};
    std::string error;
};

struct UsageRow {
    std::string owner;
    std::string profile;
    std::string month;
    std::int64_t leases = 0;
    std::int64_t live = 0;
    std::int64_t active_ms = 0;
    std::int64_t spent = 0;
    std::int64_t reserved = 0;
};

namespace repo {

/// Where a read happens: in a transaction, or by itself.
using Reader = std::variant<store::Transaction*, store::Pool*>;

// ---- machines. Locks are taken in one order: the pool, a lease, a machine.
void insert_machine(store::Transaction& tx, const Machine& machine);
void update_machine(store::Transaction& tx, const Machine& machine);
Result<std::optional<Machine>> lock_machine(store::Transaction& tx, const std::string& id);
Result<std::vector<Machine>> lock_machines(
    store::Transaction& tx, const std::vector<std::string>& ids
);
Result<std::optional<Machine>> find_machine(
    store::Pool& pool, const std::string& org, const std::string& id
);
/// An idle one that was made by `recipe` and that nobody else is taking, locked.
Result<std::vector<Machine>> take_one_idle(
    store::Transaction& tx,
    const std::string& org,
    const std::string& profile,
    const std::string& recipe
);
/// Idle ones that were made by another recipe, locked.
Result<std::vector<Machine>> take_stale(
    store::Transaction& tx,
    const std::string& org,
    const std::string& profile,
    const std::string& recipe,
    int limit
);
/// Idle ones that nobody else is taking, the longest idle first, locked. `others`: of every org but
/// this.
Result<std::vector<Machine>> take_idle(
    store::Transaction& tx,
    const std::string& org,
    const std::string& profile,
    int limit,
    bool others = false
);
struct MachineFilter {
    std::string org;
    std::string profile;  // empty: any
    std::string state;    // empty: any
    bool gone = false;    // those that are gone too
    std::string before;
    int limit = 50;
};
Result<std::vector<Machine>> list_machines(store::Pool& pool, const MachineFilter& filter);
/// Machines that have been on their way since `created_before`, or out since `removed_before`, and
/// of which nothing was heard. `created_before` is not the later of the two.
Result<std::vector<std::string>> silent_machines(
    store::Pool& pool, WallTime created_before, WallTime removed_before, int limit
);
/// Cleanings that have not been told to be done in time.
Result<std::vector<std::string>> overdue_cleanings(store::Pool& pool, WallTime now, int limit);
/// By profile and org; `profile` empty: all.
using PoolCounts = std::map<std::pair<std::string, std::string>, PoolCount>;
Result<PoolCounts> count_machines(Reader reader, const std::string& profile);
/// One at a time decides about the machines of a profile that has a maximum.
Result<void> lock_pool(store::Transaction& tx, const std::string& profile);

// ---- the line
Result<std::vector<Waiter>> waiters(Reader reader, const std::string& profile);
Result<std::int64_t> count_waiters(Reader reader, const std::string& profile);
Result<Turns> turns(Reader reader, const std::string& profile);
Result<void> note_turn(store::Transaction& tx, const std::string& profile, const Waiter& waiter);
/// The waiting lease, locked; nothing where it waits no more.
Result<std::optional<Lease>> lock_waiting(store::Transaction& tx, const std::string& lease);
/// Profiles in whose line somebody stands, with the number.
Result<std::map<std::string, std::int64_t>> lines(store::Pool& pool, const std::string& org);

// ---- limits and money
/// One at a time counts against the limit of `scope` ("owner", "org", "profile") `name`.
Result<void> lock_limit(store::Transaction& tx, const std::string& scope, const std::string& name);
Result<std::int64_t> count_live(
    store::Transaction& tx,
    const std::string& org,
    const std::string& owner,
    const std::string& profile
);
/// Spent by ended and reserved by live leases of the month. `owner` empty: of the org.
Result<Budget> month_money(
    Reader reader, const std::string& org, const std::string& owner, const std::string& month
);
/// Adds an ended lease to its month.
void add_spend(store::Transaction& tx, std::span<const Lease> leases);
Result<std::vector<UsageRow>> usage(
    store::Pool& pool,
    const std::string& org,
    const std::string& owner,
    const std::string& from,
    const std::string& to
);

// ---- shares
Result<void> put_share(store::Transaction& tx, const std::string& org, const Share& share);
Result<bool> delete_share(
    store::Transaction& tx, const std::string& lease, const std::string& user
);
/// "use", "manage" or "".
Result<std::string> right_of(Reader reader, const std::string& lease, const std::string& user);
Result<std::vector<Share>> shares(Reader reader, const std::string& lease);
/// The lease has ended: those it was shared with do not list it any more.
void end_shares(store::Transaction& tx, std::span<const Lease> leases);

// ---- drains and failures of pools
/// The new revision, or nothing where it was so before.
Result<std::optional<std::int64_t>> set_drain(
    store::Transaction& tx, const std::string& org, const Drain& drain, bool active
);
Result<std::vector<Drain>> drains(Reader reader, const std::string& org);
Result<std::optional<Drain>> drain_of(
    Reader reader, const std::string& org, const std::string& profile
);
Result<void> note_failure(
    store::Transaction& tx,
    const std::string& org,
    const std::string& profile,
    const std::string& error,
    WallTime now
);
void clear_failures(store::Transaction& tx, const std::string& org, const std::string& profile);
/// By org and profile; `org` empty: of all.
Result<std::map<std::pair<std::string, std::string>, PoolFailure>> pool_failures(
    store::Pool& pool, const std::string& org
);

}  // namespace repo
}  // namespace berth::lease
