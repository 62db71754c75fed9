// SPDX-License-Identifier: Apache-2.0
// Messages that commit with the state they tell of, and the relay that publishes them, per entity
// in order.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/postgres.hpp"

namespace berth::store {

/// A row of `outbox`. The first group is the caller's, the second is filled in by Outbox::add.
struct OutboxMessage {
    std::string message_id;  ///< unique; becomes Nats-Msg-Id
    std::string
        entity;  ///< messages of one entity go out in the order of their rows; empty: no order
    std::int64_t revision = 0;
    std::string subject;
    std::vector<std::pair<std::string, std::string>> headers;  ///< neither side may hold a NUL byte
    std::string payload;

    std::int64_t id = 0;
    /// Older rows of the entity that were not deleted yet when this one was added (kMaxOlder at
    /// most).
    std::vector<std::int64_t> older;
    static constexpr std::size_t kMaxOlder = 32;  // a longer queue is the background's work anyway
};

/// Writing and measuring the table `outbox` (see kInboxOutboxDdl). Stateless.
class Outbox {
public:
    /// $1 message_id, $2 entity, $3 revision, $4 subject, $5 headers (encode_headers), $6 payload
    /// → id, older (bigint[]). For an order per entity, hold the lock of the entity's own row
    /// before adding. A folded CTE that adds by itself must return both, and fill them in before
    /// publish_committed.
    static constexpr std::string_view kAddSql =
        "INSERT INTO outbox (message_id, entity, revision, subject, headers, payload) "
        "VALUES ($1, $2, $3, $4, $5, $6) RETURNING id, "
        "CASE WHEN entity = '' THEN '{}'::bigint[] ELSE ARRAY(SELECT o.id FROM outbox o "
        "WHERE o.entity = outbox.entity AND o.entity <> '' AND o.id < outbox.id ORDER BY o.id "
        "LIMIT 32) END AS older";

    /// Adds and fills in `id` and `older`.
    static Result<void> add(Transaction& tx, OutboxMessage& message);
    /// The same for several, in one statement.
    static Result<void> add_all(Transaction& tx, std::span<OutboxMessage> messages);

    /// The bytes stored in `headers`, and back.
    static std::string encode_headers(
        const std::vector<std::pair<std::string, std::string>>& headers
    );
    static std::vector<std::pair<std::string, std::string>> decode_headers(std::string_view bytes);

    struct Depth {
        std::int64_t rows = 0;
        milliseconds oldest{0};  ///< age of the oldest row; 0 when there is none
    };
    static Result<Depth> depth(Pool& pool);
};

/// Hands one message to the bus and returns; `done` is called exactly once, on any thread, also
/// before this returns. It must not throw, and may block briefly (backpressure), never for long: it
/// bounds stop().
using PublishFn =
    std::function<void(const OutboxMessage& message, std::function<void(Result<void>)> done)>;

struct RelaySettings {
    /// Younger rows are left to the publish_committed of whoever committed them.
    milliseconds age{2000};
    /// Rows claimed at once.
    int batch = 100;
    milliseconds poll{500};
    /// A publish without an answer counts as failed after this (the answer is ignored then). A
    /// claim is held a little longer, so that no other relay sends what is still under way here.
    milliseconds publish_timeout{10000};
    /// How long a failed row rests before the relay tries it again.
    milliseconds retry_delay{500};
    /// How long confirmed rows gather before one statement deletes them.
    milliseconds delete_delay{20};
    /// Messages held in memory at most; what is beyond stays in the table for the background
    /// thread.
    std::size_t max_tracked = 10000;
};

/// Publishes committed rows: at once through publish_committed, and in the background whatever a
/// crash, a failure or an outage left behind. Both keep the order per entity: nothing of an entity
/// is sent while an older row of it is unconfirmed. After a failure the entity's later rows wait
/// for the background. A row is deleted after its confirmation; a crash in between publishes it
/// again under the same message_id.
///
/// Thread-safe. Several relays (replicas) on one table share the work. Two threads of its own: one
/// for the database (claim, delete), one that sends what a confirmation set free, so that nothing
/// is ever published on the bus's acknowledgement thread.
class Relay {
public:
    /// `pool` must outlive the relay. Nothing runs before start().
    Relay(Pool& pool, PublishFn publish, RelaySettings settings = {});
    /// Stops with a deadline of a second.
    ~Relay();
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;

    void start();

    /// Says of one message that it was confirmed, or why it is left to the background (kUnavailable
    /// "deferred", or the publish's own error). Called once per message, on any thread, without
    /// locks held.
    using ConfirmFn =
        std::function<void(const std::string& message_id, const Result<void>& result)>;

    /// For rows just committed, in the order they were added. Publishes on this thread and returns
    /// without waiting for confirmations.
    void publish_committed(std::vector<OutboxMessage> messages, ConfirmFn confirmed = {});

    /// Makes the background look now instead of at its next poll.
    void wake();

    struct Counters {
        std::uint64_t published = 0;  ///< confirmed by the bus
        std::uint64_t failed = 0;     ///< refused by the bus or unanswered
        std::uint64_t relayed = 0;    ///< rows the background had to take
        std::uint64_t database_errors =
            0;                    ///< claims and deletions that failed and will be tried again
        std::size_t tracked = 0;  ///< in memory now
    };
    Counters counters() const;

    /// Takes no more, waits up to `limit` for confirmations and their deletions, then ends both
    /// threads. True when nothing was left in memory. The joins are bounded by the pool's timeouts
    /// and PublishFn.
    bool stop(milliseconds limit);

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace berth::store
