// SPDX-License-Identifier: Apache-2.0
// Warden's rows. Every statement stands in repo.cpp, repo_rules.cpp or repo_audit.cpp.
//
// Rows are locked in one order everywhere: orgs, halts, approvals, grants, audit_heads.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "store/migrations.hpp"
#include "store/postgres.hpp"
#include "warden/approval.hpp"
#include "warden/audit.hpp"
#include "warden/mirror.hpp"

namespace berth::warden {

std::span<const store::Migration> migrations();

/// What a beat tells of an org besides its halts.
struct Org {
    std::string org;
    std::int64_t revision = 0;
    std::uint64_t policy_version = 0;
    std::string policy_digest;
};

/// A grant with what halts are matched by.
struct GrantRow {
    v1::Grant body;
    std::string agent;
    std::string machine;
};
/// A halt with the machines that were asked to confirm it.
struct HaltRow {
    v1::Halt body;
    std::set<std::string> asked;
};

/// Stateless; the transaction's thread rules hold.
namespace repo {

using Reader = std::variant<store::Transaction*, store::Pool*>;
Result<store::Rows> read(
    const Reader& reader, const store::Statement& statement, const store::Params& params
);

// ---- orgs and policies
/// The org's row, locked: shared by whoever relies on policy and halts as they are, alone by
/// whoever changes them. Made where it is new.
enum class Hold { kShared, kAlone };
Result<Org> lock_org(store::Transaction& tx, const std::string& org, Hold hold);
Result<void> update_org(store::Transaction& tx, const Org& org);
/// The org as it is; version 0 where it is unknown.
Result<Org> find_org(const Reader& reader, const std::string& org);
Result<std::vector<Org>> orgs(store::Pool& pool);
Result<void> insert_policy(store::Transaction& tx, const v1::PolicyVersion& policy);
Result<std::optional<v1::PolicyVersion>> find_policy(
    const Reader& reader, const std::string& org, std::uint64_t version
);
/// Newest first, without text, below `before` (0: from the newest).
Result<std::vector<v1::PolicyVersion>> list_policies(
    store::Pool& pool, const std::string& org, std::uint64_t before, int limit
);

// ---- approvals
Result<void> insert_approval(store::Transaction& tx, const Record& record);
Result<void> update_approval(store::Transaction& tx, const Record& record);
Result<std::optional<Record>> lock_approval(store::Transaction& tx, const std::string& id);
Result<std::optional<Record>> find_approval(store::Pool& pool, const std::string& id);
Result<std::optional<Record>> find_approval(store::Transaction& tx, const std::string& id);
/// "" where there is no such approval.
Result<std::string> org_of_approval(store::Transaction& tx, const std::string& id);
Result<std::optional<Record>> find_held(
    store::Transaction& tx, const std::string& machine, const std::string& held
);
/// Ids of the live ones of an org, a run or a machine, in the order in which they are to be locked.
Result<std::vector<std::string>> live_of_org(store::Transaction& tx, const std::string& org);
Result<std::vector<std::string>> live_of_run(store::Transaction& tx, const std::string& run);
Result<std::vector<std::string>> live_of_machine(
    store::Transaction& tx, const std::string& machine
);
/// Ids of those whose deadline has passed, with their orgs.
Result<std::vector<std::pair<std::string, std::string>>> due(
    store::Pool& pool, WallTime now, int limit
);
struct ListFilter {
    std::string org;
    std::string user;    // empty: everybody's
    std::string state;   // empty: any
    std::string cursor;  // of cursor_of; empty: from the newest
    int limit = 50;
};
Result<std::vector<v1::Approval>> list_approvals(store::Pool& pool, const ListFilter& filter);

// ---- grants
Result<void> insert_grant(store::Transaction& tx, const GrantRow& grant);
Result<void> update_grant(store::Transaction& tx, const v1::Grant& grant, bool live);
Result<std::vector<GrantRow>> lock_live_grants_of(
    store::Transaction& tx, const std::string& org, const std::string& user
);
Result<std::vector<GrantRow>> lock_live_grants(store::Transaction& tx, const std::string& org);
Result<std::vector<GrantRow>> lock_grants_of_lease(
    store::Transaction& tx, const std::string& lease
);
Result<std::optional<GrantRow>> lock_grant(store::Transaction& tx, const std::string& id);
/// Ids and orgs of those whose time is over and which are still called live.
Result<std::vector<std::pair<std::string, std::string>>> due_grants(
    store::Pool& pool, WallTime now, int limit
);
Result<std::vector<v1::Grant>> list_grants(store::Pool& pool, const ListFilter& filter, bool ended);

/// A cursor after an entity made at `at`.
std::string cursor_of(const google::protobuf::Timestamp& at, const std::string& id);

// ---- halts
Result<void> insert_halt(store::Transaction& tx, const HaltRow& halt);
Result<void> update_halt(store::Transaction& tx, const HaltRow& halt);
Result<std::vector<v1::Halt>> halts_in_force(const Reader& reader, const std::string& org);
Result<std::optional<HaltRow>> lock_halt(store::Transaction& tx, const std::string& id);
Result<std::vector<HaltRow>> list_halts(store::Pool& pool, const std::string& org, bool ended);

// ---- what other services told
struct LeaseRow {
    std::string org;
    std::string machine;
    bool ended = false;
};
Result<void> put_lease(
    store::Transaction& tx,
    const std::string& id,
    const std::string& slug,
    const std::string& owner,
    const LeaseRow& lease,
    std::optional<WallTime> ended_at
);
Result<std::optional<LeaseRow>> find_lease(store::Transaction& tx, const std::string& id);
Result<void> put_machine(
    store::Transaction& tx,
    const std::string& id,
    const std::string& org,
    std::optional<WallTime> gone_at
);
/// The machine's org; "" where it is not known (yet).
Result<std::string> org_of_machine(const Reader& reader, const std::string& id);
/// False where a later change of the user is known.
Result<bool> put_user(
    store::Transaction& tx,
    const std::string& org,
    const std::string& name,
    std::uint64_t revision,
    bool may_decide
);
/// False for a user of whom it was told that they may not; nothing is known of most.
Result<bool> may_decide(store::Transaction& tx, const std::string& org, const std::string& name);
/// The machine of the org that lives by that id, or that a live lease of that id or name holds;
/// "" where there is none.
Result<std::string> find_machine(
    store::Transaction& tx, const std::string& org, const std::string& name
);
/// Machines that leases of the org hold.
Result<std::vector<std::string>> leased_machines(store::Transaction& tx, const std::string& org);
/// Those of them that are known to be no more.
Result<std::vector<std::string>> gone_machines(
    store::Transaction& tx, const std::vector<std::string>& of
);
Result<void> forget(store::Pool& pool, WallTime before);
/// Removes ended approvals and grants that are older, kForgetBatch of each at most.
Result<void> forget_ended(store::Pool& pool, WallTime before);

// ---- audit
/// Chains the records of one org (all fields but sequence, previous and hash are set) and stores
/// them. The org's head is locked until the end of the transaction.
Result<void> append_audit(
    store::Transaction& tx, const std::string& org, std::vector<v1::AuditRecord>& records
);
struct AuditFilter {
    std::string org;
    std::string user;
    std::string run;
    std::string fact;
    WallTime since{};
    WallTime until = WallTime::max();
    bool oldest_first = false;
    std::uint64_t from = 0;  ///< oldest first: at least; newest first: below; 0: from the end
    int limit = 50;
};
Result<std::vector<v1::AuditRecord>> list_audit(store::Pool& pool, const AuditFilter& filter);
/// Goes on behind `verified`, for kVerifyPages at most.
Result<v1::AuditVerdict> verify_audit(
    store::Pool& pool, const std::string& org, const ChainHead& verified, std::vector<Link>& links
);
/// The head of the org's chain as it is stored.
Result<ChainHead> audit_head(store::Pool& pool, const std::string& org);

}  // namespace repo
}  // namespace berth::warden
