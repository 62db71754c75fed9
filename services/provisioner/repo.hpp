// SPDX-License-Identifier: Apache-2.0
// Provider resources as rows. Every statement of the provisioner stands in repo.cpp.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "provisioner/resource.hpp"
#include "store/migrations.hpp"
#include "store/postgres.hpp"

namespace berth::prov {

std::span<const store::Migration> migrations();

/// Stateless; the transaction's thread rules hold.
namespace repo {

/// False when the machine is known already.
Result<bool> insert(store::Transaction& tx, const Resource& resource);
Result<void> update(store::Transaction& tx, const Resource& resource);
Result<std::optional<Resource>> lock(store::Transaction& tx, const std::string& machine);
/// Machines of a driver whose create or destroy is due.
Result<std::vector<std::string>> due(
    store::Pool& pool, std::string_view driver, WallTime now, int limit
);
Result<std::vector<Resource>> ready(store::Pool& pool, std::string_view driver, int limit);
/// False once its destroy is recorded, also while its create is under way.
Result<bool> is_creating(store::Pool& pool, const std::string& machine);
/// Of these machines, those that should exist (known and not gone).
Result<std::vector<std::string>> wanted(store::Pool& pool, std::span<const std::string> machines);

Result<void> open_enrolment(store::Pool& pool, const EnrolmentRow& row);
Result<std::optional<EnrolmentRow>> lock_enrolment(
    store::Transaction& tx, const std::string& machine
);
Result<void> use_enrolment(store::Transaction& tx, const EnrolmentRow& row);
/// Nobody has used the token any more: the one who had is gone.
Result<void> renew_enrolment(store::Pool& pool, const std::string& machine, WallTime expires_at);
Result<void> close_enrolment(store::Pool& pool, const std::string& machine);

/// Where something of a machine may be; kept until left().
Result<void> touch(store::Pool& pool, const std::string& machine, const std::string& place);
Result<std::vector<std::string>> touched(store::Pool& pool, const std::string& machine);
Result<void> left(store::Pool& pool, const std::string& machine);

/// Makes the record of one driver's drift what a look found: what stays keeps its time.
Result<void> write_look(
    store::Pool& pool, const DriverLook& look, std::span<const DriftItem> items
);
/// Of these drivers, those that were never looked at too, and machines whose removal keeps failing.
Result<DriftReport> read_drift(store::Pool& pool, std::span<const std::string> drivers);

/// Keeps every other actor, of any replica, away from a machine until unlocked or the connection
/// ends: a killed provisioner leaves nothing locked.
Result<bool> try_act(store::Connection& connection, const std::string& machine);
Result<void> end_act(store::Connection& connection, const std::string& machine);

}  // namespace repo
}  // namespace berth::prov
