// SPDX-License-Identifier: Apache-2.0
// The SQL of orgs, policies and halts, and of what other services told about leases and machines.
#include "core/text.hpp"
#include "service/proto_time.hpp"
#include "warden/halt.hpp"
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

constexpr Statement kMakeOrg{
    "INSERT INTO orgs (org, revision, policy_version, policy_digest) VALUES ($1, 1, 0, '') ON "
    "CONFLICT (org) DO NOTHING",
    "make_org"};
constexpr Statement kShareOrg{
    "SELECT org, revision, policy_version, policy_digest FROM orgs WHERE org = $1 FOR SHARE",
    "share_org"};
constexpr Statement kLockOrg{
    "SELECT org, revision, policy_version, policy_digest FROM orgs WHERE org = $1 FOR UPDATE",
    "lock_org"};
constexpr Statement kFindOrg{
    "SELECT org, revision, policy_version, policy_digest FROM orgs WHERE org = $1", "find_org"};
constexpr Statement kOrgs{"SELECT org, revision, policy_version, policy_digest FROM orgs", "orgs"};
constexpr Statement kUpdateOrg{
    "UPDATE orgs SET revision = $2, policy_version = $3, policy_digest = $4 WHERE org = $1",
    "update_org"};

constexpr Statement kInsertPolicy{
    "INSERT INTO policies (org, version, digest, text, applied_by, applied_at, comment, "
    "rolled_back_to) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    "insert_policy"};
constexpr Statement kFindPolicy{
    "SELECT org, version, digest, applied_by, applied_at, comment, rolled_back_to, text FROM "
    "policies WHERE org = $1 AND version = $2",
    "find_policy"};
constexpr Statement kListPolicies{
    "SELECT org, version, digest, applied_by, applied_at, comment, rolled_back_to FROM policies "
    "WHERE org = $1 AND version < $2 ORDER BY version DESC LIMIT $3",
    "list_policies"};

constexpr Statement kInsertHalt{
    "INSERT INTO halts (id, org, in_force, pressed_at, asked, body) VALUES ($1, $2, true, $3, $4, "
    "$5)",
    "insert_halt"};
constexpr Statement kUpdateHalt{
    "UPDATE halts SET in_force = $2, asked = $3, body = $4 WHERE id = $1", "update_halt"};
constexpr Statement kInForce{
    "SELECT body, asked FROM halts WHERE org = $1 AND in_force ORDER BY pressed_at, id",
    "halts_in_force"};
constexpr Statement kLockHalt{
    "SELECT body, asked FROM halts WHERE id = $1 FOR UPDATE", "lock_halt"};
constexpr Statement kListHalts{
    "SELECT body, asked FROM halts WHERE org = $1 AND (in_force OR $2) ORDER BY pressed_at DESC, "
    "id DESC LIMIT 100",
    "list_halts"};

// An end stays an end: events of one lease come in order, but a late one may come twice.
constexpr Statement kPutLease{
    "INSERT INTO leases (id, org, machine, owner, ended_at, slug) VALUES ($1, $2, $3, $4, $5, $6) "
    "ON CONFLICT (id) DO UPDATE SET machine = EXCLUDED.machine, slug = EXCLUDED.slug, ended_at = "
    "coalesce(leases.ended_at, EXCLUDED.ended_at)",
    "put_lease"};
constexpr Statement kFindLease{
    "SELECT org, machine, ended_at IS NOT NULL FROM leases WHERE id = $1", "find_lease"};
constexpr Statement kPutMachine{
    "INSERT INTO machines (id, org, gone_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET "
    "gone_at = coalesce(machines.gone_at, EXCLUDED.gone_at)",
    "put_machine"};
constexpr Statement kPutUser{
    "INSERT INTO users (org, name, revision, may_decide) VALUES ($1, $2, $3, $4) ON CONFLICT (org, "
    "name) DO UPDATE SET revision = EXCLUDED.revision, may_decide = EXCLUDED.may_decide WHERE "
    "users.revision < EXCLUDED.revision",
    "put_user"};
constexpr Statement kMayDecide{
    "SELECT may_decide FROM users WHERE org = $1 AND name = $2", "may_decide"};
constexpr Statement kFindMachine{
    "SELECT id FROM machines WHERE org = $1 AND id = $2 AND gone_at IS NULL UNION ALL "
    "SELECT machine FROM leases WHERE org = $1 AND ended_at IS NULL AND machine <> '' AND "
    "$2 IN (machine, id, slug) LIMIT 1",
    "find_machine"};
constexpr Statement kOrgOfMachine{"SELECT org FROM machines WHERE id = $1", "org_of_machine"};
constexpr Statement kLeasedMachines{
    "SELECT DISTINCT machine FROM leases WHERE org = $1 AND ended_at IS NULL AND machine <> ''",
    "leased_machines"};
constexpr Statement kGoneMachines{
    "SELECT id FROM machines WHERE id = ANY($1::text[]) AND gone_at IS NOT NULL", "gone_machines"};
constexpr Statement kForgetLeases{"DELETE FROM leases WHERE ended_at < $1", "forget_leases"};
constexpr Statement kForgetMachines{"DELETE FROM machines WHERE gone_at < $1", "forget_machines"};
constexpr Statement kForgetApprovals{
    "DELETE FROM approvals WHERE id IN (SELECT id FROM approvals WHERE NOT live AND created_at < "
    "$1 "
    "ORDER BY created_at LIMIT $2)",
    "forget_approvals"};
constexpr Statement kForgetGrants{
    "DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE NOT live AND made_at < $1 "
    "ORDER BY made_at LIMIT $2)",
    "forget_grants"};

Org to_org(const Row& row) {
    return {
        std::string(row.text(0)),
        row.int64(1),
        static_cast<std::uint64_t>(row.int64(2)),
        std::string(row.text(3))};
}

v1::PolicyVersion to_policy(const Row& row) {
    v1::PolicyVersion out;
    out.set_org(std::string(row.text(0)));
    out.set_version(static_cast<std::uint64_t>(row.int64(1)));
    out.set_digest(std::string(row.text(2)));
    out.set_applied_by(std::string(row.text(3)));
    *out.mutable_applied_at() = to_timestamp(row.time(4));
    out.set_comment(std::string(row.text(5)));
    out.set_rolled_back_to(static_cast<std::uint64_t>(row.int64(6)));
    return out;
}

std::string join(const std::set<std::string>& machines) {
    std::string out;
    for (const auto& machine : machines) out += (out.empty() ? "" : " ") + machine;
    return out;
}

Result<std::vector<HaltRow>> halt_rows(Result<Rows> rows) {
    if (!rows) return std::move(rows).error();
    std::vector<HaltRow> out;
    for (const Row row : *rows) {
        HaltRow& halt = out.emplace_back();
        if (!halt.body.ParseFromString(row.bytes(0)))
            return internal("bad_row", "a halt cannot be read");
        for (const auto machine : split(row.text(1), ' ')) {
            if (!machine.empty()) halt.asked.emplace(machine);
        }
    }
    return out;
}

}  // namespace

