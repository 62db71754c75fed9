// SPDX-License-Identifier: Apache-2.0
// The SQL of approvals and grants.
#include "warden/repo.hpp"

#include <charconv>

#include "service/proto_time.hpp"

namespace berth::warden::repo {
namespace {

using service::to_timestamp;
using service::to_wall_time;
using store::Param;
using store::Params;
using store::Row;
using store::Rows;
using store::Statement;

#define APPROVAL_COLUMNS "body, held, asked_groups, claim"
#define GRANT_COLUMNS "body, agent, machine"

constexpr Statement kInsertApproval{
    "INSERT INTO approvals (id, org, state, live, machine, held, run, username, created_at, "
    "deadline, asked_groups, claim, body) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    "insert_approval"};
constexpr Statement kUpdateApproval{
    "UPDATE approvals SET state = $2, live = $3, deadline = $4, asked_groups = $5, claim = $6, "
    "body = $7 WHERE id = $1",
    "update_approval"};
constexpr Statement kLockApproval{
    "SELECT " APPROVAL_COLUMNS " FROM approvals WHERE id = $1 FOR UPDATE", "lock_approval"};
constexpr Statement kFindApproval{
    "SELECT " APPROVAL_COLUMNS " FROM approvals WHERE id = $1", "find_approval"};
constexpr Statement kOrgOfApproval{"SELECT org FROM approvals WHERE id = $1", "org_of_approval"};
constexpr Statement kFindHeld{
    "SELECT " APPROVAL_COLUMNS
    " FROM approvals WHERE machine = $1 AND held = $2 ORDER BY created_at DESC, id DESC LIMIT 1",
    "find_held"};
constexpr Statement kLiveOfOrg{
    "SELECT id FROM approvals WHERE org = $1 AND live ORDER BY id", "live_of_org"};
constexpr Statement kLiveOfRun{
    "SELECT id FROM approvals WHERE run = $1 AND live ORDER BY id", "live_of_run"};
constexpr Statement kLiveOfMachine{
    "SELECT id FROM approvals WHERE machine = $1 AND live ORDER BY id", "live_of_machine"};
constexpr Statement kDue{
    "SELECT id, org FROM approvals WHERE state = 'pending' AND deadline <= $1 ORDER BY deadline "
    "LIMIT $2",
    "due_approvals"};
// One statement for each index.
constexpr Statement kListOrg{
    "SELECT body FROM approvals WHERE org = $1 AND ($5 = '' OR state = $5) AND (created_at, id) < "
    "($2, $3) ORDER BY created_at DESC, id DESC LIMIT $4",
    "list_approvals_org"};
constexpr Statement kListPending{
    "SELECT body FROM approvals WHERE org = $1 AND state = 'pending' AND ($5 = '' OR username = "
    "$5) "
    "AND (created_at, id) < ($2, $3) ORDER BY created_at DESC, id DESC LIMIT $4",
    "list_approvals_pending"};
constexpr Statement kListUser{
    "SELECT body FROM approvals WHERE org = $1 AND username = $6 AND ($5 = '' OR state = $5) AND "
    "(created_at, id) < ($2, $3) ORDER BY created_at DESC, id DESC LIMIT $4",
    "list_approvals_user"};

constexpr Statement kInsertGrant{
    "INSERT INTO grants (id, org, username, lease, agent, machine, live, until, made_at, body) "
    "VALUES ($1, $2, $3, $4, $5, $6, true, $7, $8, $9)",
    "insert_grant"};
constexpr Statement kUpdateGrant{
    "UPDATE grants SET live = $2, body = $3 WHERE id = $1", "update_grant"};
constexpr Statement kGrantsOfUser{
    "SELECT " GRANT_COLUMNS
    " FROM grants WHERE org = $1 AND username = $2 AND live ORDER BY id FOR UPDATE",
    "lock_grants_of_user"};
constexpr Statement kGrantsOfOrg{
    "SELECT " GRANT_COLUMNS " FROM grants WHERE org = $1 AND live ORDER BY id FOR UPDATE",
    "lock_grants_of_org"};
constexpr Statement kGrantsOfLease{
    "SELECT " GRANT_COLUMNS " FROM grants WHERE lease = $1 AND live ORDER BY id FOR UPDATE",
    "lock_grants_of_lease"};
constexpr Statement kLockGrant{
    "SELECT " GRANT_COLUMNS " FROM grants WHERE id = $1 FOR UPDATE", "lock_grant"};
constexpr Statement kDueGrants{
    "SELECT id, org FROM grants WHERE live AND until <= $1 ORDER BY until LIMIT $2", "due_grants"};
constexpr Statement kListGrants{
    "SELECT body FROM grants WHERE org = $1 AND ($5 = '' OR username = $5) AND (live OR $6) AND "
    "(made_at, id) < ($2, $3) ORDER BY made_at DESC, id DESC LIMIT $4",
    "list_grants"};

std::optional<WallTime> deadline_of(const v1::Approval& body) {
    if (!body.has_deadline()) return std::nullopt;
    return to_wall_time(body.deadline());
}
bool live(const Record& record) {
    return record.pending() ||
           (record.body.state() == ApprovalState::APPROVAL_STATE_APPROVED && record.claim.empty());
}

Result<Record> to_record(const Row& row) {
    Record record;
    if (!record.body.ParseFromString(row.bytes(0)))
        return internal("bad_row", "an approval cannot be read");
    record.held = row.text(1);
    record.asked_groups = static_cast<std::uint32_t>(row.int64(2));
    record.claim = row.text(3);
    return record;
}
Result<std::optional<Record>> one_record(Result<Rows> rows) {
    if (!rows) return std::move(rows).error();
    if (rows->empty()) return std::optional<Record>{};
    BERTH_ASSIGN(Record record, to_record((*rows)[0]));
    return std::optional<Record>(std::move(record));
}

Result<std::vector<std::string>> ids(Result<Rows> rows) {
    if (!rows) return std::move(rows).error();
    std::vector<std::string> out;
    for (const Row row : *rows) out.emplace_back(row.text(0));
    return out;
}
Result<std::vector<std::pair<std::string, std::string>>> pairs(Result<Rows> rows) {
    if (!rows) return std::move(rows).error();
    std::vector<std::pair<std::string, std::string>> out;
    for (const Row row : *rows) out.emplace_back(row.text(0), row.text(1));
    return out;
}

template <typename Message>
Result<std::vector<Message>> bodies(Result<Rows> rows) {
    if (!rows) return std::move(rows).error();
    std::vector<Message> out;
    for (const Row row : *rows) {
        if (!out.emplace_back().ParseFromString(row.bytes(0)))
            return internal("bad_row", "a row cannot be read");
    }
    return out;
}

Result<std::vector<GrantRow>> grant_rows(Result<Rows> rows) {
    if (!rows) return std::move(rows).error();
    std::vector<GrantRow> out;
    for (const Row row : *rows) {
        GrantRow& grant = out.emplace_back();
        if (!grant.body.ParseFromString(row.bytes(0)))
            return internal("bad_row", "a grant cannot be read");
        grant.agent = row.text(1);
        grant.machine = row.text(2);
    }
    return out;
}

struct Place {
    WallTime at;
    std::string id;
};
/// "<micros>-<id>"; from the newest where it is empty.
Result<Place> place_of(const std::string& cursor) {
    if (cursor.empty()) return Place{from_unix_micros(253'402'300'799'000'000), "~"};
    long long micros = 0;
    const auto dash = cursor.find('-');
    const auto [end, error] =
        std::from_chars(cursor.data(), cursor.data() + std::min(dash, cursor.size()), micros);
    if (dash == std::string::npos || error != std::errc() || end != cursor.data() + dash ||
        micros < 0 || micros > 253'402'300'799'000'000 || cursor.size() - dash > 64)
        return invalid(
            "bad_cursor", "'cursor' must be a next_cursor of an earlier answer", "cursor"
        );
    return Place{from_unix_micros(micros), cursor.substr(dash + 1)};
}

}  // namespace

Result<store::Rows> read(
    const Reader& reader, const store::Statement& statement, const store::Params& params
) {
    if (const auto* tx = std::get_if<store::Transaction*>(&reader))
        return (*tx)->exec(statement, params);
    return std::get<store::Pool*>(reader)->exec_autocommit(
        statement, params, store::OnLoss::kRetry
    );
}

std::string cursor_of(const google::protobuf::Timestamp& at, const std::string& id) {
    return std::to_string(to_unix_micros(to_wall_time(at))) + "-" + id;
}

Result<void> insert_approval(store::Transaction& tx, const Record& record) {
    const v1::Approval& body = record.body;
    BERTH_TRY(tx.exec(
        kInsertApproval,
        {body.id(),
         body.org(),
         state_name(body.state()),
         live(record),
         body.origin().machine(),
         record.held,
         body.origin().run(),
         body.origin().user(),
         to_wall_time(body.created_at()),
         deadline_of(body),
         record.asked_groups,
         record.claim,
         Param::bytes(body.SerializeAsString())}
    ));
    return {};
}
Result<void> update_approval(store::Transaction& tx, const Record& record) {
    BERTH_TRY(tx.exec(
        kUpdateApproval,
        {record.body.id(),
         state_name(record.body.state()),
         live(record),
         deadline_of(record.body),
         record.asked_groups,
         record.claim,
         Param::bytes(record.body.SerializeAsString())}
    ));
    return {};
}
Result<std::optional<Record>> lock_approval(store::Transaction& tx, const std::string& id) {
    return one_record(tx.exec(kLockApproval, {id}));
}
Result<std::optional<Record>> find_approval(store::Pool& pool, const std::string& id) {
    return one_record(pool.exec_autocommit(kFindApproval, {id}, store::OnLoss::kRetry));
}
Result<std::optional<Record>> find_approval(store::Transaction& tx, const std::string& id) {
    return one_record(tx.exec(kFindApproval, {id}));
}
Result<std::string> org_of_approval(store::Transaction& tx, const std::string& id) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kOrgOfApproval, {id}));
    return rows.empty() ? std::string() : std::string(rows[0].text(0));
}
Result<std::optional<Record>> find_held(
    store::Transaction& tx, const std::string& machine, const std::string& held
) {
    return one_record(tx.exec(kFindHeld, {machine, held}));
}
Result<std::vector<std::string>> live_of_org(store::Transaction& tx, const std::string& org) {
    return ids(tx.exec(kLiveOfOrg, {org}));
}
Result<std::vector<std::string>> live_of_run(store::Transaction& tx, const std::string& run) {
    return ids(tx.exec(kLiveOfRun, {run}));
}
Result<std::vector<std::string>> live_of_machine(
    store::Transaction& tx, const std::string& machine
) {
    return ids(tx.exec(kLiveOfMachine, {machine}));
}
Result<std::vector<std::pair<std::string, std::string>>> due(
    store::Pool& pool, WallTime now, int limit
) {
    return pairs(pool.exec_autocommit(kDue, {now, limit}, store::OnLoss::kRetry));
}

Result<std::vector<v1::Approval>> list_approvals(store::Pool& pool, const ListFilter& filter) {
    BERTH_ASSIGN(const Place place, place_of(filter.cursor));
    Params params{filter.org, place.at, place.id, filter.limit};
    if (filter.state == "pending") {
        params.emplace_back(filter.user);
        return bodies<v1::Approval>(
            pool.exec_autocommit(kListPending, params, store::OnLoss::kRetry)
        );
    }
    params.emplace_back(filter.state);
    if (filter.user.empty())
        return bodies<v1::Approval>(pool.exec_autocommit(kListOrg, params, store::OnLoss::kRetry));
    params.emplace_back(filter.user);
    return bodies<v1::Approval>(pool.exec_autocommit(kListUser, params, store::OnLoss::kRetry));
}

Result<void> insert_grant(store::Transaction& tx, const GrantRow& grant) {
    const v1::Grant& body = grant.body;
    BERTH_TRY(tx.exec(
        kInsertGrant,
        {body.id(),
         body.org(),
         body.user(),
         body.lease(),
         grant.agent,
         grant.machine,
         body.has_until() ? Param(to_wall_time(body.until())) : Param(nullptr),
         to_wall_time(body.made_at()),
         Param::bytes(body.SerializeAsString())}
    ));
    return {};
}
Result<void> update_grant(store::Transaction& tx, const v1::Grant& grant, bool is_live) {
    BERTH_TRY(tx.exec(kUpdateGrant, {grant.id(), is_live, Param::bytes(grant.SerializeAsString())})
    );
    return {};
}
Result<std::vector<GrantRow>> lock_live_grants_of(
    store::Transaction& tx, const std::string& org, const std::string& user
) {
    return grant_rows(tx.exec(kGrantsOfUser, {org, user}));
}
Result<std::vector<GrantRow>> lock_live_grants(store::Transaction& tx, const std::string& org) {
    return grant_rows(tx.exec(kGrantsOfOrg, {org}));
}
Result<std::vector<GrantRow>> lock_grants_of_lease(
    store::Transaction& tx, const std::string& lease
) {
    return grant_rows(tx.exec(kGrantsOfLease, {lease}));
}
Result<std::optional<GrantRow>> lock_grant(store::Transaction& tx, const std::string& id) {
    BERTH_ASSIGN(auto rows, grant_rows(tx.exec(kLockGrant, {id})));
    if (rows.empty()) return std::optional<GrantRow>{};
    return std::optional<GrantRow>(std::move(rows.front()));
}
Result<std::vector<std::pair<std::string, std::string>>> due_grants(
    store::Pool& pool, WallTime now, int limit
) {
    return pairs(pool.exec_autocommit(kDueGrants, {now, limit}, store::OnLoss::kRetry));
}
Result<std::vector<v1::Grant>> list_grants(
    store::Pool& pool, const ListFilter& filter, bool ended
) {
    BERTH_ASSIGN(const Place place, place_of(filter.cursor));
    return bodies<v1::Grant>(pool.exec_autocommit(
        kListGrants,
        {filter.org, place.at, place.id, filter.limit, filter.user, ended},
        store::OnLoss::kRetry
    ));
}

}  // namespace berth::warden::repo
