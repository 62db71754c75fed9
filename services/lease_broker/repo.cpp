// SPDX-License-Identifier: Apache-2.0
// The SQL of leases and attachments; pools.cpp has that of machines and pools.
#include "lease_broker/repo.hpp"

#include "core/id.hpp"
#include "core/json.hpp"
#include "lease_broker/sql.hpp"
#include "store/advisory.hpp"

namespace berth::lease {
namespace {

using store::Param;
using store::Params;
using store::Row;
using store::Rows;
using store::Statement;

#define LEASE_COLUMNS                                                                             \
    "id, slug, org, owner, profile, machine, state, created_at, touched_at, ended_at, ttl_ms, "   \
    "idle_ms, label, "                                                                            \
    "one_shot, live_runs, end_reason, revision, end_detail, begun_at, wait_until, activated_at, " \
    "price_micros, reserved_micros, spent_micros, recipe, attempts"

constexpr Statement kInsertLease{
    "INSERT INTO leases (id, slug, org, owner, profile, machine, state, created_at, touched_at, "
    "look_at, ttl_ms, idle_ms, label, one_shot, live_runs, end_reason, revision, wait_until, "
    "activated_at, price_micros, reserved_micros, recipe) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, "
    "$9, $10, "
    "$11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) ON CONFLICT DO NOTHING",
    "insert_lease"};
// What a heartbeat changes is this much and no more; the rest changes with the state.
// look_at, which is indexed, moves only where the reaper has to look earlier: a heartbeat moves the
// end of a lease further away, touches no index, and the row's next version stays on its page.
constexpr Statement kUpdateLease{
    "UPDATE leases SET touched_at = $2, look_at = least(look_at, $3), live_runs = $4, revision = "
    "$5 WHERE id = $1",
    "update_lease"};
constexpr Statement kMoveLease{
    "UPDATE leases SET state = $2, touched_at = $3, look_at = $4, ended_at = $5, live_runs = "
    "$6, end_reason = $7, revision = $8, machine = $9, end_detail = $10, begun_at = $11, "
    "activated_at = $12, reserved_micros = $13, spent_micros = $14, attempts = $15 WHERE id = $1",
    "move_lease"};
constexpr Statement kEndLeases{
    "UPDATE leases SET state = e.state, ended_at = $1, live_runs = 0, end_reason = e.reason, "
    "end_detail = "
    "e.detail, revision = e.revision, reserved_micros = 0, spent_micros = e.spent FROM "
    "unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[]) AS "
    "e(lease, state, reason, detail, revision, spent) WHERE id = e.lease",
    "end_leases"};
constexpr Statement kLeaseById{
    "SELECT " LEASE_COLUMNS " FROM leases WHERE id = $1 AND org = $2", "lease_by_id"};
constexpr Statement kLeaseByIdLocked{
    "SELECT " LEASE_COLUMNS " FROM leases WHERE id = $1 AND org = $2 FOR UPDATE",
    "lease_by_id_locked"};
// The live one of a slug first (its ids need not be the newest's), else the newest that ended. Each
// by its own index: a slug that was often used costs no more.
#define LEASE_BY_SLUG                                                                             \
    "SELECT " LEASE_COLUMNS                                                                       \
    " FROM leases WHERE id = COALESCE((SELECT id FROM leases WHERE slug = $1 AND org = $2 AND "   \
    "state IN ('pending', 'active')), (SELECT id FROM leases WHERE slug = $1 AND org = $2 ORDER " \
    "BY id DESC LIMIT 1))"
constexpr Statement kLeaseBySlug{LEASE_BY_SLUG, "lease_by_slug"};
constexpr Statement kLeaseBySlugLocked{LEASE_BY_SLUG " FOR UPDATE", "lease_by_slug_locked"};
#undef LEASE_BY_SLUG
// Whoever holds one of them is using it or ends it himself: the reaper waits for nobody, and comes
// back.
constexpr Statement kLiveLocked{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE id = ANY($1) AND state IN ('pending', 'active') ORDER BY id "
    "FOR UPDATE SKIP LOCKED",
    "lock_live"};
constexpr Statement kLeaseByMachine{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE machine = $1 AND state IN ('pending', 'active') FOR UPDATE",
    "lease_by_machine"};
constexpr Statement kWaitingLocked{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE id = $1 AND state = 'pending' AND machine = '' FOR UPDATE",
    "lock_waiting"};
constexpr Statement kReusable{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE org = $1 AND owner = $2 AND profile = $3 AND label = $4 AND NOT one_shot "
    "AND state IN ('pending', 'active') ORDER BY id DESC LIMIT 1 FOR UPDATE",
    "reusable_lease"};
// Of one owner, with the leases that are shared with that owner; each half by an index of live
// ones.
constexpr Statement kListLiveOfOwner{
    "(SELECT " LEASE_COLUMNS
    " FROM leases WHERE org = $1 AND owner = $2 AND ($3 = '' OR id < $3) AND state IN ('pending', "
    "'active') ORDER BY id DESC LIMIT $4) UNION ALL (SELECT " LEASE_COLUMNS
    " FROM leases WHERE org = $1 AND ($3 = '' OR id < $3) AND state IN ('pending', 'active') AND "
    "id = ANY(ARRAY(SELECT lease FROM shares WHERE org = $1 AND user_name = $2 AND live)) "
    "ORDER BY id DESC LIMIT $4) ORDER BY id DESC LIMIT $4",
    "list_live_owner"};
constexpr Statement kListLiveOfOrg{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE org = $1 AND $2 = '' AND ($3 = '' OR id < $3) AND state IN ('pending', "
    "'active') ORDER BY id DESC LIMIT $4",
    "list_live_org"};
constexpr Statement kListAllOfOwner{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE org = $1 AND owner = $2 AND ($3 = '' OR id < $3) ORDER BY id DESC LIMIT $4",
    "list_owner"};
constexpr Statement kListAllOfOrg{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE org = $1 AND $2 = '' AND ($3 = '' OR id < $3) ORDER BY id DESC LIMIT $4",
    "list_org"};
constexpr Statement kToLookAt{
    "SELECT " LEASE_COLUMNS
    " FROM leases WHERE state IN ('pending', 'active') AND look_at <= $1 ORDER BY look_at LIMIT $2",
    "to_look_at"};
constexpr Statement kLookLater{
    "UPDATE leases SET look_at = 'epoch'::timestamptz + until * interval '1 microsecond' FROM "
    "unnest($1::text[], $2::bigint[], $3::bigint[]) AS later(lease, known, until) "
    "WHERE leases.id = lease AND leases.revision = known",
    "look_later"};
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

// A JSON list; empty for the most of leases, whose machine was made.
std::string to_text(const std::vector<v1::Attempt>& attempts) {
    if (attempts.empty()) return {};
    Json list = Json::array();
    for (const auto& attempt : attempts)
        list.push(Json::object()
                      .set("provider", attempt.provider())
                      .set("target", attempt.target())
                      .set("code", attempt.code())
                      .set("message", attempt.message()));
    return list.dump();
}

std::vector<v1::Attempt> to_attempts(std::string_view text) {
    std::vector<v1::Attempt> attempts;
    if (text.empty()) return attempts;
    const auto list = Json::parse(text);
    if (!list || list->as_array() == nullptr) return attempts;
    for (const Json& item : *list->as_array()) {
        v1::Attempt& attempt = attempts.emplace_back();
        attempt.set_provider(item.string_or("provider", ""));
        attempt.set_target(item.string_or("target", ""));
        attempt.set_code(item.string_or("code", ""));
        attempt.set_message(item.string_or("message", ""));
    }
    return attempts;
}

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
    lease.end_detail = row.text(17);
    if (!row.is_null(18)) lease.begun_at = row.time(18);
    if (!row.is_null(19)) lease.wait_until = row.time(19);
    if (!row.is_null(20)) lease.activated_at = row.time(20);
    lease.price_per_hour = row.int64(21);
    lease.reserved = row.int64(22);
    lease.spent = row.int64(23);
    lease.recipe = row.text(24);
    lease.attempts = to_attempts(row.text(25));
    return lease;
}

Result<std::optional<Lease>> one_lease(Result<Rows> rows) {
    if (!rows) return std::move(rows).error();
    if (rows->empty()) return std::optional<Lease>{};
    return std::optional<Lease>(to_lease((*rows)[0]));
}

}  // namespace

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
             lease.revision,
             or_null(lease.wait_until),
             or_null(lease.activated_at),
             lease.price_per_hour,
             lease.reserved,
             lease.recipe}
        )
    );
    return rows.affected() == 1;
}

