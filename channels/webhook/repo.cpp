// SPDX-License-Identifier: Apache-2.0
// The tables, and the SQL of subscribers.
#include "webhook/repo.hpp"

#include <array>

#include "core/text.hpp"
#include "service/proto_time.hpp"
#include "store/inbox.hpp"
#include "store/leader.hpp"
#include "webhook/settings.hpp"

namespace berth::webhook {
namespace {

using store::OnLoss;
using store::Param;
using store::Row;
using store::Statement;

// `pending` of a subscriber is the number of its rows in state 'pending', kept with them.
constexpr std::string_view kTables = R"(
CREATE TABLE subscribers (
    id text PRIMARY KEY,
    org text NOT NULL,
    url text NOT NULL,
    subjects text NOT NULL,
    binary_mode boolean NOT NULL,
    enabled boolean NOT NULL,
    reason text NOT NULL,
    description text NOT NULL,
    secret text NOT NULL,
    old_secret text NOT NULL,
    old_secret_until timestamptz,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    failing_since timestamptz,
    pending bigint NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX subscribers_by_org ON subscribers (org, id);
CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ce_id text NOT NULL UNIQUE,
    type text NOT NULL,
    subject text NOT NULL,
    headers bytea NOT NULL,
    payload bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX events_by_age ON events (at);
CREATE TABLE deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscriber text NOT NULL REFERENCES subscribers (id) ON DELETE CASCADE,
    event bigint NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    state smallint NOT NULL DEFAULT 1,
    attempts integer NOT NULL DEFAULT 0,
    status integer NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    first_at timestamptz,
    last_at timestamptz,
    next_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deliveries_log ON deliveries (subscriber, id);
CREATE INDEX deliveries_pending ON deliveries (subscriber, id) WHERE state = 1;
CREATE INDEX deliveries_of_event ON deliveries (event);
)";

// A machine may publish below its own subjects with any id: it must not stand for another's event.
constexpr std::string_view kTwins = R"(
ALTER TABLE events DROP CONSTRAINT events_ce_id_key,
    ADD COLUMN twin boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT events_of_subject UNIQUE (ce_id, subject);
)";

// SubscriberRow says what each is.
constexpr std::string_view kHealth = R"(
ALTER TABLE subscribers
    ADD COLUMN failures bigint NOT NULL DEFAULT 0,
    ADD COLUMN next_at timestamptz,
    ADD COLUMN not_before timestamptz,
    ADD COLUMN restarted bigint NOT NULL DEFAULT 0,
    ADD COLUMN carried bigint NOT NULL DEFAULT 0,
    ADD COLUMN test bigint NOT NULL DEFAULT 0;
)";

#define FIRST_COLUMNS                                                                         \
    "id, org, url, subjects, binary_mode, enabled, reason, description, secret, old_secret, " \
    "old_secret_until, created_by, created_at, failing_since, pending, revision"
#define COLUMNS FIRST_COLUMNS ", failures, next_at, not_before, restarted, carried, test"

constexpr Statement kLockOrg{
    "SELECT pg_advisory_xact_lock(hashtext('webhooks/' || $1))", "lock_org"};
constexpr Statement kCount{"SELECT count(*) FROM subscribers WHERE org = $1", "count"};
constexpr Statement kAdd{
    "INSERT INTO subscribers (" FIRST_COLUMNS
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15::bigint, "
    "$16::bigint)",
    "add_subscriber"};
constexpr Statement kLock{
    "SELECT " COLUMNS " FROM subscribers WHERE org = $1 AND id = $2 FOR UPDATE", "lock_subscriber"};
constexpr Statement kUpdate{
    "UPDATE subscribers SET url = $2, subjects = $3, binary_mode = $4, enabled = $5, reason = $6, "
    "description = $7, secret = $8, old_secret = $9, old_secret_until = $10, failing_since = $11, "
    "failures = $12::bigint, next_at = $13, not_before = $14, restarted = $15::bigint, carried = "
    "$16::bigint, revision = $17::bigint WHERE id = $1",
    "update_subscriber"};
constexpr Statement kRemove{"DELETE FROM subscribers WHERE id = $1", "remove_subscriber"};
constexpr Statement kFind{
    "SELECT " COLUMNS " FROM subscribers WHERE org = $1 AND id = $2", "find_subscriber"};
