// SPDX-License-Identifier: Apache-2.0
// Runs as rows. Every statement of run_manager stands in repo.cpp.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "run_manager/run.hpp"
#include "store/migrations.hpp"
#include "store/postgres.hpp"

namespace berth::run {

std::span<const store::Migration> migrations();

/// Stateless; the transaction's thread rules hold.
namespace repo {

Result<void> insert(store::Transaction& tx, const Run& run);
Result<void> update(store::Transaction& tx, const Run& run);
Result<std::optional<Run>> lock(store::Transaction& tx, const std::string& id);
Result<std::optional<Run>> find(store::Pool& pool, const std::string& id);
/// Serialises what happens to the runs of one lease until the transaction ends.
Result<void> lock_lease(store::Transaction& tx, const std::string& lease);
Result<std::int64_t> count_placed(store::Transaction& tx, const std::string& lease);
Result<std::optional<Run>> lock_next_queued(store::Transaction& tx, const std::string& lease);

/// Which working tree the workspace of a lease holds; "" where none was sent to it.
Result<std::string> tree_of(store::Transaction& tx, const std::string& lease);
Result<std::string> tree_of(store::Pool& pool, const std::string& lease);
Result<void> set_tree(
    store::Transaction& tx, const std::string& lease, const std::string& tree, WallTime now
);
/// The oldest run of the lease that has not ended, by id; "" where there is none.
Result<std::string> live_run_on(store::Transaction& tx, const std::string& lease);
/// A run of the lease that has not begun, and whether it is queued (told first) or starting.
Result<std::optional<std::pair<std::string, RunState>>> unstarted_run_on(
    store::Transaction& tx, const std::string& lease
);
/// Drops what is known of workspaces nobody has sent anything to since `before`.
Result<void> forget_trees(store::Pool& pool, WallTime before);

/// What lease_broker told of a lease's share with one user. Told twice, late or out of order it
/// comes to the same.
struct Share {
    std::string lease;
    std::string user;
    std::string right;          ///< use, manage; "": it was withdrawn
    std::int64_t revision = 0;  ///< of the lease
};
/// Serialises what is told of a share with what it lets on the lease, until the transaction ends:
/// a withdrawal and a start under way, one of the two sees the other. Before the rows of runs and
/// before lock_lease, always.
Result<void> lock_share(store::Transaction& tx, const std::string& lease, const std::string& user);
Result<void> put_share(store::Transaction& tx, const Share& share, WallTime now);
struct ShareState {
    std::string right;           ///< as told last; "" where there is no share
    std::int64_t withdrawn = 0;  ///< the lease's revision at the last withdrawal; 0: never
};
Result<ShareState> share_of(
    store::Transaction& tx, const std::string& lease, const std::string& user
);
Result<ShareState> share_of(store::Pool& pool, const std::string& lease, const std::string& user);
/// The live runs of a user whom a share let on the lease.
Result<std::vector<Run>> lock_guest_runs(
    store::Transaction& tx, const std::string& lease, const std::string& user
);
/// Drops what was told of shares before `before`.
Result<void> forget_shares(store::Pool& pool, WallTime before);

struct ListFilter {
    std::string org;
    std::string owner;   // empty: everybody's; with a lease also all on a lease of his
    std::string lease;   // empty: any
    std::string cursor;  // "<created micros>-<id>"; empty: from the newest
    int limit = 50;
};
Result<std::vector<Run>> list(store::Pool& pool, const ListFilter& filter);
std::string cursor_of(const Run& run);

/// Runs that have not ended: id, machine and creation.
struct LiveRun {
    std::string id;
    std::string machine;
    WallTime created_at;
    bool placed = false;
};
Result<std::vector<LiveRun>> live_runs(store::Pool& pool);
Result<std::vector<std::string>> live_runs_of(store::Transaction& tx, const std::string& machine);
/// Ended runs whose output is still stored, oldest first: id and subject.
Result<std::vector<std::pair<std::string, std::string>>> purgeable(store::Pool& pool, int limit);
Result<void> mark_purged(store::Pool& pool, const std::string& id);

}  // namespace repo
}  // namespace berth::run