void update_lease(store::Transaction& tx, const Lease& lease) {
    tx.exec_later(
        kUpdateLease,
        {lease.id, lease.touched_at, lease.expires_at(), lease.live_runs, lease.revision}
    );
}

void move_lease(store::Transaction& tx, const Lease& lease) {
    tx.exec_later(
        kMoveLease,
        {lease.id,
         state_name(lease.state),
         lease.touched_at,
         lease.expires_at(),
         lease.live() ? Param(nullptr) : Param(lease.ended_at),
         lease.live_runs,
         lease.end_reason,
         lease.revision,
         lease.machine,
         lease.end_detail,
         or_null(lease.begun_at),
         or_null(lease.activated_at),
         lease.reserved,
         lease.spent,
         to_text(lease.attempts)}
    );
}

void end_leases(store::Transaction& tx, const std::vector<Lease>& leases) {
    if (leases.empty()) return;
    std::vector<std::string> ids, states, reasons, details;
    std::vector<std::int64_t> revisions, spent;
    for (const Lease& lease : leases) {
        ids.push_back(lease.id);
        states.emplace_back(state_name(lease.state));
        reasons.push_back(lease.end_reason);
        details.push_back(lease.end_detail);
        revisions.push_back(lease.revision);
        spent.push_back(lease.spent);
    }
    tx.exec_later(
        kEndLeases,
        {leases.front().ended_at,
         Param::text_array(ids),
         Param::text_array(states),
         Param::text_array(reasons),
         Param::text_array(details),
         Param::int64_array(revisions),
         Param::int64_array(spent)}
    );
}

