// SPDX-License-Identifier: Apache-2.0
// The SQL of run_manager.
#include "run_manager/repo.hpp"

#include <array>
#include <charconv>

namespace berth::run {
namespace {

using store::Param;
using store::Row;
using store::Rows;
using store::Statement;

constexpr std::string_view kTables = R"(
CREATE TABLE runs (
    id text PRIMARY KEY,
    org text NOT NULL,
    owner text NOT NULL,
    lease text NOT NULL,
    machine text NOT NULL,
    state text NOT NULL,
    spec bytea NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    deadline timestamptz,
    exit_code integer,
    signal integer NOT NULL,
    reason text NOT NULL,
    origin text NOT NULL,
    output_bytes bigint NOT NULL,
    output_capped boolean NOT NULL,
    cancel_requested boolean NOT NULL,
    revision bigint NOT NULL,
    output_purged boolean NOT NULL DEFAULT false
);
CREATE INDEX runs_live ON runs (lease, created_at) WHERE ended_at IS NULL;
CREATE INDEX runs_live_machine ON runs (machine) WHERE ended_at IS NULL;
CREATE INDEX runs_newest ON runs (org, created_at DESC, id DESC);
CREATE INDEX runs_of_owner ON runs (org, owner, created_at DESC, id DESC);
CREATE INDEX runs_of_lease ON runs (lease, created_at DESC, id DESC);
CREATE INDEX runs_purgeable ON runs (ended_at) WHERE ended_at IS NOT NULL AND NOT output_purged;
)";

constexpr std::string_view kTrees = R"(
CREATE TABLE trees (
    lease text PRIMARY KEY,
    tree text NOT NULL,
    sent_at timestamptz NOT NULL
);
CREATE INDEX trees_sent ON trees (sent_at);
)";

// Of an older replica's runs the columns are empty: those are their owner's and the admins' alone.
constexpr std::string_view kShares = R"(
ALTER TABLE runs ADD COLUMN lease_owner text NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN share_revision bigint NOT NULL DEFAULT 0;
CREATE TABLE shares (
    lease text NOT NULL,
    user_name text NOT NULL,
    share_right text NOT NULL,
    revision bigint NOT NULL,
    withdrawn bigint NOT NULL,
    told_at timestamptz NOT NULL,
    PRIMARY KEY (lease, user_name)
);
CREATE INDEX shares_told ON shares (told_at);
)";

#define RUN_COLUMNS                                                                             \
    "id, org, owner, lease, machine, state, spec, created_at, started_at, ended_at, deadline, " \
    "exit_code, signal, reason, origin, "                                                       \
    "output_bytes, output_capped, cancel_requested, revision, lease_owner, share_revision"

constexpr Statement kInsert{
    "INSERT INTO runs (" RUN_COLUMNS
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, "
    "$19, $20, $21)",
    "insert_run"};
constexpr Statement kUpdate{
    "UPDATE runs SET state = $2, started_at = $3, ended_at = $4, exit_code = $5, signal = $6, "
    "reason = $7, origin = $8, output_bytes = $9, "
    "output_capped = $10, cancel_requested = $11, revision = $12 WHERE id = $1",
    "update_run"};
constexpr Statement kLock{"SELECT " RUN_COLUMNS " FROM runs WHERE id = $1 FOR UPDATE", "lock_run"};
constexpr Statement kFind{"SELECT " RUN_COLUMNS " FROM runs WHERE id = $1", "find_run"};
constexpr Statement kLockLease{
    "SELECT pg_advisory_xact_lock(hashtextextended($1, 1))", "lock_lease_runs"};
constexpr Statement kCountPlaced{
    "SELECT count(*) FROM runs WHERE lease = $1 AND ended_at IS NULL AND state IN ('starting', "
    "'held', 'running')",
    "count_placed"};
constexpr Statement kNextQueued{
    "SELECT " RUN_COLUMNS
    " FROM runs WHERE lease = $1 AND ended_at IS NULL AND state = 'queued' ORDER BY created_at, id "
    "LIMIT 1 FOR UPDATE",
    "next_queued"};
constexpr Statement kLiveRunOn{
    "SELECT id FROM runs WHERE lease = $1 AND ended_at IS NULL ORDER BY created_at, id LIMIT 1",
    "live_run_on"};
