// SPDX-License-Identifier: Apache-2.0
// The SQL of machines, pools and lines; accounts.cpp has that of limits, money, shares and drains.
#include "lease_broker/pools.hpp"

#include "lease_broker/repo.hpp"
#include "lease_broker/sql.hpp"
#include "store/advisory.hpp"

namespace berth::lease::repo {
namespace {

using store::Param;
using store::Row;
using store::Rows;
using store::Statement;

#define MACHINE_COLUMNS                                                                        \
    "id, org, profile, driver, state, lease, created_at, revision, drain, cleanable, reason, " \
    "changed_at, clean_by, recipe"

constexpr Statement kInsertMachine{
    "INSERT INTO machines (" MACHINE_COLUMNS
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    "insert_machine"};
constexpr Statement kUpdateMachine{
    "UPDATE machines SET state = $2, lease = $3, revision = $4, drain = $5, cleanable = $6, reason "
    "= $7, changed_at = $8, clean_by = $9 WHERE id = $1",
    "update_machine"};
constexpr Statement kLockMachine{
    "SELECT " MACHINE_COLUMNS " FROM machines WHERE id = $1 FOR UPDATE", "lock_machine"};
constexpr Statement kLockMachines{
    "SELECT " MACHINE_COLUMNS " FROM machines WHERE id = ANY($1) ORDER BY id FOR UPDATE",
    "lock_machines"};
constexpr Statement kFindMachine{
    "SELECT " MACHINE_COLUMNS " FROM machines WHERE id = $1 AND org = $2", "find_machine"};
constexpr Statement kTakeOne{
    "SELECT " MACHINE_COLUMNS
    " FROM machines WHERE org = $1 AND profile = $2 AND state = 'idle' AND NOT drain AND recipe = "
    "$3 "
    "ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
    "take_idle"};
constexpr Statement kTakeSeveral{
    "SELECT " MACHINE_COLUMNS
    " FROM machines WHERE org = $1 AND ($2 = '' OR profile = $2) AND state = 'idle' ORDER BY id "
    "LIMIT $3 FOR UPDATE SKIP LOCKED",
    "take_idle_several"};
constexpr Statement kTakeStale{
    "SELECT " MACHINE_COLUMNS
    " FROM machines WHERE org = $1 AND profile = $2 AND state = 'idle' AND recipe <> $3 ORDER BY "
    "id LIMIT $4 FOR UPDATE SKIP LOCKED",
    "take_idle_stale"};
constexpr Statement kTakeOthers{
    "SELECT " MACHINE_COLUMNS
    " FROM machines WHERE org <> $1 AND profile = $2 AND state = 'idle' ORDER BY id LIMIT $3 FOR "
    "UPDATE SKIP LOCKED",
    "take_idle_others"};
constexpr Statement kListLive{
    "SELECT " MACHINE_COLUMNS
    " FROM machines WHERE org = $1 AND ($2 = '' OR profile = $2) AND ($3 = '' OR state = $3) AND "
    "($4 = '' OR id < $4) AND state <> 'gone' ORDER BY id DESC LIMIT $5",
    "list_machines_live"};
constexpr Statement kListAll{
    "SELECT " MACHINE_COLUMNS
    " FROM machines WHERE org = $1 AND ($2 = '' OR profile = $2) AND ($3 = '' OR state = $3) AND "
    "($4 = '' OR id < $4) ORDER BY id DESC LIMIT $5",
    "list_machines_all"};
constexpr Statement kOverdueCleanings{
    "SELECT id FROM machines WHERE clean_by IS NOT NULL AND clean_by <= $1 ORDER BY clean_by LIMIT "
    "$2",
    "overdue_cleanings"};
constexpr Statement kSilent{
    "SELECT id FROM machines WHERE state IN ('provisioning', 'draining', 'failed') AND clean_by IS "
    "NULL AND changed_at <= $2 AND (state <> 'provisioning' OR changed_at <= $1) ORDER BY "
    "changed_at LIMIT $3",
    "silent_machines"};
constexpr Statement kCountAll{
    "SELECT profile, org, state, lease = '' AS free, clean_by IS NOT NULL AS cleaning, count(*), "
    "CASE WHEN state = 'idle' THEN recipe ELSE '' END AS made_by FROM machines WHERE state <> "
    "'gone' AND $1 = '' GROUP BY 1, 2, 3, 4, 5, 7",
    "count_machines"};
constexpr Statement kCountProfile{
    "SELECT profile, org, state, lease = '' AS free, clean_by IS NOT NULL AS cleaning, count(*), "
    "CASE WHEN state = 'idle' THEN recipe ELSE '' END AS made_by FROM machines WHERE state <> "
    "'gone' AND profile = $1 GROUP BY 1, 2, 3, 4, 5, 7",
    "count_machines_profile"};
constexpr Statement kWaiters{
    "SELECT id, org, owner, created_at, wait_until FROM leases WHERE profile = $1 AND state = "
    "'pending' AND "
    "machine = ''",
    "waiters"};
constexpr Statement kCountWaiters{
    "SELECT count(*) FROM leases l WHERE profile = $1 AND state = 'pending' AND machine = '' AND "
    "NOT EXISTS (SELECT FROM drains d WHERE d.org = l.org AND d.profile IN ('', l.profile) AND "
    "d.active)",
    "count_waiters"};
constexpr Statement kTurns{"SELECT org, owner, turn FROM turns WHERE profile = $1", "turns"};
constexpr Statement kNoteTurn{
    "INSERT INTO turns (profile, org, owner, turn) VALUES ($1, $2, $3, nextval('turn_numbers')) ON "
    "CONFLICT (profile, org, owner) DO UPDATE SET turn = excluded.turn",
    "note_turn"};
constexpr Statement kLines{
    "SELECT profile, count(*) FROM leases WHERE state = 'pending' AND machine = '' AND ($1 = '' OR "
    "org = $1) GROUP BY profile",
    "lines"};

Machine to_machine(const Row& row) {
    Machine machine;
    machine.id = row.text(0);
    machine.org = row.text(1);
    machine.profile = row.text(2);
    machine.driver = row.text(3);
    machine.state = machine_state(row.text(4));
    machine.lease = row.text(5);
    machine.created_at = row.time(6);
    machine.revision = row.int64(7);
    machine.drain = row.boolean(8);
    machine.cleanable = row.boolean(9);
    machine.reason = row.text(10);
    if (!row.is_null(11)) machine.changed_at = row.time(11);
    if (!row.is_null(12)) machine.clean_by = row.time(12);
    machine.recipe = row.text(13);
    return machine;
}

Result<std::optional<Machine>> one_machine(Result<Rows> rows) {
    if (!rows) return std::move(rows).error();
    if (rows->empty()) return std::optional<Machine>{};
    return std::optional<Machine>(to_machine((*rows)[0]));
}

Result<std::vector<std::string>> ids_of(const Result<Rows>& rows) {
    if (!rows) return rows.error();
    std::vector<std::string> ids;
    for (const Row row : *rows) ids.emplace_back(row.text(0));
    return ids;
}

std::vector<Machine> machines_of(const Rows& rows) {
    std::vector<Machine> out;
    out.reserve(rows.size());
    for (const Row row : rows) out.push_back(to_machine(row));
    return out;
}

}  // namespace

void insert_machine(store::Transaction& tx, const Machine& machine) {
    tx.exec_later(
        kInsertMachine,
        {machine.id,
         machine.org,
         machine.profile,
         machine.driver,
         state_name(machine.state),
         machine.lease,
         machine.created_at,
         machine.revision,
         machine.drain,
         machine.cleanable,
         machine.reason,
         or_null(machine.changed_at),
         or_null(machine.clean_by),
         machine.recipe}
    );
}

void update_machine(store::Transaction& tx, const Machine& machine) {
    tx.exec_later(
        kUpdateMachine,
        {machine.id,
         state_name(machine.state),
         machine.lease,
         machine.revision,
         machine.drain,
         machine.cleanable,
         machine.reason,
         or_null(machine.changed_at),
         or_null(machine.clean_by)}
    );
}

Result<std::optional<Machine>> lock_machine(store::Transaction& tx, const std::string& id) {
    return one_machine(tx.exec(kLockMachine, {id}));
}

Result<std::vector<Machine>> lock_machines(
    store::Transaction& tx, const std::vector<std::string>& ids
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kLockMachines, {Param::text_array(ids)}));
    std::vector<Machine> machines;
    for (const Row row : rows) machines.push_back(to_machine(row));
    return machines;
}

