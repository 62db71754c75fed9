// SPDX-License-Identifier: Apache-2.0
// The SQL of limits, money, shares, drains and the failures of pools.
#include "lease_broker/pools.hpp"
#include "lease_broker/sql.hpp"
#include "service/proto_time.hpp"

namespace berth::lease {

v1::Share to_proto(const Share& share) {
    v1::Share out;
    out.set_lease(share.lease);
    out.set_user(share.user);
    out.set_right(share.right);
    out.set_by(share.by);
    *out.mutable_at() = service::to_timestamp(share.at);
    return out;
}

namespace repo {
namespace {

using store::Row;
using store::Rows;
using store::Statement;

constexpr Statement kCountOfOwner{
    "SELECT count(*) FROM leases WHERE org = $1 AND owner = $2 AND ($3 = '' OR profile = $3) AND "
    "state IN ('pending', 'active')",
    "count_live_owner"};
constexpr Statement kCountOfOrg{
    "SELECT count(*) FROM leases WHERE org = $1 AND $2 = '' AND ($3 = '' OR profile = $3) AND "
    "state "
    "IN ('pending', 'active')",
    "count_live_org"};
constexpr Statement kMoneyOfOwner{
    "SELECT (SELECT coalesce(sum(spent_micros), 0)::bigint FROM spend WHERE org = $1 AND owner = "
    "$2 "
    "AND month = $3), (SELECT coalesce(sum(reserved_micros), 0)::bigint FROM leases WHERE org = $1 "
    "AND owner = $2 AND created_at >= $4 AND state IN ('pending', 'active'))",
    "money_owner"};
constexpr Statement kMoneyOfOrg{
    "SELECT (SELECT coalesce(sum(spent_micros), 0)::bigint FROM spend WHERE org = $1 AND $2 = '' "
    "AND month = $3), (SELECT coalesce(sum(reserved_micros), 0)::bigint FROM leases WHERE org = $1 "
    "AND created_at >= $4 AND state IN ('pending', 'active'))",
    "money_org"};
constexpr Statement kAddSpend{
    "INSERT INTO spend (org, owner, profile, month, leases, active_ms, spent_micros) VALUES ($1, "
    "$2, $3, $4, $5, $6, $7) ON CONFLICT (org, month, owner, profile) DO UPDATE SET leases = "
    "spend.leases + excluded.leases, active_ms = spend.active_ms + excluded.active_ms, "
    "spent_micros = "
    "spend.spent_micros + excluded.spent_micros",
    "add_spend"};
constexpr Statement kUsage{
    "SELECT owner, profile, month, sum(leases)::bigint, sum(live)::bigint, sum(active_ms)::bigint, "
    "sum(spent_micros)::bigint, sum(reserved)::bigint FROM (SELECT owner, profile, month, leases, "
    "0 "
    "AS live, active_ms, spent_micros, 0 AS reserved FROM spend WHERE org = $1 AND month BETWEEN "
    "$3 "
    "AND $4 UNION ALL SELECT owner, profile, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM'), 0, "
    "1, 0, 0, reserved_micros FROM leases WHERE org = $1 AND state IN ('pending', 'active')) AS "
    "both_"
    "kinds WHERE ($2 = '' OR owner = $2) AND month BETWEEN $3 AND $4 GROUP BY 1, 2, 3 ORDER BY 3, "
    "1, 2",
    "usage"};
constexpr Statement kPutShare{
    "INSERT INTO shares (lease, user_name, org, may, by_user, at) VALUES ($1, $2, $3, $4, $5, $6) "
    "ON CONFLICT (lease, user_name) DO UPDATE SET may = excluded.may, by_user = excluded.by_user, "
    "at = excluded.at",
    "put_share"};
constexpr Statement kDeleteShare{
    "DELETE FROM shares WHERE lease = $1 AND user_name = $2", "delete_share"};
constexpr Statement kRightOf{
    "SELECT may FROM shares WHERE lease = $1 AND user_name = $2", "right_of"};
constexpr Statement kShares{
    "SELECT user_name, may, by_user, at FROM shares WHERE lease = $1 ORDER BY user_name", "shares"};
constexpr Statement kEndShares{
    "UPDATE shares SET live = false WHERE lease = ANY($1) AND live", "end_shares"};
constexpr Statement kSetDrain{
    "INSERT INTO drains (org, profile, by_user, reason, active, revision) VALUES ($1, $2, $3, $4, "
    "$5, 1) ON CONFLICT (org, profile) DO UPDATE SET by_user = excluded.by_user, reason = "
    "excluded.reason, active = excluded.active, revision = drains.revision + 1 WHERE drains.active "
    "<> excluded.active OR (excluded.active AND (drains.by_user, drains.reason) <> "
    "(excluded.by_user, excluded.reason)) RETURNING revision",
    "set_drain"};
constexpr Statement kDrains{
    "SELECT profile, by_user, reason FROM drains WHERE org = $1 AND active ORDER BY profile",
    "drains"};
constexpr Statement kDrainOf{
    "SELECT profile, by_user, reason FROM drains WHERE org = $1 AND profile IN ('', $2) AND active "
    "ORDER BY profile LIMIT 1",
    "drain_of"};
constexpr Statement kLockFailure{
    "SELECT failures FROM pool_failures WHERE org = $1 AND profile = $2 FOR UPDATE",
    "lock_pool_failure"};
constexpr Statement kNoteFailure{
    "INSERT INTO pool_failures (org, profile, failures, retry_at, last_error) VALUES ($1, $2, $3, "
    "$4, $5) ON CONFLICT (org, profile) DO UPDATE SET failures = excluded.failures, retry_at = "
    "excluded.retry_at, last_error = excluded.last_error",
    "note_pool_failure"};
constexpr Statement kClearFailures{
    "DELETE FROM pool_failures WHERE org = $1 AND profile = $2", "clear_pool_failures"};
constexpr Statement kFailures{
    "SELECT org, profile, failures, retry_at, last_error FROM pool_failures WHERE $1 = '' OR org = "
    "$1",
    "pool_failures"};

Drain to_drain(const Row& row) {
    return {std::string(row.text(0)), std::string(row.text(1)), std::string(row.text(2))};
}

}  // namespace

Result<std::int64_t> count_live(
    store::Transaction& tx,
    const std::string& org,
    const std::string& owner,
    const std::string& profile
) {
    BERTH_ASSIGN(
        const Rows rows, tx.exec(owner.empty() ? kCountOfOrg : kCountOfOwner, {org, owner, profile})
    );
    return rows[0].int64(0);
}

Result<Budget> month_money(
    Reader reader, const std::string& org, const std::string& owner, const std::string& month
) {
    BERTH_ASSIGN(const WallTime begin, month_begin(month, "month"));
    BERTH_ASSIGN(
        const Rows rows,
        read(reader, owner.empty() ? kMoneyOfOrg : kMoneyOfOwner, {org, owner, month, begin})
    );
    return Budget{0, rows[0].int64(0), rows[0].int64(1)};
}

void add_spend(store::Transaction& tx, std::span<const Lease> leases) {
    struct Sum {
        std::int64_t leases = 0;
        std::int64_t active = 0;
        std::int64_t spent = 0;
    };
    // In the order of their keys: whoever else locks several of these rows does it so, too.
    std::map<std::array<std::string, 4>, Sum> sums;
    for (const Lease& lease : leases) {
        Sum& sum = sums[{lease.org, lease.owner, lease.profile, month_of(lease.created_at)}];
        ++sum.leases;
        sum.active += active_time(lease).count();
        sum.spent += lease.spent;
    }
    for (const auto& [key, sum] : sums)
        tx.exec_later(
            kAddSpend, {key[0], key[1], key[2], key[3], sum.leases, sum.active, sum.spent}
        );
}

Result<std::vector<UsageRow>> usage(
    store::Pool& pool,
    const std::string& org,
    const std::string& owner,
    const std::string& from,
    const std::string& to
) {
    BERTH_ASSIGN(
        const Rows rows, pool.exec_autocommit(kUsage, {org, owner, from, to}, store::OnLoss::kRetry)
    );
    std::vector<UsageRow> out;
    for (const Row row : rows) {
        out.push_back(
            {std::string(row.text(0)),
             std::string(row.text(1)),
             std::string(row.text(2)),
             row.int64(3),
             row.int64(4),
             row.int64(5),
             row.int64(6),
             row.int64(7)}
        );
    }
    return out;
}

Result<void> put_share(store::Transaction& tx, const std::string& org, const Share& share) {
    BERTH_TRY(tx.exec(kPutShare, {share.lease, share.user, org, share.right, share.by, share.at}));
    return {};
}

Result<bool> delete_share(
    store::Transaction& tx, const std::string& lease, const std::string& user
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kDeleteShare, {lease, user}));
    return rows.affected() == 1;
}