constexpr Statement kList{
    "SELECT " COLUMNS " FROM subscribers WHERE org = $1 AND id > $2 ORDER BY id LIMIT $3::bigint",
    "list_subscribers"};
constexpr Statement kEnabled{
    "SELECT " COLUMNS " FROM subscribers WHERE enabled ORDER BY id", "enabled_subscribers"};
constexpr Statement kWilling{
    "SELECT " COLUMNS " FROM subscribers WHERE enabled AND org = ANY($1)", "willing"};
constexpr Statement kInterested{
    "SELECT " COLUMNS " FROM subscribers WHERE enabled AND org = ANY($1) ORDER BY id FOR KEY SHARE",
    "interested"};
constexpr Statement kSetHealth{
    "UPDATE subscribers SET failing_since = $3, failures = $4::bigint, next_at = $5, not_before = "
    "$6 WHERE id = $1 AND restarted = $2::bigint",
    "set_health"};
constexpr Statement kSetTest{"UPDATE subscribers SET test = $2::bigint WHERE id = $1", "set_test"};

/// NULL where nothing is to be waited for.
Param param_of(WallTime at) {
    return Param(at == WallTime{} ? std::optional<WallTime>() : std::optional<WallTime>(at));
}

std::string join(const std::vector<std::string>& words) {
    std::string out;
    for (const auto& word : words) out += (out.empty() ? "" : " ") + word;
    return out;
}

SubscriberRow read(const Row& row) {
    SubscriberRow out;
    out.id = row.text("id");
    out.org = row.text("org");
    out.url = row.text("url");
    for (const auto word : split(row.text("subjects"), ' ')) out.subjects.emplace_back(word);
    out.binary = row.boolean("binary_mode");
    out.enabled = row.boolean("enabled");
    out.reason = row.text("reason");
    out.description = row.text("description");
    out.secret = row.text("secret");
    out.old_secret = row.text("old_secret");
    out.old_secret_until = row.optional_time("old_secret_until");
    out.created_by = row.text("created_by");
    out.created_at = row.time("created_at");
    out.health.failing_since = row.optional_time("failing_since");
    out.health.failures = static_cast<int>(row.int64("failures"));
    out.health.next_at = row.optional_time("next_at").value_or(WallTime{});
    out.health.not_before = row.optional_time("not_before").value_or(WallTime{});
    out.restarted = row.int64("restarted");
    out.carried = row.int64("carried");
    out.test = row.int64("test");
    out.pending = row.int64("pending");
    out.revision = row.int64("revision");
    return out;
}

std::vector<SubscriberRow> read_all(const store::Rows& rows) {
    std::vector<SubscriberRow> out;
    for (const Row row : rows) out.push_back(read(row));
    return out;
}

Error no_such() { return not_found("webhook_not_found", "there is no such webhook"); }

}  // namespace

std::span<const store::Migration> migrations() {
    static const std::string first =
        std::string(store::kInboxOutboxDdl) + std::string(store::kLeaderDdl) + std::string(kTables);
    static const std::array<store::Migration, 3> all{
        {{1, "subscribers and deliveries", first},
         {2, "an id for each subject", kTwins},
         {3, "health, and what began anew", kHealth}}};
    return all;
}

v1::Subscriber to_proto(const SubscriberRow& row) {
    v1::Subscriber out;
    out.set_id(row.id);
    out.set_org(row.org);
    out.set_url(row.url);
    for (const auto& subject : row.subjects) out.add_subjects(subject);
    out.set_mode(row.binary ? v1::CONTENT_MODE_BINARY : v1::CONTENT_MODE_STRUCTURED);
    out.set_state(row.enabled ? v1::SUBSCRIBER_STATE_ENABLED : v1::SUBSCRIBER_STATE_DISABLED);
    out.set_reason(row.reason);
    out.set_description(row.description);
    out.set_created_by(row.created_by);
    *out.mutable_created_at() = service::to_timestamp(row.created_at);
    const Health& health = row.health;
    if (health.failing_since)
        *out.mutable_failing_since() = service::to_timestamp(*health.failing_since);
    if (row.enabled && health.quiet_until() != WallTime{})
        *out.mutable_next_attempt_at() = service::to_timestamp(health.quiet_until());
    if (row.old_secret_until)
        *out.mutable_old_secret_until() = service::to_timestamp(*row.old_secret_until);
    out.set_pending(static_cast<std::uint64_t>(row.pending));
    out.set_revision(static_cast<std::uint64_t>(row.revision));
    return out;
}

