// SPDX-License-Identifier: Apache-2.0
// The SQL of events and deliveries: many rows a statement, since each event passes here.
#include <map>

#include "core/text.hpp"
#include "identity/sha256.hpp"
#include "service/proto_time.hpp"
#include "webhook/repo.hpp"
#include "webhook/settings.hpp"

namespace berth::webhook::repo {
namespace {

using store::OnLoss;
using store::Param;
using store::Row;
using store::Statement;

constexpr Statement kAddEvents{
    "INSERT INTO events (ce_id, type, subject, headers, payload, twin) SELECT e.ce_id, e.type, "
    "e.subject, e.headers, e.payload, e.ord > min(e.ord) OVER (PARTITION BY e.ce_id) OR EXISTS "
    "(SELECT FROM events k WHERE k.ce_id = e.ce_id) FROM unnest($1::text[], $2::text[], "
    "$3::text[], $4::bytea[], "
    "$5::bytea[]) WITH ORDINALITY AS e (ce_id, type, subject, headers, payload, ord) ORDER BY "
    "e.ord ON CONFLICT (ce_id, subject) DO NOTHING RETURNING id, ce_id, subject",
    "add_events"};
constexpr Statement kAddDeliveries{
    "INSERT INTO deliveries (subscriber, event) SELECT d.subscriber, d.event FROM "
    "unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS d (subscriber, event, ord) ORDER BY d.ord",
    "add_deliveries"};
constexpr Statement kMorePending{
    "UPDATE subscribers s SET pending = s.pending + c.more FROM unnest($1::text[], $2::bigint[]) "
    "AS c (id, more) WHERE s.id = c.id",
    "more_pending"};

#define PENDING_STATE "1"
static_assert(v1::DELIVERY_STATE_PENDING == 1);

#define PENDING_ROWS                                                                      \
    "SELECT d.id, e.ce_id, e.type, e.subject, e.headers, e.payload, e.twin, d.attempts, " \
    "d.first_at, d.next_at FROM deliveries d JOIN events e ON e.id = d.event WHERE "      \
    "d.subscriber = $1 AND d.state = " PENDING_STATE

constexpr Statement kLoad{
    PENDING_ROWS " AND d.id > $2::bigint ORDER BY d.id LIMIT $3::bigint", "load_deliveries"};
constexpr Statement kLoadUntried{
    PENDING_ROWS " AND d.id = $2::bigint AND d.attempts = 0", "load_untried"};
// What a stopped leader writes late meets no pending row of one that was delivered.
constexpr Statement kWrite{
    "WITH done AS (UPDATE deliveries d SET state = r.state, attempts = r.attempts, status = "
    "r.status, error = r.error, first_at = r.first_at, last_at = r.last_at, next_at = r.next_at "
    "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], "
    "$6::timestamptz[], $7::timestamptz[], $8::timestamptz[]) AS r (id, state, attempts, status, "
    "error, first_at, last_at, next_at) WHERE d.id = r.id AND d.state = " PENDING_STATE
    " RETURNING d.subscriber, d.state), ended AS (SELECT subscriber, count(*) AS less FROM done "
    "WHERE state <> " PENDING_STATE
    " GROUP BY subscriber) UPDATE subscribers s SET pending = s.pending - ended.less, carried = "
    "least(s.carried, s.pending - ended.less) FROM ended WHERE s.id = ended.subscriber",
    "write_results"};
constexpr Statement kRestart{
    "UPDATE deliveries SET first_at = NULL, attempts = 0, next_at = $2 WHERE subscriber = $1 AND "
    "state = " PENDING_STATE,
    "restart_pending"};
constexpr Statement kReplay{
    "WITH chosen AS (SELECT id FROM deliveries WHERE subscriber = $1 AND state <> " PENDING_STATE
    " AND ($2::bigint IS NULL OR id = $2::bigint) AND ($3::timestamptz IS NULL OR created_at >= "
    "$3::timestamptz) AND (NOT $4::boolean OR state = 3) ORDER BY id LIMIT $6::bigint FOR UPDATE), "
    "again AS (UPDATE deliveries d SET state = " PENDING_STATE
    ", attempts = 0, first_at = NULL, next_at = $5 FROM chosen WHERE d.id = chosen.id RETURNING "
    "d.id) UPDATE subscribers SET pending = pending + (SELECT count(*) FROM again) WHERE id = $1 "
    "RETURNING (SELECT count(*) FROM again)",
    "replay"};

constexpr Statement kStateOf{
    "SELECT state FROM deliveries WHERE subscriber = $1 AND id = $2::bigint", "state_of"};
constexpr Statement kCountPending{
    "SELECT count(*) FROM deliveries WHERE subscriber = $1 AND state = " PENDING_STATE
    " AND created_at >= $2",
    "count_pending"};

#define LOG_COLUMNS                                                                            \
    "d.id, e.ce_id, e.type, e.subject, d.state, d.attempts, d.status, d.error, d.created_at, " \
    "d.last_at, CASE WHEN s.enabled AND d.state = " PENDING_STATE                              \
    " THEN greatest(d.next_at, s.next_at, s.not_before) END AS next_at FROM deliveries d "     \
    "JOIN events e ON e.id = d.event JOIN subscribers s ON s.id = d.subscriber"

constexpr Statement kLog{
    "SELECT " LOG_COLUMNS
    " WHERE d.subscriber = $1 AND ($2::smallint = 0 OR d.state = $2::smallint) AND ($3::bigint = "
    "0 OR d.id < $3::bigint) ORDER BY d.id DESC LIMIT $4::bigint",
    "log"};
constexpr Statement kOne{
    "SELECT " LOG_COLUMNS " WHERE d.subscriber = $1 AND e.ce_id = $2", "delivery_of"};
constexpr Statement kTrim{
    "DELETE FROM events WHERE id IN (SELECT e.id FROM events e WHERE e.at < $1 AND NOT EXISTS "
    "(SELECT 1 FROM deliveries d JOIN subscribers s ON s.id = d.subscriber WHERE d.event = e.id "
    "AND d.state = " PENDING_STATE " AND s.enabled) ORDER BY e.at LIMIT $2::bigint)",
    "trim"};
constexpr Statement kRecount{
    "UPDATE subscribers s SET pending = (SELECT count(*) FROM deliveries d WHERE d.subscriber = "
    "s.id AND d.state = " PENDING_STATE ") WHERE NOT s.enabled",
    "recount"};

v1::Delivery read_log(const Row& row) {
    v1::Delivery out;
    out.set_id(std::to_string(row.int64("id")));
    out.set_event(std::string(row.text("ce_id")));
    out.set_type(std::string(row.text("type")));
    out.set_subject(std::string(row.text("subject")));
    out.set_state(static_cast<v1::DeliveryState>(row.int64("state")));
    out.set_attempts(static_cast<std::uint32_t>(row.int64("attempts")));
    out.set_status(static_cast<std::uint32_t>(row.int64("status")));
    out.set_error(std::string(row.text("error")));
    *out.mutable_created_at() = service::to_timestamp(row.time("created_at"));
    if (const auto last = row.optional_time("last_at"))
        *out.mutable_last_attempt_at() = service::to_timestamp(*last);
    if (const auto next = row.optional_time("next_at"))
        *out.mutable_next_attempt_at() = service::to_timestamp(*next);
    return out;
}

PendingRow read_pending(const Row& row) {
    PendingRow out;
    out.id = row.int64("id");
    out.event.subject = row.text("subject");
    out.event.headers = store::Outbox::decode_headers(row.bytes("headers"));
    out.event.payload = row.bytes("payload");
    out.webhook_id = row.text("ce_id");
    if (row.boolean("twin"))
        out.webhook_id += "." + hex(identity::sha256(row.text("subject"))).substr(0, 16);
    out.attempts.made = static_cast<int>(row.int64("attempts"));
    out.attempts.first_at = row.optional_time("first_at");
    out.attempts.next_at = row.time("next_at");
    return out;
}

/// Columns of `unnest`.
struct EventColumns {
    std::vector<std::string> ids, types, subjects, headers, payloads;
    explicit EventColumns(std::span<const IncomingRow> events) {
        for (const auto& each : events) {
            ids.push_back(each.ce_id);
            types.emplace_back(each.event.header(bus::kCeType));
            subjects.push_back(each.event.subject);
            headers.push_back(store::Outbox::encode_headers(each.event.headers));
            payloads.push_back(each.event.payload);
        }
    }
};

}  // namespace

Result<std::int64_t> take_in(store::Transaction& tx, std::span<const IncomingRow> events) {
    if (events.empty()) return std::int64_t{0};
    const EventColumns columns(events);
    BERTH_ASSIGN(
        const auto added,
        tx.exec(
            kAddEvents,
            {Param::text_array(columns.ids),
             Param::text_array(columns.types),
             Param::text_array(columns.subjects),
             Param::bytes_array(columns.headers),
             Param::bytes_array(columns.payloads)}
        )
    );
    std::map<std::pair<std::string, std::string>, std::int64_t> numbers;
    for (const Row row : added)
        numbers[{std::string(row.text("ce_id")), std::string(row.text("subject"))}] =
            row.int64("id");
    std::vector<std::string> subscribers;
    std::vector<std::int64_t> ids;
    std::map<std::string, std::int64_t> more;
    for (const auto& each : events) {
        const auto number = numbers.find({each.ce_id, each.event.subject});
        if (number == numbers.end()) continue;  // it was taken in before
        for (const auto& subscriber : each.subscribers) {
            subscribers.push_back(subscriber);
            ids.push_back(number->second);
            ++more[subscriber];
        }
        numbers.erase(number);  // twice in one batch
    }
    if (ids.empty()) return std::int64_t{0};
    BERTH_TRY(tx.exec(kAddDeliveries, {Param::text_array(subscribers), Param::int64_array(ids)}));
    std::vector<std::string> who;
    std::vector<std::int64_t> counts;
    for (const auto& [id, count] : more) {
        who.push_back(id);
        counts.push_back(count);
    }
    BERTH_TRY(tx.exec(kMorePending, {Param::text_array(who), Param::int64_array(counts)}));
    return static_cast<std::int64_t>(ids.size());
}

Result<std::vector<PendingRow>> load(
    store::Pool& pool, const std::string& subscriber, std::int64_t after, int limit
) {
    BERTH_ASSIGN(
        const auto rows, pool.exec_autocommit(kLoad, {subscriber, after, limit}, OnLoss::kRetry)
    );
    std::vector<PendingRow> out;
    for (const Row row : rows) out.push_back(read_pending(row));
    return out;
}

Result<std::optional<PendingRow>> load_untried(
    store::Pool& pool, const std::string& subscriber, std::int64_t delivery
) {
    BERTH_ASSIGN(
        const auto rows, pool.exec_autocommit(kLoadUntried, {subscriber, delivery}, OnLoss::kRetry)
    );
    if (rows.empty()) return std::optional<PendingRow>();
    return std::optional<PendingRow>(read_pending(rows[0]));
}

Result<void> write_results(store::Transaction& tx, std::span<const ResultRow> results) {
    if (results.empty()) return {};
    std::vector<std::int64_t> ids, states, attempts, statuses;
    std::vector<std::string> errors, first, last, next;
    for (const auto& each : results) {
        ids.push_back(each.id);
        states.push_back(each.state);
        attempts.push_back(each.attempts.made);
        statuses.push_back(each.status);
        errors.push_back(each.error);
        first.push_back(to_rfc3339(each.attempts.first_at.value_or(each.at)));
        last.push_back(to_rfc3339(each.at));
        next.push_back(to_rfc3339(std::max(each.at, each.attempts.next_at)));
    }
    BERTH_TRY(tx.exec(
        kWrite,
        {Param::int64_array(ids),
         Param::int64_array(states),
         Param::int64_array(attempts),
         Param::int64_array(statuses),
         Param::text_array(errors),
         Param::text_array(first),
         Param::text_array(last),
         Param::text_array(next)}
    ));
    return {};
}

Result<void> restart(store::Transaction& tx, SubscriberRow& row, WallTime now) {
    row.health = {};
    row.restarted = row.revision + 1;
    row.carried = row.pending;
    BERTH_TRY(tx.exec(kRestart, {row.id, now}));
    return {};
}

Result<std::optional<v1::DeliveryState>> state_of(
    store::Transaction& tx, const std::string& subscriber, std::int64_t delivery
) {
    BERTH_ASSIGN(const auto rows, tx.exec(kStateOf, {subscriber, delivery}));
    if (rows.empty()) return std::optional<v1::DeliveryState>();
    return std::optional(static_cast<v1::DeliveryState>(rows[0].int64(0)));
}

Result<std::int64_t> count_pending(
    store::Transaction& tx, const std::string& subscriber, WallTime since
) {
    BERTH_ASSIGN(const auto rows, tx.exec(kCountPending, {subscriber, since}));
    return rows[0].int64(0);
}

Result<std::int64_t> replay(
    store::Transaction& tx,
    const std::string& subscriber,
    std::optional<std::int64_t> delivery,
    std::optional<WallTime> since,
    bool failed_only,
    WallTime now
) {
    BERTH_ASSIGN(
        const auto rows,
        tx.exec(kReplay, {subscriber, Param(delivery), Param(since), failed_only, now, kMaxReplay})
    );
    return rows.empty() ? 0 : rows[0].int64(0);
}

Result<std::vector<v1::Delivery>> log(
    store::Pool& pool,
    const std::string& subscriber,
    v1::DeliveryState state,
    std::int64_t cursor,
    int limit
) {
    BERTH_ASSIGN(
        const auto rows,
        pool.exec_autocommit(
            kLog, {subscriber, static_cast<int>(state), cursor, limit}, OnLoss::kRetry
        )
    );
    std::vector<v1::Delivery> out;
    for (const Row row : rows) out.push_back(read_log(row));
    return out;
}

Result<v1::Delivery> delivery_of(
    store::Transaction& tx, const std::string& subscriber, const std::string& ce_id
) {
    BERTH_ASSIGN(const auto rows, tx.exec(kOne, {subscriber, ce_id}));
    if (rows.empty()) return internal("no_delivery", "the delivery was not stored");
    return read_log(rows[0]);
}

Result<std::int64_t> trim(store::Pool& pool, WallTime before, int batch) {
    BERTH_ASSIGN(const auto gone, pool.exec_autocommit(kTrim, {before, batch}, OnLoss::kRetry));
    if (gone.affected() > 0) BERTH_TRY(pool.exec_autocommit(kRecount, {}, OnLoss::kRetry));
    return gone.affected();
}

}  // namespace berth::webhook::repo