Result<std::string> right_of(Reader reader, const std::string& lease, const std::string& user) {
    BERTH_ASSIGN(const Rows rows, read(reader, kRightOf, {lease, user}));
    return rows.empty() ? std::string() : std::string(rows[0].text(0));
}

Result<std::vector<Share>> shares(Reader reader, const std::string& lease) {
    BERTH_ASSIGN(const Rows rows, read(reader, kShares, {lease}));
    std::vector<Share> out;
    for (const Row row : rows) {
        out.push_back(
            {lease,
             std::string(row.text(0)),
             std::string(row.text(1)),
             std::string(row.text(2)),
             row.time(3)}
        );
    }
    return out;
}

void end_shares(store::Transaction& tx, std::span<const Lease> leases) {
    std::vector<std::string> ids;
    for (const Lease& lease : leases) ids.push_back(lease.id);
    tx.exec_later(kEndShares, {Param::text_array(ids)});
}

Result<std::optional<std::int64_t>> set_drain(
    store::Transaction& tx, const std::string& org, const Drain& drain, bool active
) {
    // What was never drained need not be resumed.
    if (!active) {
        BERTH_ASSIGN(const auto all, drains(&tx, org));
        bool drained = false;
        for (const Drain& each : all) drained = drained || each.profile == drain.profile;
        if (!drained) return std::optional<std::int64_t>{};
    }
    BERTH_ASSIGN(
        const Rows rows, tx.exec(kSetDrain, {org, drain.profile, drain.by, drain.reason, active})
    );
    if (rows.empty()) return std::optional<std::int64_t>{};
    return std::optional<std::int64_t>(rows[0].int64(0));
}