constexpr Statement kUnstartedRunOn{
    "SELECT id, state FROM runs WHERE lease = $1 AND ended_at IS NULL AND state IN ('queued', "
    "'starting') ORDER BY state, created_at, id LIMIT 1",
    "unstarted_run_on"};
constexpr Statement kTreeOf{"SELECT tree FROM trees WHERE lease = $1", "tree_of"};
constexpr Statement kSetTree{
    "INSERT INTO trees (lease, tree, sent_at) VALUES ($1, $2, $3) ON CONFLICT (lease) DO UPDATE "
    "SET tree = EXCLUDED.tree, sent_at = EXCLUDED.sent_at",
    "set_tree"};
constexpr Statement kGuestRuns{
    "SELECT " RUN_COLUMNS
    " FROM runs WHERE lease = $1 AND owner = $2 AND share_revision > 0 AND ended_at IS NULL ORDER "
    "BY created_at, id FOR UPDATE",
    "guest_runs"};
constexpr Statement kLockShare{
    "SELECT pg_advisory_xact_lock(hashtextextended($1, 2))", "lock_share"};
constexpr Statement kPutShare{
    "INSERT INTO shares (lease, user_name, share_right, revision, withdrawn, told_at) VALUES ($1, "
    "$2, $3, $4::bigint, CASE WHEN $3 = '' THEN $4::bigint ELSE 0 END, $5) ON CONFLICT (lease, "
    "user_name) DO "
    "UPDATE SET share_right = CASE WHEN EXCLUDED.revision > shares.revision THEN "
    "EXCLUDED.share_right ELSE shares.share_right END, revision = GREATEST(shares.revision, "
    "EXCLUDED.revision), withdrawn = GREATEST(shares.withdrawn, EXCLUDED.withdrawn), told_at = "
    "EXCLUDED.told_at",
    "put_share"};
constexpr Statement kShareOf{
    "SELECT share_right, withdrawn FROM shares WHERE lease = $1 AND user_name = $2", "share_of"};
constexpr Statement kForgetShares{"DELETE FROM shares WHERE told_at < $1", "forget_shares"};
constexpr Statement kForgetTrees{"DELETE FROM trees WHERE sent_at < $1", "forget_trees"};
// Three statements so that each has its own index: the planner sees no OR.
constexpr Statement kListOrg{
    "SELECT " RUN_COLUMNS
    " FROM runs WHERE org = $1 AND (created_at, id) < ($2, $3) ORDER BY created_at DESC, id DESC "
    "LIMIT $4",
    "list_runs_org"};
constexpr Statement kListOwner{
    "SELECT " RUN_COLUMNS
    " FROM runs WHERE org = $1 AND owner = $5 AND (created_at, id) < ($2, $3) ORDER BY created_at "
    "DESC, id DESC LIMIT $4",
    "list_runs_owner"};
constexpr Statement kListLease{
    "SELECT " RUN_COLUMNS
    " FROM runs WHERE org = $1 AND lease = $6 AND ($5 = '' OR owner = $5 OR lease_owner = $5) AND "
    "(created_at, id) < "
    "($2, $3) "
    "ORDER BY created_at DESC, id DESC LIMIT $4",
    "list_runs_lease"};
constexpr Statement kLive{
    "SELECT id, machine, created_at, state IN ('starting', 'held', 'running') FROM runs WHERE "
    "ended_at IS "
    "NULL",
    "live_runs"};
constexpr Statement kLiveOf{
    "SELECT id FROM runs WHERE machine = $1 AND ended_at IS NULL", "live_runs_of"};
constexpr Statement kPurgeable{
    "SELECT id, 'berth.out.' || org || '.' || machine || '.' || id FROM runs WHERE ended_at IS NOT "
    "NULL AND NOT output_purged ORDER BY ended_at LIMIT $1",
    "purgeable_runs"};
constexpr Statement kMarkPurged{
    "UPDATE runs SET output_purged = true WHERE id = $1", "mark_purged"};

