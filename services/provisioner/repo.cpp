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

constexpr std::string_view kDriftTables = R"(
CREATE TABLE enrolments (
    machine text PRIMARY KEY,
    token_hash text NOT NULL,
    expires_at timestamptz NOT NULL,
    public_key text NOT NULL
);
CREATE TABLE looks (
    driver text PRIMARY KEY,
    ok boolean NOT NULL,
    looked_at timestamptz NOT NULL,
    machines integer NOT NULL,
    error text NOT NULL
);
CREATE TABLE drift (
    driver text NOT NULL,
    machine text NOT NULL,
    kind integer NOT NULL,
    since timestamptz NOT NULL,
    message text NOT NULL,
    PRIMARY KEY (driver, machine, kind)
);
)";

constexpr std::string_view kReaderTables = R"(
CREATE TABLE readers (
    id text PRIMARY KEY,
    org text NOT NULL,
    name text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    UNIQUE (org, name)
);
CREATE INDEX readers_end ON readers (expires_at);
)";

// Of machines from before this was recorded nobody knows where they are.
constexpr std::string_view kPlaceTables = R"(
CREATE TABLE places (
    machine text NOT NULL,
    place text NOT NULL,
    PRIMARY KEY (machine, place)
);
INSERT INTO places SELECT machine, '*' FROM resources WHERE driver = 'ssh' AND state <> 'gone';
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
constexpr Statement kLockMachine{
    "SELECT " RESOURCE_COLUMNS " FROM resources WHERE machine = $1 FOR UPDATE", "lock_resource"};
constexpr Statement kDue{
    "SELECT machine FROM resources WHERE state IN ('creating', 'destroying') AND next_at <= $1 "
    "AND driver = $2 ORDER BY next_at LIMIT $3",
    "due_resources"};
constexpr Statement kReady{
    "SELECT " RESOURCE_COLUMNS
    " FROM resources WHERE state = 'ready' AND driver = $1 ORDER BY machine LIMIT $2",
    "ready_resources"};
// A create that is repeated before anybody used its token makes the token good for longer.
constexpr Statement kOpenEnrolment{
    "INSERT INTO enrolments (machine, token_hash, expires_at, public_key) VALUES ($1, $2, $3, '') "
    "ON CONFLICT (machine) DO UPDATE SET expires_at = $3 WHERE enrolments.public_key = ''",
    "open_enrolment"};
constexpr Statement kLockEnrolment{
    "SELECT machine, token_hash, expires_at, public_key FROM enrolments WHERE machine = $1 FOR "
    "UPDATE",
    "lock_enrolment"};
constexpr Statement kUseEnrolment{
    "UPDATE enrolments SET public_key = $2 WHERE machine = $1", "use_enrolment"};
constexpr Statement kRenewEnrolment{
    "UPDATE enrolments SET public_key = '', expires_at = $2 WHERE machine = $1", "renew_enrolment"};
constexpr Statement kCloseEnrolment{"DELETE FROM enrolments WHERE machine = $1", "close_enrolment"};
constexpr Statement kTouch{
    "INSERT INTO places (machine, place) VALUES ($1, $2) ON CONFLICT DO NOTHING", "touch_place"};
constexpr Statement kTouched{"SELECT place FROM places WHERE machine = $1", "touched_places"};
constexpr Statement kLeft{"DELETE FROM places WHERE machine = $1", "leave_places"};
constexpr Statement kWriteLook{
    "INSERT INTO looks (driver, ok, looked_at, machines, error) VALUES ($1, $2, $3, $4, $5) ON "
    "CONFLICT (driver) DO UPDATE SET ok = $2, looked_at = $3, machines = CASE WHEN $2 THEN $4 "
    "ELSE looks.machines END, error = $5",
    "write_look"};
constexpr Statement kDropDrift{
    "DELETE FROM drift WHERE driver = $1 AND NOT (kind || ' ' || machine = ANY($2))", "drop_drift"};
constexpr Statement kAddDrift{
    "INSERT INTO drift (driver, machine, kind, since, message) VALUES ($1, $2, $3, $4, $5) ON "
    "CONFLICT (driver, machine, kind) DO UPDATE SET message = $5",
    "add_drift"};
constexpr Statement kLooks{
    "SELECT d.driver, l.ok, l.looked_at, l.machines, l.error FROM unnest($1::text[]) AS d(driver) "
    "LEFT JOIN looks l USING (driver) ORDER BY 1",
    "looks"};
// A removal that failed this often is not bad luck any more; one of a driver that is not configured
// cannot be carried out by anybody.
constexpr Statement kDrift{
    "SELECT d.kind, d.driver, d.machine, coalesce(r.lease, ''), coalesce(r.org, ''), d.since, "
    "d.message FROM drift d LEFT JOIN resources r USING (machine) WHERE d.driver = ANY($1) "
    "AND NOT coalesce(d.kind = 3 AND r.state = 'destroying' AND r.error LIKE 'not_ours%', false) "
    "UNION ALL SELECT CASE WHEN error LIKE 'not_ours%' THEN 3 ELSE 4 END, driver, machine, lease, "
    "org, next_at, CASE WHEN driver = ANY($1) THEN error ELSE 'no such driver is configured any "
    "more' END FROM resources WHERE state = 'destroying' AND (attempts >= 3 OR error LIKE "
    "'not_ours%' OR driver <> ALL($1)) ORDER BY 6 LIMIT 1000",
    "drift"};
constexpr Statement kWanted{
    "SELECT machine FROM resources WHERE machine = ANY($1) AND state <> 'gone'",
    "wanted_resources"};
