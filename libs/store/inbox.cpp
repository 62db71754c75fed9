// SPDX-License-Identifier: Apache-2.0
// Claiming a command id once, whoever races for it.
#include "store/inbox.hpp"

namespace berth::store {
namespace {

Claim read_claim(const Rows& rows, std::string_view digest) {
    if (rows.empty()) return {};
    const Row row = rows[0];
    if (row.bytes("digest") != digest) return {Claim::Kind::kConflict, {}};
    if (row.is_null("outcome_type")) return {Claim::Kind::kPending, {}};
    return {
        Claim::Kind::kKnown,
        {std::string(row.text("outcome_type")),
         std::string(row.text("outcome_status")),
         row.bytes("outcome")}};
}

constexpr Statement kClaim{Inbox::kClaimSql, "inbox.claim"};
constexpr Statement kRecord{
    "INSERT INTO inbox (command_id, digest, outcome_type, outcome_status, outcome) "
    "VALUES ($1, $2, $3, $4, $5)",
    "inbox.record"};
constexpr Statement kOutcome{Inbox::kOutcomeSql, "inbox.outcome"};
constexpr Statement kSettle{Inbox::kSettleSql, "inbox.settle"};
// SKIP LOCKED: two replicas that purge at once share the rows instead of waiting for each other.
constexpr Statement kPurge{
    "DELETE FROM inbox WHERE command_id = ANY(ARRAY(SELECT command_id FROM inbox "
    "WHERE received_at < now() - make_interval(secs => $1) ORDER BY received_at LIMIT $2 FOR "
    "UPDATE SKIP LOCKED))",
    "inbox.purge"};

}  // namespace

Result<Claim> Inbox::claim(Transaction& tx, std::string_view command_id, std::string_view digest) {
    BERTH_ASSIGN(
        const Rows inserted, tx.exec(kClaim, {command_id, Param::bytes(std::string(digest))})
    );
    if (inserted.affected() == 1) return Claim{};
    // The INSERT waited for whoever holds the id; a second statement sees what that one committed.
    BERTH_ASSIGN(const Claim found, look_up(tx, command_id, digest));
    if (found.is_new()) {
        return unavailable(
            "inbox_raced", "the command's earlier record was purged this very moment; ask again"
        );
    }
    return found;
}

void Inbox::record(
    Transaction& tx, std::string_view command_id, std::string_view digest, const Outcome& outcome
) {
    tx.exec_later(
        kRecord,
        {command_id,
         Param::bytes(std::string(digest)),
         outcome.type,
         outcome.status,
         Param::bytes(outcome.payload)}
    );
}

bool Inbox::was_claimed(const Error& error) {
    return error.code == "unique_violation" && error.field == "inbox_pkey";
}

Result<Claim> Inbox::look_up(
    Transaction& tx, std::string_view command_id, std::string_view digest
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kOutcome, {command_id}));
    return read_claim(rows, digest);
}

Result<Claim> Inbox::look_up(Pool& pool, std::string_view command_id, std::string_view digest) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kOutcome, {command_id}, OnLoss::kRetry));
    return read_claim(rows, digest);
}

void Inbox::settle(Transaction& tx, std::string_view command_id, const Outcome& outcome) {
    tx.exec_later(
        kSettle, {command_id, outcome.type, outcome.status, Param::bytes(outcome.payload)}
    );
}

Result<std::int64_t> Inbox::purge_older_than(Pool& pool, std::chrono::seconds age, int batch) {
    std::int64_t total = 0;
    for (int i = 0; i < kMaxPurgeBatches; ++i) {
        BERTH_ASSIGN(
            const Rows rows, pool.exec_autocommit(kPurge, {age.count(), batch}, OnLoss::kRetry)
        );
        total += rows.affected();
        if (rows.affected() < batch) break;
    }
    return total;
}

}  // namespace berth::store
