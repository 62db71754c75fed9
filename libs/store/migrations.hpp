// SPDX-License-Identifier: Apache-2.0
// Schema changes as numbered, checksummed SQL that each database sees once, however many replicas
// start.
#pragma once

#include <span>
#include <string_view>

#include "store/postgres.hpp"

namespace berth::store {

/// Number from 1, without gaps, in order. Once applied anywhere the text never changes: write the
/// next one.
struct Migration {
    int number;
    std::string_view name;
    std::string_view sql;
};

/// The tables `inbox` and `outbox`: a service puts this at the head of its migration 1.
extern const std::string_view kInboxOutboxDdl;
/// The table `leader_fence`, for services that elect (leader.hpp).
extern const std::string_view kLeaderDdl;

/// Creates `schema` if it is missing and applies what is not applied yet, each migration in a
/// transaction of its own, recorded in `schema_migrations`. Returns how many were applied. Replicas
/// wait for each other on an advisory lock for a minute at most. `schema` should be the pool's own.
/// Errors: kInternal "migration_edited" (an applied text differs), "migration_order" (the list has
/// gaps), "migration_failed" (the message names the migration), "migration_newer" (the database is
/// ahead of this program); kDeadline "migration_lock"; and those of Connection.
Result<int> migrate(Pool& pool, std::string_view schema, std::span<const Migration> migrations);

}  // namespace berth::store