Run to_run(const Row& row) {
    Run run;
    run.id = row.text(0);
    run.org = row.text(1);
    run.owner = row.text(2);
    run.lease = row.text(3);
    run.machine = row.text(4);
    run.state = run_state(row.text(5));
    run.spec = row.bytes(6);
    run.created_at = row.time(7);
    run.started_at = row.optional_time(8);
    run.ended_at = row.optional_time(9);
    run.deadline = row.optional_time(10);
    if (const auto code = row.optional_int64(11)) run.exit_code = static_cast<int>(*code);
    run.signal = static_cast<int>(row.int64(12));
    run.reason = row.text(13);
    run.origin = row.text(14);
    run.output_bytes = row.int64(15);
    run.output_capped = row.boolean(16);
    run.cancel_requested = row.boolean(17);
    run.revision = row.int64(18);
    run.lease_owner = row.text(19);
    run.share_revision = row.int64(20);
    return run;
}

Result<std::optional<Run>> one_run(Result<Rows> rows) {
    if (!rows) return std::move(rows).error();
    if (rows->empty()) return std::optional<Run>{};
    return std::optional<Run>(to_run((*rows)[0]));
}

Result<repo::ShareState> known_share(const Result<Rows>& rows) {
    if (!rows) return rows.error();
    if (rows->empty()) return repo::ShareState{};
    return repo::ShareState{std::string((*rows)[0].text(0)), (*rows)[0].int64(1)};
}

}  // namespace

std::span<const store::Migration> migrations() {
    static const std::string first =
        std::string(store::kInboxOutboxDdl) + std::string(store::kLeaderDdl) + std::string(kTables);
    static const std::array<store::Migration, 3> all{
        {{1, "runs", first}, {2, "trees", kTrees}, {3, "shares", kShares}}};
    return all;
}

namespace repo {

Result<void> insert(store::Transaction& tx, const Run& r) {
    BERTH_TRY(tx.exec(
        kInsert,
        {r.id,
         r.org,
         r.owner,
         r.lease,
         r.machine,
         state_name(r.state),
         Param::bytes(r.spec),
         r.created_at,
         r.started_at,
         r.ended_at,
         r.deadline,
         r.exit_code,
         r.signal,
         r.reason,
         r.origin,
         r.output_bytes,
         r.output_capped,
         r.cancel_requested,
         r.revision,
         r.lease_owner,
         r.share_revision}
    ));
    return {};
}
Result<void> update(store::Transaction& tx, const Run& r) {
    BERTH_TRY(tx.exec(
        kUpdate,
        {r.id,
         state_name(r.state),
         r.started_at,
         r.ended_at,
         r.exit_code,
         r.signal,
         r.reason,
         r.origin,
         r.output_bytes,
         r.output_capped,
         r.cancel_requested,
         r.revision}
    ));
    return {};
}
Result<std::optional<Run>> lock(store::Transaction& tx, const std::string& id) {
    return one_run(tx.exec(kLock, {id}));
}
Result<std::optional<Run>> find(store::Pool& pool, const std::string& id) {
    return one_run(pool.exec_autocommit(kFind, {id}, store::OnLoss::kRetry));
}
Result<void> lock_lease(store::Transaction& tx, const std::string& lease) {
    BERTH_TRY(tx.exec(kLockLease, {lease}));
    return {};
}
Result<std::int64_t> count_placed(store::Transaction& tx, const std::string& lease) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kCountPlaced, {lease}));
    return rows[0].int64(0);
}
Result<std::optional<Run>> lock_next_queued(store::Transaction& tx, const std::string& lease) {
    return one_run(tx.exec(kNextQueued, {lease}));
}

Result<std::string> live_run_on(store::Transaction& tx, const std::string& lease) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kLiveRunOn, {lease}));
    return rows.empty() ? std::string() : std::string(rows[0].text(0));
}
Result<std::optional<std::pair<std::string, RunState>>> unstarted_run_on(
    store::Transaction& tx, const std::string& lease
) {
    using Found = std::optional<std::pair<std::string, RunState>>;
    BERTH_ASSIGN(const Rows rows, tx.exec(kUnstartedRunOn, {lease}));
    if (rows.empty()) return Found();
    return Found({std::string(rows[0].text(0)), run_state(rows[0].text(1))});
}
Result<std::string> tree_of(store::Transaction& tx, const std::string& lease) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kTreeOf, {lease}));
    return rows.empty() ? std::string() : std::string(rows[0].text(0));
}
Result<std::string> tree_of(store::Pool& pool, const std::string& lease) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kTreeOf, {lease}, store::OnLoss::kRetry));
    return rows.empty() ? std::string() : std::string(rows[0].text(0));
}
Result<void> set_tree(
    store::Transaction& tx, const std::string& lease, const std::string& tree, WallTime now
) {
    BERTH_TRY(tx.exec(kSetTree, {lease, tree, now}));
    return {};
}
Result<void> forget_trees(store::Pool& pool, WallTime before) {
    BERTH_TRY(pool.exec_autocommit(kForgetTrees, {before}, store::OnLoss::kRetry));
    return {};
}