constexpr Statement kCreating{
    "SELECT 1 FROM resources WHERE machine = $1 AND state = 'creating'", "is_creating"};
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
    static const std::string second(kDriftTables);
    static const std::array<store::Migration, 4> all{
        {{1, "resources", first},
         {2, "drift", second},
         {3, "readers of events", kReaderTables},
         {4, "places of machines", kPlaceTables}}};
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
    BERTH_ASSIGN(const Rows rows, tx.exec(kLockMachine, {machine}));
    if (rows.empty()) return std::optional<Resource>{};
    return std::optional<Resource>(to_resource(rows[0]));
}
Result<std::vector<std::string>> due(
    store::Pool& pool, std::string_view driver, WallTime now, int limit
) {
    BERTH_ASSIGN(
        const Rows rows, pool.exec_autocommit(kDue, {now, driver, limit}, store::OnLoss::kRetry)
    );
    return first_column(rows);
}
Result<std::vector<Resource>> ready(store::Pool& pool, std::string_view driver, int limit) {
    BERTH_ASSIGN(
        const Rows rows, pool.exec_autocommit(kReady, {driver, limit}, store::OnLoss::kRetry)
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
Result<bool> is_creating(store::Pool& pool, const std::string& machine) {
    BERTH_ASSIGN(
        const Rows rows, pool.exec_autocommit(kCreating, {machine}, store::OnLoss::kRetry)
    );
    return !rows.empty();
}
Result<void> open_enrolment(store::Pool& pool, const EnrolmentRow& row) {
    BERTH_TRY(pool.exec_autocommit(
        kOpenEnrolment, {row.machine, row.token_hash, row.expires_at}, store::OnLoss::kRetry
    ));
    return {};
}
Result<std::optional<EnrolmentRow>> lock_enrolment(
    store::Transaction& tx, const std::string& machine
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kLockEnrolment, {machine}));
    if (rows.empty()) return std::optional<EnrolmentRow>{};
    const Row row = rows[0];
    return std::optional<EnrolmentRow>(EnrolmentRow{
        std::string(row.text(0)), std::string(row.text(1)), row.time(2), std::string(row.text(3))});
}
Result<void> use_enrolment(store::Transaction& tx, const EnrolmentRow& row) {
    BERTH_TRY(tx.exec(kUseEnrolment, {row.machine, row.public_key}));
    return {};
}
Result<void> renew_enrolment(store::Pool& pool, const std::string& machine, WallTime expires_at) {
    BERTH_TRY(pool.exec_autocommit(kRenewEnrolment, {machine, expires_at}, store::OnLoss::kRetry));
    return {};
}
Result<void> close_enrolment(store::Pool& pool, const std::string& machine) {
    BERTH_TRY(pool.exec_autocommit(kCloseEnrolment, {machine}, store::OnLoss::kRetry));
    return {};
}

Result<void> touch(store::Pool& pool, const std::string& machine, const std::string& place) {
    BERTH_TRY(pool.exec_autocommit(kTouch, {machine, place}, store::OnLoss::kRetry));
    return {};
}
Result<std::vector<std::string>> touched(store::Pool& pool, const std::string& machine) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kTouched, {machine}, store::OnLoss::kRetry));
    return first_column(rows);
}
Result<void> left(store::Pool& pool, const std::string& machine) {
    BERTH_TRY(pool.exec_autocommit(kLeft, {machine}, store::OnLoss::kRetry));
    return {};
}

Result<void> write_look(
    store::Pool& pool, const DriverLook& look, std::span<const DriftItem> items
) {
    return pool.transact([&](store::Transaction& tx) -> Result<void> {
        const WallTime now = look.looked_at.value_or(WallTime{});
        BERTH_TRY(tx.exec(kWriteLook, {look.driver, look.ok, now, look.machines, look.error}));
        // Where something could not be seen, what was known stays.
        if (look.ok) {
            std::vector<std::string> kept;
            for (const DriftItem& item : items)
                kept.push_back(std::to_string(static_cast<int>(item.kind)) + " " + item.machine);
            BERTH_TRY(tx.exec(kDropDrift, {look.driver, Param::text_array(kept)}));
        }
        for (const DriftItem& item : items)
            BERTH_TRY(tx.exec(
                kAddDrift,
                {look.driver, item.machine, static_cast<int>(item.kind), now, item.message}
            ));
        return {};
    });
}
Result<DriftReport> read_drift(store::Pool& pool, std::span<const std::string> drivers) {
    DriftReport report;
    BERTH_ASSIGN(
        const Rows looks,
        pool.exec_autocommit(kLooks, {Param::text_array(drivers)}, store::OnLoss::kRetry)
    );
    for (const Row row : looks) {
        DriverLook look;
        look.driver = row.text(0);
        if (!row.is_null(2)) {
            look.ok = row.boolean(1);
            look.looked_at = row.time(2);
            look.machines = static_cast<int>(row.int64(3));
            look.error = row.text(4);
        }
        report.looks.push_back(std::move(look));
    }
    BERTH_ASSIGN(
        const Rows items,
        pool.exec_autocommit(kDrift, {Param::text_array(drivers)}, store::OnLoss::kRetry)
    );
    for (const Row row : items) {
        DriftItem item;
        item.kind = static_cast<DriftKind>(row.int64(0));
        item.driver = row.text(1);
        item.machine = row.text(2);
        item.lease = row.text(3);
        item.org = row.text(4);
        item.since = row.time(5);
        item.message = row.text(6);
        report.items.push_back(std::move(item));
    }
    return report;
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
