// SPDX-License-Identifier: Apache-2.0
// The SQL of the lease broker.
#include "lease_broker/repo.hpp"

#include "core/id.hpp"
#include "service/proto_time.hpp"

namespace berth::lease {
namespace {

using store::Param;
using store::Params;
using store::Row;
using store::Rows;
using store::Statement;

// Nothing ended is ever on a hot path: every index a live query uses is partial.
constexpr std::string_view kTables = R"(
CREATE TABLE leases (
    id text PRIMARY KEY,
    slug text NOT NULL,
    org text NOT NULL,
    owner text NOT NULL,
    profile text NOT NULL,
    machine text NOT NULL,
    state text NOT NULL,
    created_at timestamptz NOT NULL,
    touched_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    ttl_ms bigint NOT NULL,
    idle_ms bigint NOT NULL,
    label text NOT NULL,
    one_shot boolean NOT NULL,
    live_runs integer NOT NULL,
    end_reason text NOT NULL,
    revision bigint NOT NULL
);
CREATE UNIQUE INDEX leases_live_slug ON leases (org, slug) WHERE state IN ('pending', 'active');
CREATE INDEX leases_slug ON leases (org, slug, id);
CREATE INDEX leases_live_expiry ON leases (expires_at) WHERE state IN ('pending', 'active');
CREATE INDEX leases_live_owner ON leases (org, owner, id) WHERE state IN ('pending', 'active');
CREATE INDEX leases_owner ON leases (org, owner, id);
CREATE INDEX leases_org ON leases (org, id);
CREATE INDEX leases_live_machine ON leases (machine) WHERE state IN ('pending', 'active');
CREATE TABLE machines (
    id text PRIMARY KEY,
    org text NOT NULL,
    profile text NOT NULL,
    driver text NOT NULL,
    state text NOT NULL,
    lease text NOT NULL,
    created_at timestamptz NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE attachments (
    work text PRIMARY KEY,
    lease text NOT NULL,
    confirmed boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL
);
CREATE INDEX attachments_unconfirmed ON attachments (created_at) WHERE NOT confirmed;
)";

#define LEASE_COLUMNS                                                                           \
    "id, slug, org, owner, profile, machine, state, created_at, touched_at, ended_at, ttl_ms, " \
    "idle_ms, label, "                                                                          \
    "one_shot, live_runs, end_reason, revision"

constexpr Statement kInsertLease{
    "INSERT INTO leases (id, slug, org, owner, profile, machine, state, created_at, touched_at, "
    "expires_at, ttl_ms, idle_ms, label, one_shot, "
    "live_runs, end_reason, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, "
    "$13, $14, $15, $16, $17) "
    "ON CONFLICT DO NOTHING",
    "insert_lease"};
constexpr Statement kUpdateLease{
    "UPDATE leases SET state = $2, touched_at = $3, expires_at = $4, ended_at = $5, live_runs = "
    "$6, end_reason = $7, revision = $8 WHERE id = $1",
    "update_lease"};
constexpr Statement kLeaseById{
    "SELECT " LEASE_COLUMNS " FROM leases WHERE id = $1 AND org = $2", "lease_by_id"};
constexpr Statement kLeaseByIdLocked{
    "SELECT " LEASE_COLUMNS " FROM leases WHERE id = $1 AND org = $2 FOR UPDATE",
    "lease_by_id_locked"};
// The live one of a slug first (its ids need not be the newest's), else the newest that ended.
constexpr Statement kLeaseBySlug{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE slug = $1 AND org = $2 ORDER BY state IN ('pending', 'active') DESC, id "
    "DESC LIMIT 1",
    "lease_by_slug"};
constexpr Statement kLeaseBySlugLocked{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE slug = $1 AND org = $2 ORDER BY state IN ('pending', 'active') DESC, id "
    "DESC LIMIT 1 FOR UPDATE",
    "lease_by_slug_locked"};
constexpr Statement kLeaseByMachine{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE machine = $1 AND state IN ('pending', 'active') FOR UPDATE",
    "lease_by_machine"};
constexpr Statement kReusable{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE org = $1 AND owner = $2 AND profile = $3 AND label = $4 AND NOT one_shot "
    "AND state IN ('pending', 'active') ORDER BY id DESC LIMIT 1 FOR UPDATE",
    "reusable_lease"};
constexpr Statement kListLive{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE org = $1 AND ($2 = '' OR owner = $2) AND ($3 = '' OR id < $3) AND state IN "
    "('pending', 'active') "
    "ORDER BY id DESC LIMIT $4",
    "list_live"};
constexpr Statement kListAllOfOwner{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE org = $1 AND owner = $2 AND ($3 = '' OR id < $3) ORDER BY id DESC LIMIT $4",
    "list_owner"};
constexpr Statement kListAllOfOrg{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE org = $1 AND $2 = '' AND ($3 = '' OR id < $3) ORDER BY id DESC LIMIT $4",
    "list_org"};
constexpr Statement kOverdue{
    "SELECT id, org FROM leases WHERE state IN ('pending', 'active') AND expires_at <= $1 ORDER BY "
    "expires_at LIMIT $2",
    "overdue"};
constexpr Statement kInsertMachine{
    "INSERT INTO machines (id, org, profile, driver, state, lease, created_at, revision) VALUES "
    "($1, $2, $3, $4, $5, $6, $7, $8)",
    "insert_machine"};
constexpr Statement kUpdateMachine{
    "UPDATE machines SET state = $2, lease = $3, revision = $4 WHERE id = $1", "update_machine"};
constexpr Statement kLockMachine{
    "SELECT id, org, profile, driver, state, lease, created_at, revision FROM machines WHERE id = "
    "$1 FOR UPDATE",
    "lock_machine"};
constexpr Statement kInsertAttachment{
    "INSERT INTO attachments (work, lease, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    "insert_attachment"};
constexpr Statement kConfirmAttachment{
    "UPDATE attachments SET confirmed = true WHERE work = $1 AND NOT confirmed",
    "confirm_attachment"};
constexpr Statement kDeleteAttachment{
    "DELETE FROM attachments WHERE work = $1 RETURNING lease", "delete_attachment"};
constexpr Statement kStaleAttachments{
    "SELECT work FROM attachments WHERE NOT confirmed AND created_at < $1 LIMIT $2",
    "stale_attachments"};
constexpr Statement kOrgOfAttachment{
    "SELECT l.org FROM attachments a JOIN leases l ON l.id = a.lease WHERE a.work = $1",
    "org_of_attachment"};

Lease to_lease(const Row& row) {
    Lease lease;
    lease.id = row.text(0);
    lease.slug = row.text(1);
    lease.org = row.text(2);
    lease.owner = row.text(3);
    lease.profile = row.text(4);
    lease.machine = row.text(5);
    lease.state = lease_state(row.text(6));
    lease.created_at = row.time(7);
    lease.touched_at = row.time(8);
    if (!row.is_null(9)) lease.ended_at = row.time(9);
    lease.ttl = milliseconds{row.int64(10)};
    lease.idle_timeout = milliseconds{row.int64(11)};
    lease.label = row.text(12);
    lease.one_shot = row.boolean(13);
    lease.live_runs = static_cast<int>(row.int64(14));
    lease.end_reason = row.text(15);
    lease.revision = row.int64(16);
    return lease;
}

Result<std::optional<Lease>> one_lease(Result<Rows> rows) {
    if (!rows) return std::move(rows).error();
    if (rows->empty()) return std::optional<Lease>{};
    return std::optional<Lease>(to_lease((*rows)[0]));
}

}  // namespace

std::span<const store::Migration> migrations() {
    static const std::string first =
        std::string(store::kInboxOutboxDdl) + std::string(store::kLeaderDdl) + std::string(kTables);
    static const std::array<store::Migration, 1> all{{{1, "leases", first}}};
    return all;
}

v1::Machine to_proto(const Machine& machine) {
    v1::Machine out;
    out.set_id(machine.id);
    out.set_org(machine.org);
    out.set_profile(machine.profile);
    out.set_driver(machine.driver);
    out.set_state(machine.state);
    out.set_lease(machine.lease);
    *out.mutable_created_at() = service::to_timestamp(machine.created_at);
    out.set_revision(static_cast<std::uint64_t>(machine.revision));
    return out;
}

namespace repo {

Result<bool> insert_lease(store::Transaction& tx, const Lease& lease) {
    BERTH_ASSIGN(
        const Rows rows,
        tx.exec(
            kInsertLease,
            {lease.id,
             lease.slug,
             lease.org,
             lease.owner,
             lease.profile,
             lease.machine,
             state_name(lease.state),
             lease.created_at,
             lease.touched_at,
             lease.expires_at(),
             lease.ttl.count(),
             lease.idle_timeout.count(),
             lease.label,
             lease.one_shot,
             lease.live_runs,
             lease.end_reason,
             lease.revision}
        )
    );
    return rows.affected() == 1;
}

Result<void> update_lease(store::Transaction& tx, const Lease& lease) {
    const Param ended = lease.live() ? Param(nullptr) : Param(lease.ended_at);
    BERTH_TRY(tx.exec(
        kUpdateLease,
        {lease.id,
         state_name(lease.state),
         lease.touched_at,
         lease.expires_at(),
         ended,
         lease.live_runs,
         lease.end_reason,
         lease.revision}
    ));
    return {};
}

Result<std::optional<Lease>> lock_lease(
    store::Transaction& tx, const std::string& org, const std::string& id_or_slug
) {
    return one_lease(
        tx.exec(is_id("ls", id_or_slug) ? kLeaseByIdLocked : kLeaseBySlugLocked, {id_or_slug, org})
    );
}
Result<std::optional<Lease>> lock_lease_by_machine(
    store::Transaction& tx, const std::string& machine
) {
    return one_lease(tx.exec(kLeaseByMachine, {machine}));
}
Result<std::optional<Lease>> find_lease(
    store::Pool& pool, const std::string& org, const std::string& id_or_slug
) {
    return one_lease(pool.exec_autocommit(
        is_id("ls", id_or_slug) ? kLeaseById : kLeaseBySlug,
        {id_or_slug, org},
        store::OnLoss::kRetry
    ));
}
Result<std::optional<Lease>> lock_reusable(
    store::Transaction& tx,
    const std::string& org,
    const std::string& owner,
    const std::string& profile,
    const std::string& label
) {
    return one_lease(tx.exec(kReusable, {org, owner, profile, label}));
}

Result<std::vector<Lease>> list_leases(store::Pool& pool, const ListFilter& filter) {
    const Statement& statement = !filter.ended          ? kListLive
                                 : filter.owner.empty() ? kListAllOfOrg
                                                        : kListAllOfOwner;
    BERTH_ASSIGN(
        const Rows rows,
        pool.exec_autocommit(
            statement,
            {filter.org, filter.owner, filter.before, filter.limit},
            store::OnLoss::kRetry
        )
    );
    std::vector<Lease> leases;
    leases.reserve(rows.size());
    for (const Row row : rows) leases.push_back(to_lease(row));
    return leases;
}

Result<std::vector<std::pair<std::string, std::string>>> overdue_leases(
    store::Pool& pool, WallTime now, int limit
) {
    BERTH_ASSIGN(
        const Rows rows, pool.exec_autocommit(kOverdue, {now, limit}, store::OnLoss::kRetry)
    );
    std::vector<std::pair<std::string, std::string>> due;
    for (const Row row : rows) due.emplace_back(row.text(0), row.text(1));
    return due;
}

Result<void> insert_machine(store::Transaction& tx, const Machine& machine) {
    BERTH_TRY(tx.exec(
        kInsertMachine,
        {machine.id,
         machine.org,
         machine.profile,
         machine.driver,
         state_name(machine.state),
         machine.lease,
         machine.created_at,
         machine.revision}
    ));
    return {};
}
Result<void> update_machine(store::Transaction& tx, const Machine& machine) {
    BERTH_TRY(tx.exec(
        kUpdateMachine, {machine.id, state_name(machine.state), machine.lease, machine.revision}
    ));
    return {};
}
Result<std::optional<Machine>> lock_machine(store::Transaction& tx, const std::string& id) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kLockMachine, {id}));
    if (rows.empty()) return std::optional<Machine>{};
    const Row row = rows[0];
    return std::optional<Machine>(Machine{
        std::string(row.text(0)),
        std::string(row.text(1)),
        std::string(row.text(2)),
        std::string(row.text(3)),
        machine_state(row.text(4)),
        std::string(row.text(5)),
        row.time(6),
        row.int64(7)});
}