namespace repo {

Result<void> add(store::Transaction& tx, const SubscriberRow& row) {
    BERTH_TRY(tx.exec(kLockOrg, {row.org}));
    BERTH_ASSIGN(const auto count, tx.exec(kCount, {row.org}));
    if (count[0].int64(0) >= kMaxSubscribers)
        return limit("too_many_webhooks", "this org has as many webhooks as it may");
    BERTH_TRY(tx.exec(
        kAdd,
        {row.id,
         row.org,
         row.url,
         join(row.subjects),
         row.binary,
         row.enabled,
         row.reason,
         row.description,
         row.secret,
         row.old_secret,
         Param(row.old_secret_until),
         row.created_by,
         row.created_at,
         Param(row.health.failing_since),
         row.pending,
         row.revision}
    ));
    return {};
}

Result<SubscriberRow> lock(store::Transaction& tx, const std::string& org, const std::string& id) {
    BERTH_ASSIGN(const auto rows, tx.exec(kLock, {org, id}));
    if (rows.empty()) return no_such();
    return read(rows[0]);
}

Result<void> update(store::Transaction& tx, SubscriberRow& row) {
    ++row.revision;
    BERTH_TRY(tx.exec(
        kUpdate,
        {row.id,
         row.url,
         join(row.subjects),
         row.binary,
         row.enabled,
         row.reason,
         row.description,
         row.secret,
         row.old_secret,
         Param(row.old_secret_until),
         Param(row.health.failing_since),
         row.health.failures,
         param_of(row.health.next_at),
         param_of(row.health.not_before),
         row.restarted,
         row.carried,
         row.revision}
    ));
    return {};
}

Result<void> remove(store::Transaction& tx, const std::string& id) {
    BERTH_TRY(tx.exec(kRemove, {id}));
    return {};
}

Result<std::optional<SubscriberRow>> find(
    store::Pool& pool, const std::string& org, const std::string& id
) {
    BERTH_ASSIGN(const auto rows, pool.exec_autocommit(kFind, {org, id}, OnLoss::kRetry));
    if (rows.empty()) return std::optional<SubscriberRow>();
    return std::optional<SubscriberRow>(read(rows[0]));
}

Result<std::vector<SubscriberRow>> list(
    store::Pool& pool, const std::string& org, const std::string& cursor, int limit
) {
    BERTH_ASSIGN(
        const auto rows, pool.exec_autocommit(kList, {org, cursor, limit}, OnLoss::kRetry)
    );
    return read_all(rows);
}

Result<std::vector<SubscriberRow>> list_enabled(store::Pool& pool) {
    BERTH_ASSIGN(const auto rows, pool.exec_autocommit(kEnabled, {}, OnLoss::kRetry));
    return read_all(rows);
}

Result<std::vector<SubscriberRow>> interested(
    store::Pool& pool, std::span<const std::string> orgs
) {
    BERTH_ASSIGN(
        const auto rows,
        pool.exec_autocommit(kWilling, {Param::text_array(orgs)}, store::OnLoss::kRetry)
    );
    return read_all(rows);
}

Result<std::vector<SubscriberRow>> interested(
    store::Transaction& tx, std::span<const std::string> orgs
) {
    BERTH_ASSIGN(const auto rows, tx.exec(kInterested, {Param::text_array(orgs)}));
    return read_all(rows);
}

Result<bool> set_health(
    store::Transaction& tx,
    const std::string& subscriber,
    std::int64_t restarted,
    const Health& health
) {
    BERTH_ASSIGN(
        const auto done,
        tx.exec(
            kSetHealth,
            {subscriber,
             restarted,
             Param(health.failing_since),
             health.failures,
             param_of(health.next_at),
             param_of(health.not_before)}
        )
    );
    return done.affected() > 0;
}

Result<void> set_test(
    store::Transaction& tx, const std::string& subscriber, std::int64_t delivery
) {
    BERTH_TRY(tx.exec(kSetTest, {subscriber, delivery}));
    return {};
}

}  // namespace repo
}  // namespace berth::webhook