Result<std::optional<Lease>> lock_lease(
    store::Transaction& tx, const std::string& org, const std::string& id_or_slug
) {
    return one_lease(
        tx.exec(is_id("ls", id_or_slug) ? kLeaseByIdLocked : kLeaseBySlugLocked, {id_or_slug, org})
    );
}
Result<std::optional<Lease>> lock_waiting(store::Transaction& tx, const std::string& lease) {
    return one_lease(tx.exec(kWaitingLocked, {lease}));
}
Result<std::vector<Lease>> lock_live(store::Transaction& tx, const std::vector<std::string>& ids) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kLiveLocked, {Param::text_array(ids)}));
    std::vector<Lease> leases;
    for (const Row row : rows) leases.push_back(to_lease(row));
    return leases;
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
    // A row that is not there yet cannot be locked: who makes the first one is waited for.
    const std::string name = Json::array().push(org).push(owner).push(profile).push(label).dump();
    BERTH_TRY(tx.exec(kLockKey, {store::advisory_key("lease reuse", name)}));
    return one_lease(tx.exec(kReusable, {org, owner, profile, label}));
}

Result<std::vector<Lease>> list_leases(store::Pool& pool, const ListFilter& filter) {
    const Statement& live = filter.owner.empty() ? kListLiveOfOrg : kListLiveOfOwner;
    const Statement& all = filter.owner.empty() ? kListAllOfOrg : kListAllOfOwner;
    const Statement& statement = filter.ended ? all : live;
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

Result<std::vector<Lease>> leases_to_look_at(store::Pool& pool, WallTime now, int limit) {
    BERTH_ASSIGN(
        const Rows rows, pool.exec_autocommit(kToLookAt, {now, limit}, store::OnLoss::kRetry)
    );
    std::vector<Lease> leases;
    for (const Row row : rows) leases.push_back(to_lease(row));
    return leases;
}

Result<void> look_later(store::Pool& pool, const std::vector<Lease>& leases) {
    std::vector<std::string> ids;
    std::vector<std::int64_t> revisions;
    std::vector<std::int64_t> times;
    for (const Lease& lease : leases) {
        ids.push_back(lease.id);
        revisions.push_back(lease.revision);
        times.push_back(to_unix_micros(lease.expires_at()));
    }
    BERTH_TRY(pool.exec_autocommit(
        kLookLater,
        {Param::text_array(ids), Param::int64_array(revisions), Param::int64_array(times)},
        store::OnLoss::kRetry
    ));
    return {};
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