Result<std::optional<Machine>> find_machine(
    store::Pool& pool, const std::string& org, const std::string& id
) {
    return one_machine(pool.exec_autocommit(kFindMachine, {id, org}, store::OnLoss::kRetry));
}

Result<std::vector<Machine>> take_one_idle(
    store::Transaction& tx,
    const std::string& org,
    const std::string& profile,
    const std::string& recipe
) {
    BERTH_ASSIGN(const Rows one, tx.exec(kTakeOne, {org, profile, recipe}));
    return machines_of(one);
}

Result<std::vector<Machine>> take_stale(
    store::Transaction& tx,
    const std::string& org,
    const std::string& profile,
    const std::string& recipe,
    int limit
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kTakeStale, {org, profile, recipe, limit}));
    return machines_of(rows);
}

Result<std::vector<Machine>> take_idle(
    store::Transaction& tx,
    const std::string& org,
    const std::string& profile,
    int limit,
    bool others
) {
    BERTH_ASSIGN(
        const Rows rows, tx.exec(others ? kTakeOthers : kTakeSeveral, {org, profile, limit})
    );
    return machines_of(rows);
}

Result<std::vector<Machine>> list_machines(store::Pool& pool, const MachineFilter& filter) {
    BERTH_ASSIGN(
        const Rows rows,
        pool.exec_autocommit(
            filter.gone ? kListAll : kListLive,
            {filter.org, filter.profile, filter.state, filter.before, filter.limit},
            store::OnLoss::kRetry
        )
    );
    return machines_of(rows);
}