Result<std::vector<Drain>> drains(Reader reader, const std::string& org) {
    BERTH_ASSIGN(const Rows rows, read(reader, kDrains, {org}));
    std::vector<Drain> out;
    for (const Row row : rows) out.push_back(to_drain(row));
    return out;
}

Result<std::optional<Drain>> drain_of(
    Reader reader, const std::string& org, const std::string& profile
) {
    BERTH_ASSIGN(const Rows rows, read(reader, kDrainOf, {org, profile}));
    if (rows.empty()) return std::optional<Drain>{};
    return std::optional<Drain>(to_drain(rows[0]));
}

Result<void> note_failure(
    store::Transaction& tx,
    const std::string& org,
    const std::string& profile,
    const std::string& error,
    WallTime now
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kLockFailure, {org, profile}));
    const int failures = rows.empty() ? 1 : static_cast<int>(rows[0].int64(0)) + 1;
    BERTH_TRY(tx.exec(kNoteFailure, {org, profile, failures, now + pause_after(failures), error}));
    return {};
}

void clear_failures(store::Transaction& tx, const std::string& org, const std::string& profile) {
    tx.exec_later(kClearFailures, {org, profile});
}

Result<std::map<std::pair<std::string, std::string>, PoolFailure>> pool_failures(
    store::Pool& pool, const std::string& org
) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kFailures, {org}, store::OnLoss::kRetry));
    std::map<std::pair<std::string, std::string>, PoolFailure> out;
    for (const Row row : rows) {
        out[{std::string(row.text(0)), std::string(row.text(1))}] = {
            static_cast<int>(row.int64(2)), row.time(3), std::string(row.text(4))};
    }
    return out;
}

}  // namespace repo
}  // namespace berth::lease