Result<std::vector<Run>> lock_guest_runs(
    store::Transaction& tx, const std::string& lease, const std::string& user
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kGuestRuns, {lease, user}));
    std::vector<Run> runs;
    for (const Row row : rows) runs.push_back(to_run(row));
    return runs;
}
Result<void> lock_share(store::Transaction& tx, const std::string& lease, const std::string& user) {
    BERTH_TRY(tx.exec(kLockShare, {lease + "/" + user}));
    return {};
}
Result<void> put_share(store::Transaction& tx, const Share& share, WallTime now) {
    BERTH_TRY(tx.exec(kPutShare, {share.lease, share.user, share.right, share.revision, now}));
    return {};
}
Result<ShareState> share_of(
    store::Transaction& tx, const std::string& lease, const std::string& user
) {
    return known_share(tx.exec(kShareOf, {lease, user}));
}
Result<ShareState> share_of(store::Pool& pool, const std::string& lease, const std::string& user) {
    return known_share(pool.exec_autocommit(kShareOf, {lease, user}, store::OnLoss::kRetry));
}
Result<void> forget_shares(store::Pool& pool, WallTime before) {
    BERTH_TRY(pool.exec_autocommit(kForgetShares, {before}, store::OnLoss::kRetry));
    return {};
}

std::string cursor_of(const Run& run) {
    return std::to_string(to_unix_micros(run.created_at)) + "-" + run.id;
}

Result<std::vector<Run>> list(store::Pool& pool, const ListFilter& filter) {
    // From the newest: a moment that is later than any run's.
    WallTime before = from_unix_micros(32'503'680'000'000'000);  // the year 3000
    std::string before_id;
    if (!filter.cursor.empty()) {
        long long micros = 0;
        const char* end = filter.cursor.data() + filter.cursor.size();
        const auto [at, failure] = std::from_chars(filter.cursor.data(), end, micros);
        if (failure != std::errc{} || at == end || *at != '-')
            return invalid("bad_cursor", "cursor is not one that a page returned", "cursor");
        before = from_unix_micros(micros);
        before_id = std::string(at + 1, end);
    }
    const store::Params common{filter.org, before, before_id, filter.limit};
    store::Params params = common;
    const Statement* statement = &kListOrg;
    if (!filter.lease.empty()) {
        statement = &kListLease;
        params.emplace_back(filter.owner);
        params.emplace_back(filter.lease);
    } else if (!filter.owner.empty()) {
        statement = &kListOwner;
        params.emplace_back(filter.owner);
    }
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(*statement, params, store::OnLoss::kRetry));
    std::vector<Run> runs;
    for (const Row row : rows) runs.push_back(to_run(row));
    return runs;
}

Result<std::vector<LiveRun>> live_runs(store::Pool& pool) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kLive, {}, store::OnLoss::kRetry));
    std::vector<LiveRun> runs;
    for (const Row row : rows)
        runs.push_back(
            {std::string(row.text(0)), std::string(row.text(1)), row.time(2), row.boolean(3)}
        );
    return runs;
}
Result<std::vector<std::string>> live_runs_of(store::Transaction& tx, const std::string& machine) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kLiveOf, {machine}));
    std::vector<std::string> ids;
    for (const Row row : rows) ids.emplace_back(row.text(0));
    return ids;
}
Result<std::vector<std::pair<std::string, std::string>>> purgeable(store::Pool& pool, int limit) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kPurgeable, {limit}, store::OnLoss::kRetry));
    std::vector<std::pair<std::string, std::string>> out;
    for (const Row row : rows) out.emplace_back(row.text(0), row.text(1));
    return out;
}
Result<void> mark_purged(store::Pool& pool, const std::string& id) {
    BERTH_TRY(pool.exec_autocommit(kMarkPurged, {id}, store::OnLoss::kRetry));
    return {};
}

}  // namespace repo
}  // namespace berth::run