Result<std::vector<std::string>> silent_machines(
    store::Pool& pool, WallTime created_before, WallTime removed_before, int limit
) {
    return ids_of(pool.exec_autocommit(
        kSilent, {created_before, removed_before, limit}, store::OnLoss::kRetry
    ));
}

Result<std::vector<std::string>> overdue_cleanings(store::Pool& pool, WallTime now, int limit) {
    return ids_of(pool.exec_autocommit(kOverdueCleanings, {now, limit}, store::OnLoss::kRetry));
}

Result<PoolCounts> count_machines(Reader reader, const std::string& profile) {
    BERTH_ASSIGN(
        const Rows rows, read(reader, profile.empty() ? kCountAll : kCountProfile, {profile})
    );
    PoolCounts counts;
    for (const Row row : rows) {
        PoolCount& count = counts[{std::string(row.text(0)), std::string(row.text(1))}];
        const int number = static_cast<int>(row.int64(5));
        switch (machine_state(row.text(2))) {
            case MachineState::MACHINE_STATE_PROVISIONING:
                count.provisioning += number;
                if (row.boolean(3)) count.warming += number;
                break;
            case MachineState::MACHINE_STATE_IDLE:
                count.idle += number;
                count.recipes.insert(std::string(row.text(6)));
                break;
            case MachineState::MACHINE_STATE_LEASED: count.leased += number; break;
            case MachineState::MACHINE_STATE_DRAINING:
                count.draining += number;
                if (row.boolean(4)) count.cleaning += number;
                break;
            default: count.failed += number; break;
        }
    }
    return counts;
}

Result<void> lock_pool(store::Transaction& tx, const std::string& profile) {
    BERTH_TRY(tx.exec(kLockKey, {store::advisory_key("lease pool", profile)}));
    return {};
}

Result<void> lock_limit(store::Transaction& tx, const std::string& scope, const std::string& name) {
    BERTH_TRY(tx.exec(kLockKey, {store::advisory_key("lease limit " + scope, name)}));
    return {};
}

Result<std::vector<Waiter>> waiters(Reader reader, const std::string& profile) {
    BERTH_ASSIGN(const Rows rows, read(reader, kWaiters, {profile}));
    std::vector<Waiter> out;
    out.reserve(rows.size());
    for (const Row row : rows) {
        out.push_back(
            {std::string(row.text(0)),
             std::string(row.text(1)),
             std::string(row.text(2)),
             row.time(3),
             row.time(4)}
        );
    }
    return out;
}

Result<std::int64_t> count_waiters(Reader reader, const std::string& profile) {
    BERTH_ASSIGN(const Rows rows, read(reader, kCountWaiters, {profile}));
    return rows[0].int64(0);
}

Result<Turns> turns(Reader reader, const std::string& profile) {
    BERTH_ASSIGN(const Rows rows, read(reader, kTurns, {profile}));
    Turns out;
    for (const Row row : rows)
        out[std::string(row.text(0)) + "/" + std::string(row.text(1))] = row.int64(2);
    return out;
}

Result<void> note_turn(store::Transaction& tx, const std::string& profile, const Waiter& waiter) {
    BERTH_TRY(tx.exec(kNoteTurn, {profile, waiter.org, waiter.owner}));
    return {};
}

Result<std::map<std::string, std::int64_t>> lines(store::Pool& pool, const std::string& org) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kLines, {org}, store::OnLoss::kRetry));
    std::map<std::string, std::int64_t> out;
    for (const Row row : rows) out[std::string(row.text(0))] = row.int64(1);
    return out;
}

}  // namespace berth::lease::repo
