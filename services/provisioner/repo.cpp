// SPDX-License-Identifier: Apache-2.0
// The SQL of the provisioner.
#include "provisioner/repo.hpp"

#include <array>

namespace berth::prov {
namespace {

using store::Param;
using store::Row;
using store::Rows;
using store::Statement;

constexpr std::string_view kTables = R"(
CREATE TABLE resources (
    machine text PRIMARY KEY,
    org text NOT NULL,
    lease text NOT NULL,
    driver text NOT NULL,
    spec bytea NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL,
    next_at timestamptz NOT NULL,
    error text NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX resources_due ON resources (next_at) WHERE state IN ('creating', 'destroying');
CREATE INDEX resources_ready ON resources (machine) WHERE state = 'ready';
)";

#define RESOURCE_COLUMNS \
    "machine, org, lease, driver, spec, state, attempts, next_at, error, revision"

constexpr Statement kInsert{
    "INSERT INTO resources (" RESOURCE_COLUMNS
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
    "insert_resource"};
constexpr Statement kUpdate{
    "UPDATE resources SET state = $2, attempts = $3, next_at = $4, error = $5, revision = $6 WHERE "
    "machine = $1",
    "update_resource"};
constexpr Statement kLock{
    "SELECT " RESOURCE_COLUMNS " FROM resources WHERE machine = $1 FOR UPDATE", "lock_resource"};
constexpr Statement kDue{
    "SELECT machine FROM resources WHERE state IN ('creating', 'destroying') AND next_at <= $1 "
    "ORDER BY next_at LIMIT $2",
    "due_resources"};
constexpr Statement kInState{
    "SELECT " RESOURCE_COLUMNS " FROM resources WHERE state = $1 ORDER BY machine LIMIT $2",
    "resources_in_state"};
constexpr Statement kWanted{
    "SELECT machine FROM resources WHERE machine = ANY($1) AND state <> 'gone'",
    "wanted_resources"};
constexpr Statement kTryAct{"SELECT pg_try_advisory_lock(hashtextextended($1, 0))", "try_act"};
constexpr Statement kEndAct{"SELECT pg_advisory_unlock(hashtextextended($1, 0))", "end_act"};

Resource to_resource(const Row& row) {
    Resource resource;
    resource.machine = row.text(0);
    resource.org = row.text(1);
    resource.lease = row.text(2);
    resource.driver = row.text(3);
    resource.spec = row.bytes(4);
    resource.state = resource_state(row.text(5));
    resource.attempts = static_cast<int>(row.int64(6));
    resource.next_at = row.time(7);
    resource.error = row.text(8);
    resource.revision = row.int64(9);
    return resource;
}

std::vector<std::string> first_column(const Rows& rows) {
    std::vector<std::string> out;
    for (const Row row : rows) out.emplace_back(row.text(0));
    return out;
}

}  // namespace

std::span<const store::Migration> migrations() {
    static const std::string first =
        std::string(store::kInboxOutboxDdl) + std::string(store::kLeaderDdl) + std::string(kTables);
    static const std::array<store::Migration, 1> all{{{1, "resources", first}}};
    return all;
}

namespace repo {

Result<bool> insert(store::Transaction& tx, const Resource& r) {
    BERTH_ASSIGN(
        const Rows rows,
        tx.exec(
            kInsert,
            {r.machine,
             r.org,
             r.lease,
             r.driver,
             Param::bytes(r.spec),
             state_name(r.state),
             r.attempts,
             r.next_at,
             r.error,
             r.revision}
        )
    );
    return rows.affected() == 1;
}
Result<void> update(store::Transaction& tx, const Resource& r) {
    BERTH_TRY(tx.exec(
        kUpdate, {r.machine, state_name(r.state), r.attempts, r.next_at, r.error, r.revision}
    ));
    return {};
}
Result<std::optional<Resource>> lock(store::Transaction& tx, const std::string& machine) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kLock, {machine}));
    if (rows.empty()) return std::optional<Resource>{};
    return std::optional<Resource>(to_resource(rows[0]));
}
Result<std::vector<std::string>> due(store::Pool& pool, WallTime now, int limit) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kDue, {now, limit}, store::OnLoss::kRetry));
    return first_column(rows);
}
Result<std::vector<Resource>> in_state(store::Pool& pool, ResourceState state, int limit) {
    BERTH_ASSIGN(
        const Rows rows,
        pool.exec_autocommit(kInState, {state_name(state), limit}, store::OnLoss::kRetry)
    );
    std::vector<Resource> out;
    for (const Row row : rows) out.push_back(to_resource(row));
    return out;
}
Result<std::vector<std::string>> wanted(store::Pool& pool, std::span<const std::string> machines) {
    BERTH_ASSIGN(
        const Rows rows,
        pool.exec_autocommit(kWanted, {Param::text_array(machines)}, store::OnLoss::kRetry)
    );
    return first_column(rows);
}
Result<bool> try_act(store::Connection& connection, const std::string& machine) {
    BERTH_ASSIGN(const Rows rows, connection.exec(kTryAct, {machine}));
    return rows[0].boolean(0);
}
Result<void> end_act(store::Connection& connection, const std::string& machine) {
    BERTH_TRY(connection.exec(kEndAct, {machine}));
    return {};
}

}  // namespace repo
}  // namespace berth::prov
