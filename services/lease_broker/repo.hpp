// SPDX-License-Identifier: Apache-2.0
// Leases and attachments as rows.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lease_broker/lease.hpp"
#include "store/migrations.hpp"
#include "store/postgres.hpp"

namespace berth::lease {

std::span<const store::Migration> migrations();

/// Stateless; the transaction's thread rules hold. "lock" reads FOR UPDATE: whoever changes a lease
/// holds its row first, which also orders its events.
namespace repo {

/// False when the slug is taken among the org's live leases.
Result<bool> insert_lease(store::Transaction& tx, const Lease& lease);
/// Of a lease that was touched, attached or detached.
void update_lease(store::Transaction& tx, const Lease& lease);
/// Of a lease whose state or machine changed.
void move_lease(store::Transaction& tx, const Lease& lease);
/// Of leases that ended at the same moment, by no fault of their machines.
void end_leases(store::Transaction& tx, const std::vector<Lease>& leases);
/// By id or slug. A slug means the live lease, else the newest ended one that had it.
Result<std::optional<Lease>> lock_lease(
    store::Transaction& tx, const std::string& org, const std::string& id_or_slug
);
/// Those of `ids` that are live and that nobody else has locked.
Result<std::vector<Lease>> lock_live(store::Transaction& tx, const std::vector<std::string>& ids);
Result<std::optional<Lease>> lock_lease_by_machine(
    store::Transaction& tx, const std::string& machine
);
Result<std::optional<Lease>> find_lease(
    store::Pool& pool, const std::string& org, const std::string& id_or_slug
);
/// Whoever asks for the same waits until this transaction has ended: one makes the lease that all
/// others find.
Result<std::optional<Lease>> lock_reusable(
    store::Transaction& tx,
    const std::string& org,
    const std::string& owner,
    const std::string& profile,
    const std::string& label
);
struct ListFilter {
    std::string org;
    std::string owner;   // with the live leases shared with that user; empty: everybody's
    bool ended = false;  // ended ones too; then without those shared
    std::string before;  // ids below this; empty: from the newest
    int limit = 50;
};
Result<std::vector<Lease>> list_leases(store::Pool& pool, const ListFilter& filter);
/// Live leases whose time may be over. Whoever was touched since it was last looked at comes up,
/// too, and is to be put off by look_later().
Result<std::vector<Lease>> leases_to_look_at(store::Pool& pool, WallTime now, int limit);
/// Next when they expire as they are here; one that has changed meanwhile comes up again.
Result<void> look_later(store::Pool& pool, const std::vector<Lease>& leases);

/// False when this work is attached already.
Result<bool> insert_attachment(
    store::Transaction& tx, const std::string& lease, const std::string& work, WallTime now
);
Result<void> confirm_attachment(store::Transaction& tx, const std::string& work);
/// The lease it was attached to, if it was.
Result<std::optional<std::string>> delete_attachment(
    store::Transaction& tx, const std::string& work
);
Result<std::vector<std::string>> stale_attachments(store::Pool& pool, WallTime before, int limit);
Result<std::optional<std::string>> org_of_attachment(
    store::Transaction& tx, const std::string& work
);

}  // namespace repo
}  // namespace berth::lease
