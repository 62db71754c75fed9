// SPDX-License-Identifier: Apache-2.0
// The SQL of the audit chain: rows are added and read, never changed.
#include "service/proto_time.hpp"
#include "warden/repo.hpp"
#include "warden/settings.hpp"

namespace berth::warden::repo {
namespace {

using service::to_timestamp;
using service::to_wall_time;
using store::Param;
using store::Row;
using store::Rows;
using store::Statement;

constexpr Statement kMakeHead{
    "INSERT INTO audit_heads (org, sequence, hash) VALUES ($1, 0, $2) ON CONFLICT (org) DO NOTHING",
    "make_audit_head"};
constexpr Statement kLockHead{
    "SELECT sequence, hash FROM audit_heads WHERE org = $1 FOR UPDATE", "lock_audit_head"};
constexpr Statement kFindHead{
    "SELECT sequence, hash FROM audit_heads WHERE org = $1", "find_audit_head"};
constexpr Statement kMoveHead{
    "UPDATE audit_heads SET sequence = $2, hash = $3 WHERE org = $1", "move_audit_head"};
constexpr Statement kAppend{
    "INSERT INTO audit (org, sequence, at, fact, username, run, hash, body) SELECT $1, * FROM "
    "unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], "
    "$8::bytea[])",
    "append_audit"};
#define AUDIT_LIST "SELECT body FROM audit WHERE org = $1 AND at >= $2 AND at < $3 "
#define AUDIT_UP "AND sequence >= $4 ORDER BY sequence LIMIT $5"
#define AUDIT_DOWN "AND sequence < $4 ORDER BY sequence DESC LIMIT $5"
#define AUDIT_RUN \
    "AND run = $6 AND run <> '' AND ($7 = '' OR username = $7) AND ($8 = '' OR fact = $8) "
#define AUDIT_USER "AND username = $6 AND ($7 = '' OR fact = $7) "
#define AUDIT_FACT "AND fact = $6 "
// One for each index, newest and oldest first: the planner sees no OR where it has to choose.
constexpr Statement kAuditAll[] = {
    {AUDIT_LIST AUDIT_DOWN, "list_audit_down"}, {AUDIT_LIST AUDIT_UP, "list_audit_up"}};
constexpr Statement kAuditOfRun[] = {
    {AUDIT_LIST AUDIT_RUN AUDIT_DOWN, "list_audit_run_down"},
    {AUDIT_LIST AUDIT_RUN AUDIT_UP, "list_audit_run_up"}};
constexpr Statement kAuditOfUser[] = {
    {AUDIT_LIST AUDIT_USER AUDIT_DOWN, "list_audit_user_down"},
    {AUDIT_LIST AUDIT_USER AUDIT_UP, "list_audit_user_up"}};
constexpr Statement kAuditOfFact[] = {
    {AUDIT_LIST AUDIT_FACT AUDIT_DOWN, "list_audit_fact_down"},
    {AUDIT_LIST AUDIT_FACT AUDIT_UP, "list_audit_fact_up"}};
constexpr Statement kPage{
    "SELECT body, sequence, at, fact, username, run, hash FROM audit WHERE org = $1 AND sequence > "
    "$2 ORDER BY sequence LIMIT $3",
    "audit_page"};

Result<ChainHead> to_head(const Rows& rows) {
    if (rows.empty()) return ChainHead{};
    return ChainHead{static_cast<std::uint64_t>(rows[0].int64(0)), std::string(rows[0].text(1))};
}

/// The columns that are asked by must say what the record says: an index that lies hides records.
bool columns_agree(const Row& row, const v1::AuditRecord& record) {
    return row.int64(1) == static_cast<std::int64_t>(record.sequence()) &&
           row.int64(2) == to_unix_micros(to_wall_time(record.at())) &&
           row.text(3) == record.fact() && row.text(4) == record.user() &&
           row.text(5) == record.origin().run() && row.text(6) == record.hash();
}

}  // namespace

Result<void> append_audit(
    store::Transaction& tx, const std::string& org, std::vector<v1::AuditRecord>& records
) {
    if (records.empty()) return {};
    BERTH_ASSIGN(Rows rows, tx.exec(kLockHead, {org}));
    if (rows.empty()) {
        BERTH_TRY(tx.exec(kMakeHead, {org, ChainHead{}.hash}));
        BERTH_ASSIGN(rows, tx.exec(kLockHead, {org}));
    }
    BERTH_ASSIGN(ChainHead head, to_head(rows));
    std::vector<std::int64_t> sequences;
    std::vector<std::int64_t> times;
    std::vector<std::string> facts;
    std::vector<std::string> users;
    std::vector<std::string> runs;
    std::vector<std::string> hashes;
    std::vector<std::string> bodies;
    for (v1::AuditRecord& record : records) {
        record.set_org(org);
        *record.mutable_at() = to_timestamp(to_wall_time(record.at()));  // whole microseconds
        chain(head, record);
        sequences.push_back(static_cast<std::int64_t>(record.sequence()));
        times.push_back(to_unix_micros(to_wall_time(record.at())));
        facts.push_back(record.fact());
        users.push_back(record.user());
        runs.push_back(record.origin().run());
        hashes.push_back(record.hash());
        bodies.push_back(record.SerializeAsString());
    }
    BERTH_TRY(tx.exec(
        kAppend,
        {org,
         Param::int64_array(sequences),
         Param::int64_array(times),
         Param::text_array(facts),
         Param::text_array(users),
         Param::text_array(runs),
         Param::text_array(hashes),
         Param::bytes_array(bodies)}
    ));
    BERTH_TRY(tx.exec(kMoveHead, {org, static_cast<std::int64_t>(head.sequence), head.hash}));
    return {};
}

Result<std::vector<v1::AuditRecord>> list_audit(store::Pool& pool, const AuditFilter& filter) {
    const std::int64_t until = filter.until == WallTime::max()
                                   ? std::numeric_limits<std::int64_t>::max()
                                   : to_unix_micros(filter.until);
    const std::int64_t from = !filter.oldest_first && filter.from == 0
                                  ? std::numeric_limits<std::int64_t>::max()
                                  : static_cast<std::int64_t>(filter.from);
    store::Params params{
        filter.org,
        static_cast<std::int64_t>(to_unix_micros(filter.since)),
        until,
        from,
        filter.limit};
    const Statement* statements = kAuditAll;
    if (!filter.run.empty()) {
        statements = kAuditOfRun;
        for (const auto* each : {&filter.run, &filter.user, &filter.fact})
            params.emplace_back(*each);
    } else if (!filter.user.empty()) {
        statements = kAuditOfUser;
        for (const auto* each : {&filter.user, &filter.fact}) params.emplace_back(*each);
    } else if (!filter.fact.empty()) {
        statements = kAuditOfFact;
        params.emplace_back(filter.fact);
    }
    const Statement& statement = statements[filter.oldest_first ? 1 : 0];
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(statement, params, store::OnLoss::kRetry));
    std::vector<v1::AuditRecord> out;
    for (const Row row : rows) {
        if (!out.emplace_back().ParseFromString(row.bytes(0)))
            return internal("bad_row", "an audit record cannot be read; verify the chain");
    }
    return out;
}

