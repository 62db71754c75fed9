// SPDX-License-Identifier: Apache-2.0
// What the files of SQL share.
#pragma once

#include "lease_broker/pools.hpp"
#include "store/postgres.hpp"

namespace berth::lease::repo {

/// Waits for, and holds until the transaction's end, what the key stands for.
inline constexpr store::Statement kLockKey{"SELECT pg_advisory_xact_lock($1::bigint)", "lock_key"};

/// The epoch means never.
inline store::Param or_null(WallTime time) {
    return time == WallTime{} ? store::Param(nullptr) : store::Param(time);
}

inline Result<store::Rows> read(
    const Reader& reader, const store::Statement& statement, const store::Params& params
) {
    if (const auto* tx = std::get_if<store::Transaction*>(&reader))
        return (*tx)->exec(statement, params);
    return std::get<store::Pool*>(reader)->exec_autocommit(
        statement, params, store::OnLoss::kRetry
    );
}

}  // namespace berth::lease::repo