Result<bool> insert_attachment(
    store::Transaction& tx, const std::string& lease, const std::string& work, WallTime now
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kInsertAttachment, {work, lease, now}));
    return rows.affected() == 1;
}
Result<void> confirm_attachment(store::Transaction& tx, const std::string& work) {
    BERTH_TRY(tx.exec(kConfirmAttachment, {work}));
    return {};
}
Result<std::optional<std::string>> delete_attachment(
    store::Transaction& tx, const std::string& work
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kDeleteAttachment, {work}));
    if (rows.empty()) return std::optional<std::string>{};
    return std::optional<std::string>(std::string(rows[0].text(0)));
}
Result<std::vector<std::string>> stale_attachments(store::Pool& pool, WallTime before, int limit) {
    BERTH_ASSIGN(
        const Rows rows,
        pool.exec_autocommit(kStaleAttachments, {before, limit}, store::OnLoss::kRetry)
    );
    std::vector<std::string> works;
    for (const Row row : rows) works.emplace_back(row.text(0));
    return works;
}
Result<std::optional<std::string>> org_of_attachment(
    store::Transaction& tx, const std::string& work
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kOrgOfAttachment, {work}));
    if (rows.empty()) return std::optional<std::string>{};
    return std::optional<std::string>(std::string(rows[0].text(0)));
}

}  // namespace repo
}  // namespace berth::lease