Result<v1::AuditVerdict> verify_audit(
    store::Pool& pool, const std::string& org, const ChainHead& verified, std::vector<Link>& links
) {
    // One snapshot, so that records added meanwhile do not look like a chain without its head.
    store::TxOptions options;
    options.isolation = store::Isolation::kRepeatableRead;
    options.read_only = true;
    return pool.transact(
        [&](store::Transaction& tx) -> Result<v1::AuditVerdict> {
            BERTH_ASSIGN(const Rows head_rows, tx.exec(kFindHead, {org}));
            BERTH_ASSIGN(const ChainHead head, to_head(head_rows));
            ChainCheck check(verified);
            links.clear();  // of a transaction that was repeated
            // A record with sequence 0 would be one too many.
            std::int64_t last =
                verified.sequence == 0 ? -1 : static_cast<std::int64_t>(verified.sequence);
            bool more = true;
            for (int page = 0; more; ++page) {
                if (page == kVerifyPages) return check.pause();
                BERTH_ASSIGN(const Rows rows, tx.exec(kPage, {org, last, kVerifyPage}));
                more = rows.size() == static_cast<std::size_t>(kVerifyPage);
                for (const Row row : rows) {
                    last = row.int64(1);
                    v1::AuditRecord record;
                    const bool readable = record.ParseFromString(row.bytes(0));
                    if (!readable || !columns_agree(row, record))
                        check.fail(
                            static_cast<std::uint64_t>(last), "its content is not what was recorded"
                        );
                    if (!check.take(record)) return check.finish(head);
                    links.push_back(
                        {record.sequence(),
                         record.hash(),
                         to_unix_micros(to_wall_time(record.at()))}
                    );
                }
            }
            return check.finish(head);
        },
        options
    );
}

Result<ChainHead> audit_head(store::Pool& pool, const std::string& org) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kFindHead, {org}, store::OnLoss::kRetry));
    return to_head(rows);
}

}  // namespace berth::warden::repo
