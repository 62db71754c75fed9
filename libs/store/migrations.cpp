// SPDX-License-Identifier: Apache-2.0
// Applies migrations once, under a lock, and refuses a history that was rewritten.
#include "store/migrations.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include "store/advisory.hpp"
#include "store/link.hpp"

namespace berth::store {
namespace {

// Long enough for a sibling's index build, short enough that a start-up fails visibly.
constexpr milliseconds kLockWait{60'000};
constexpr milliseconds kScriptLimit{600'000};

/// FNV-1a, 64 bits: the checksum guards against edits by mistake, not against an enemy.
std::string checksum(const Migration& migration) {
    return std::to_string(advisory_key("migration", migration.sql));
}

Result<void> check_list(std::span<const Migration> migrations) {
    for (std::size_t i = 0; i < migrations.size(); ++i) {
        if (migrations[i].number != static_cast<int>(i) + 1) {
            return internal(
                "migration_order",
                "migration " + std::string(migrations[i].name) + " should be number " +
                    std::to_string(i + 1)
            );
        }
    }
    return {};
}

Result<void> take_lock(Connection& connection, std::string_view schema) {
    // The statement timeout is lifted for this session alone: a migration takes as long as it
    // takes.
    BERTH_TRY(connection.exec_script(
        "SET statement_timeout = " + std::to_string(kLockWait.count()), kScriptLimit
    ));
    auto locked = connection.exec_within(
        kLockWait + milliseconds{2000},
        "SELECT pg_advisory_lock($1::bigint)",
        {advisory_key("migrate", schema)}
    );
    if (!locked && locked.error().fault == Fault::kDeadline) {
        return deadline(
            "migration_lock",
            "another replica has been migrating schema " + std::string(schema) + " for a minute"
        );
    }
    BERTH_TRY(std::move(locked));
    return connection.exec_script(
        "SET statement_timeout = " + std::to_string(kScriptLimit.count()), kScriptLimit
    );
}

/// Creates the schema only where it is missing: that takes a right which a role with a ready schema
/// lacks.
Result<void> prepare_schema(Connection& connection, std::string_view schema) {
    BERTH_ASSIGN(
        const Rows found, connection.exec("SELECT 1 FROM pg_namespace WHERE nspname = $1", {schema})
    );
    const std::string quoted = quote_identifier(schema);
    if (found.empty()) BERTH_TRY(connection.exec_script("CREATE SCHEMA " + quoted, kScriptLimit));
    BERTH_TRY(connection.exec_script("SET search_path TO " + quoted, kScriptLimit));
    return connection.exec_script(
        "CREATE TABLE IF NOT EXISTS schema_migrations (number int PRIMARY KEY, name text NOT NULL, "
        "checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
        kScriptLimit
    );
}

Result<std::size_t> check_history(Connection& connection, std::span<const Migration> migrations) {
    BERTH_ASSIGN(
        const Rows rows,
        connection.exec("SELECT number, name, checksum FROM schema_migrations ORDER BY number")
    );
    if (rows.size() > migrations.size()) {
        return internal(
            "migration_newer",
            "the database has migration " + std::to_string(rows.size()) + ", this program knows " +
                std::to_string(migrations.size()) + ": start the newer program"
        );
    }
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (rows[i].int64("number") == migrations[i].number &&
            rows[i].text("checksum") == checksum(migrations[i]))
            continue;
        return internal(
            "migration_edited",
            "migration " + std::to_string(migrations[i].number) + " (" +
                std::string(migrations[i].name) +
                ") was applied with another text: restore it and write a new one"
        );
    }
    return rows.size();
}

Result<void> apply(Connection& connection, const Migration& migration) {
    const auto named = [&](const Error& error) {
        Error out = error;
        if (out.fault == Fault::kInternal) out.code = "migration_failed";
        out.message = "migration " + std::to_string(migration.number) + " (" +
                      std::string(migration.name) + "): " + out.message;
        return out;
    };
    BERTH_TRY(connection.exec_script("BEGIN", kScriptLimit));
    if (auto done = connection.exec_script(migration.sql, kScriptLimit); !done)
        return named(done.error());
    auto recorded = connection.exec(
        "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
        {migration.number, migration.name, checksum(migration)}
    );
    if (!recorded) return named(recorded.error());
    if (auto done = connection.exec_script("COMMIT", kScriptLimit); !done)
        return named(done.error());
    return {};
}

}  // namespace

const std::string_view kInboxOutboxDdl = R"sql(
CREATE TABLE inbox (
    command_id     text PRIMARY KEY,
    digest         bytea NOT NULL,
    outcome_type   text,
    outcome_status text,
    outcome        bytea,
    received_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX inbox_received_at ON inbox (received_at);
CREATE TABLE outbox (
    id            bigserial PRIMARY KEY,
    message_id    text NOT NULL UNIQUE,
    entity        text NOT NULL,
    revision      bigint NOT NULL,
    subject       text NOT NULL,
    headers       bytea NOT NULL,
    payload       bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz
);
CREATE INDEX outbox_entity ON outbox (entity, id) WHERE entity <> '';
-- Rows live for milliseconds: vacuum by count of the dead, not by share of the living.
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
)sql";

const std::string_view kLeaderDdl = R"sql(
CREATE TABLE leader_fence (
    name  text PRIMARY KEY,
    token bigint NOT NULL
);
)sql";

Result<int> migrate(Pool& pool, std::string_view schema, std::span<const Migration> migrations) {
    BERTH_TRY(check_list(migrations));
    // A connection of its own: its end, however it comes, releases the lock.
    BERTH_ASSIGN(Connection connection, Connection::open(pool.settings()));
    BERTH_TRY(take_lock(connection, schema));
    BERTH_TRY(prepare_schema(connection, schema));
    BERTH_ASSIGN(const std::size_t applied, check_history(connection, migrations));
    for (const Migration& migration : migrations.subspan(applied))
        BERTH_TRY(apply(connection, migration));
    return static_cast<int>(migrations.size() - applied);
}

}  // namespace berth::store