Result<Org> lock_org(store::Transaction& tx, const std::string& org, Hold hold) {
    const Statement& statement = hold == Hold::kShared ? kShareOrg : kLockOrg;
    BERTH_ASSIGN(Rows rows, tx.exec(statement, {org}));
    if (rows.empty()) {
        BERTH_TRY(tx.exec(kMakeOrg, {org}));
        BERTH_ASSIGN(rows, tx.exec(statement, {org}));
    }
    if (rows.empty()) return internal("no_org", "the org's row could not be made");
    return to_org(rows[0]);
}
Result<void> update_org(store::Transaction& tx, const Org& org) {
    BERTH_TRY(tx.exec(
        kUpdateOrg,
        {org.org, org.revision, static_cast<std::int64_t>(org.policy_version), org.policy_digest}
    ));
    return {};
}
Result<Org> find_org(const Reader& reader, const std::string& org) {
    BERTH_ASSIGN(const Rows rows, read(reader, kFindOrg, {org}));
    if (rows.empty()) return Org{org, 0, 0, {}};
    return to_org(rows[0]);
}
Result<std::vector<Org>> orgs(store::Pool& pool) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kOrgs, {}, store::OnLoss::kRetry));
    std::vector<Org> out;
    for (const Row row : rows) out.push_back(to_org(row));
    return out;
}

Result<void> insert_policy(store::Transaction& tx, const v1::PolicyVersion& policy) {
    BERTH_TRY(tx.exec(
        kInsertPolicy,
        {policy.org(),
         static_cast<std::int64_t>(policy.version()),
         policy.digest(),
         policy.text(),
         policy.applied_by(),
         to_wall_time(policy.applied_at()),
         policy.comment(),
         static_cast<std::int64_t>(policy.rolled_back_to())}
    ));
    return {};
}
Result<std::optional<v1::PolicyVersion>> find_policy(
    const Reader& reader, const std::string& org, std::uint64_t version
) {
    BERTH_ASSIGN(
        const Rows rows, read(reader, kFindPolicy, {org, static_cast<std::int64_t>(version)})
    );
    if (rows.empty()) return std::optional<v1::PolicyVersion>{};
    v1::PolicyVersion out = to_policy(rows[0]);
    out.set_text(std::string(rows[0].text(7)));
    return std::optional<v1::PolicyVersion>(std::move(out));
}
Result<std::vector<v1::PolicyVersion>> list_policies(
    store::Pool& pool, const std::string& org, std::uint64_t before, int limit
) {
    const std::int64_t below =
        before == 0 ? std::numeric_limits<std::int64_t>::max() : static_cast<std::int64_t>(before);
    BERTH_ASSIGN(
        const Rows rows,
        pool.exec_autocommit(kListPolicies, {org, below, limit}, store::OnLoss::kRetry)
    );
    std::vector<v1::PolicyVersion> out;
    for (const Row row : rows) out.push_back(to_policy(row));
    return out;
}

