// SPDX-License-Identifier: Apache-2.0
// The memory of commands already executed: what turns "at least once" into "its effect once per
// command id".
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "store/postgres.hpp"

namespace berth::store {

/// What a command led to: the reply's protobuf type, "ok" or "failure", and the reply's bytes.
struct Outcome {
    std::string type;
    std::string status;
    std::string payload;
};

/// What Inbox::claim found.
struct Claim {
    enum class Kind {
        kNew,       ///< never seen: execute it, settle it in the same transaction
        kKnown,     ///< executed: `outcome` is the answer, say it again
        kPending,   ///< claimed and committed earlier without an outcome (intent recorded, result
                    ///< outstanding)
        kConflict,  ///< the id was used for another command (digest differs): refuse
    };
    Kind kind = Kind::kNew;
    Outcome outcome;

    bool is_new() const { return kind == Kind::kNew; }
    bool is_known() const { return kind == Kind::kKnown; }
    bool is_pending() const { return kind == Kind::kPending; }
    bool is_conflict() const { return kind == Kind::kConflict; }
};

/// The table `inbox` of the service's schema (see kInboxOutboxDdl). Stateless; the transaction's
/// thread rules hold. Two replicas with the same command: the second claim waits until the first
/// transaction ends, then reads its outcome, or is new itself when the first rolled back.
class Inbox {
public:
    /// $1 command_id, $2 digest (bytea). One row affected means new. As a CTE:
    /// `WITH claimed AS (<kClaimSql> RETURNING command_id) INSERT … SELECT … FROM claimed`; when
    /// nothing was claimed, ask kOutcomeSql in a second statement, since the first one's snapshot
    /// may be too old to see it.
    static constexpr std::string_view kClaimSql =
        "INSERT INTO inbox (command_id, digest) VALUES ($1, $2) ON CONFLICT (command_id) DO "
        "NOTHING";
    /// $1 command_id → digest, outcome_type, outcome_status, outcome.
    static constexpr std::string_view kOutcomeSql =
        "SELECT digest, outcome_type, outcome_status, outcome FROM inbox WHERE command_id = $1";
    /// $1 command_id, $2 type, $3 status, $4 payload (bytea).
    static constexpr std::string_view kSettleSql =
        "UPDATE inbox SET outcome_type = $2, outcome_status = $3, outcome = $4 WHERE command_id = "
        "$1";
    static Result<Claim> claim(
        Transaction& tx, std::string_view command_id, std::string_view digest
    );
    /// claim() and settle() in one, for an id that is most likely new: one row written once, with
    /// COMMIT. Where the id is known after all COMMIT fails with an error of which was_claimed() is
    /// true, and nothing was done: claim() in another transaction then says what is known.
    static void record(
        Transaction& tx,
        std::string_view command_id,
        std::string_view digest,
        const Outcome& outcome
    );
    static bool was_claimed(const Error& error);
    /// What is known of a command, without claiming it; kNew when nothing is.
    static Result<Claim> look_up(
        Transaction& tx, std::string_view command_id, std::string_view digest
    );
    static Result<Claim> look_up(Pool& pool, std::string_view command_id, std::string_view digest);
    /// Of what was claimed in the same transaction; written with its next statement or COMMIT.
    static void settle(Transaction& tx, std::string_view command_id, const Outcome& outcome);

    /// Deletes rows received longer ago than `age`, `batch` rows per statement and kMaxPurgeBatches
    /// statements at most; returns how many went. Run it now and then: two replicas at once share
    /// the work.
    static Result<std::int64_t> purge_older_than(Pool& pool, std::chrono::seconds age, int batch);
    static constexpr int kMaxPurgeBatches =
        100;  // bounds one call: the next one goes on where it stopped
};

}  // namespace berth::store