Result<void> insert_halt(store::Transaction& tx, const HaltRow& halt) {
    BERTH_TRY(tx.exec(
        kInsertHalt,
        {halt.body.id(),
         halt.body.org(),
         to_wall_time(halt.body.pressed_at()),
         join(halt.asked),
         Param::bytes(halt.body.SerializeAsString())}
    ));
    return {};
}
Result<void> update_halt(store::Transaction& tx, const HaltRow& halt) {
    BERTH_TRY(tx.exec(
        kUpdateHalt,
        {halt.body.id(),
         in_force(halt.body),
         join(halt.asked),
         Param::bytes(halt.body.SerializeAsString())}
    ));
    return {};
}
Result<std::vector<v1::Halt>> halts_in_force(const Reader& reader, const std::string& org) {
    BERTH_ASSIGN(auto rows, halt_rows(read(reader, kInForce, {org})));
    std::vector<v1::Halt> out;
    for (HaltRow& row : rows) out.push_back(std::move(row.body));
    return out;
}
Result<std::optional<HaltRow>> lock_halt(store::Transaction& tx, const std::string& id) {
    BERTH_ASSIGN(auto rows, halt_rows(tx.exec(kLockHalt, {id})));
    if (rows.empty()) return std::optional<HaltRow>{};
    return std::optional<HaltRow>(std::move(rows.front()));
}
Result<std::vector<HaltRow>> list_halts(store::Pool& pool, const std::string& org, bool ended) {
    return halt_rows(pool.exec_autocommit(kListHalts, {org, ended}, store::OnLoss::kRetry));
}

Result<void> put_lease(
    store::Transaction& tx,
    const std::string& id,
    const std::string& slug,
    const std::string& owner,
    const LeaseRow& lease,
    std::optional<WallTime> ended_at
) {
    BERTH_TRY(tx.exec(kPutLease, {id, lease.org, lease.machine, owner, ended_at, slug}));
    return {};
}
Result<std::optional<LeaseRow>> find_lease(store::Transaction& tx, const std::string& id) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kFindLease, {id}));
    if (rows.empty()) return std::optional<LeaseRow>{};
    return std::optional<LeaseRow>(LeaseRow{
        std::string(rows[0].text(0)), std::string(rows[0].text(1)), rows[0].boolean(2)});
}
Result<void> put_machine(
    store::Transaction& tx,
    const std::string& id,
    const std::string& org,
    std::optional<WallTime> gone_at
) {
    BERTH_TRY(tx.exec(kPutMachine, {id, org, gone_at}));
    return {};
}
Result<bool> put_user(
    store::Transaction& tx,
    const std::string& org,
    const std::string& name,
    std::uint64_t revision,
    bool decides
) {
    BERTH_ASSIGN(
        const Rows rows,
        tx.exec(kPutUser, {org, name, static_cast<std::int64_t>(revision), decides})
    );
    return rows.affected() > 0;
}
Result<bool> may_decide(store::Transaction& tx, const std::string& org, const std::string& name) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kMayDecide, {org, name}));
    return rows.empty() || rows[0].boolean(0);
}
Result<std::string> find_machine(
    store::Transaction& tx, const std::string& org, const std::string& name
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kFindMachine, {org, name}));
    return rows.empty() ? std::string() : std::string(rows[0].text(0));
}
Result<std::string> org_of_machine(const Reader& reader, const std::string& id) {
    BERTH_ASSIGN(const Rows rows, read(reader, kOrgOfMachine, {id}));
    return rows.empty() ? std::string() : std::string(rows[0].text(0));
}
Result<std::vector<std::string>> leased_machines(store::Transaction& tx, const std::string& org) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kLeasedMachines, {org}));
    std::vector<std::string> out;
    for (const Row row : rows) out.emplace_back(row.text(0));
    return out;
}
Result<std::vector<std::string>> gone_machines(
    store::Transaction& tx, const std::vector<std::string>& of
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kGoneMachines, {Param::text_array(of)}));
    std::vector<std::string> out;
    for (const Row row : rows) out.emplace_back(row.text(0));
    return out;
}
Result<void> forget(store::Pool& pool, WallTime before) {
    BERTH_TRY(pool.exec_autocommit(kForgetLeases, {before}, store::OnLoss::kRetry));
    BERTH_TRY(pool.exec_autocommit(kForgetMachines, {before}, store::OnLoss::kRetry));
    return {};
}
Result<void> forget_ended(store::Pool& pool, WallTime before) {
    for (const Statement& statement : {kForgetApprovals, kForgetGrants})
        BERTH_TRY(pool.exec_autocommit(statement, {before, kForgetBatch}, store::OnLoss::kRetry));
    return {};
}

}  // namespace berth::warden::repo
