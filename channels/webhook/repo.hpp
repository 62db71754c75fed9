// SPDX-License-Identifier: Apache-2.0
// Subscribers, events and deliveries as rows. Every statement of webhook stands in repo.cpp and
// repo_deliveries.cpp.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "berth/webhook/v1/webhook.pb.h"
#include "bus/message.hpp"
#include "core/time.hpp"
#include "store/migrations.hpp"
#include "store/outbox.hpp"
#include "store/postgres.hpp"
#include "webhook/schedule.hpp"

namespace berth::webhook {

std::span<const store::Migration> migrations();

struct SubscriberRow {
    std::string id;  ///< wh_<ulid>
    std::string org;
    std::string url;
    std::vector<std::string> subjects;
    bool binary = false;
    bool enabled = true;
    std::string reason;  ///< why not
    std::string description;
    std::string secret;      ///< sealed
    std::string old_secret;  ///< sealed; empty: none
    std::optional<WallTime> old_secret_until{};
    std::string created_by;
    WallTime created_at{};
    Health health{};
    std::int64_t pending = 0;
    std::int64_t revision = 1;
    /// The revision at which what waits last began anew: health and attempts of before count no
    /// more.
    std::int64_t restarted = 0;
    /// Of `pending`, at most: what waited then. It does not count as a backlog.
    std::int64_t carried = 0;
    std::int64_t test = 0;  ///< the newest test's delivery
};
v1::Subscriber to_proto(const SubscriberRow& row);

/// A delivery with its event, as the sender needs it.
struct PendingRow {
    std::int64_t id = 0;
    bus::Message event;
    std::string webhook_id;  ///< the event's id; with its subject's digest, where another has that
    Attempts attempts;
};

/// What became of an attempt.
struct ResultRow {
    std::int64_t id = 0;
    std::string subscriber;
    std::int64_t restarted = 0;  ///< as SubscriberRow had it when the attempt began
    v1::DeliveryState state = v1::DELIVERY_STATE_PENDING;
    Attempts attempts;
    int status = 0;
    std::string error;
    WallTime at{};
};

/// An event as it comes from the bus, to be kept for those it matches.
struct IncomingRow {
    std::string ce_id;
    std::string org;
    bus::Message event;
    std::vector<std::string> subscribers;
};

/// Stateless; the transaction's thread rules hold.
namespace repo {

/// Error "too_many_webhooks".
Result<void> add(store::Transaction& tx, const SubscriberRow& row);
/// The org's subscriber, locked. Error "webhook_not_found".
Result<SubscriberRow> lock(store::Transaction& tx, const std::string& org, const std::string& id);
/// Everything but id, org, pending and creation; the revision rises.
Result<void> update(store::Transaction& tx, SubscriberRow& row);
Result<void> remove(store::Transaction& tx, const std::string& id);
Result<std::optional<SubscriberRow>> find(
    store::Pool& pool, const std::string& org, const std::string& id
);
Result<std::vector<SubscriberRow>> list(
    store::Pool& pool, const std::string& org, const std::string& cursor, int limit
);
/// The enabled ones of every org.
Result<std::vector<SubscriberRow>> list_enabled(store::Pool& pool);
/// The same, of these orgs.
Result<std::vector<SubscriberRow>> interested(store::Pool& pool, std::span<const std::string> orgs);
/// And kept as they are until the transaction ends.
Result<std::vector<SubscriberRow>> interested(
    store::Transaction& tx, std::span<const std::string> orgs
);

/// Stores events that are not known yet, each with its deliveries, in their order; counts them as
/// pending. Returns how many deliveries there are.
Result<std::int64_t> take_in(store::Transaction& tx, std::span<const IncomingRow> events);

/// Pending deliveries of a subscriber above `after`, oldest first.
Result<std::vector<PendingRow>> load(
    store::Pool& pool, const std::string& subscriber, std::int64_t after, int limit
);
/// The delivery, if it is pending and was never tried.
Result<std::optional<PendingRow>> load_untried(
    store::Pool& pool, const std::string& subscriber, std::int64_t delivery
);
/// Of deliveries that are still pending.
Result<void> write_results(store::Transaction& tx, std::span<const ResultRow> results);
/// Locks the subscriber; false, and nothing is written, where it is not as `restarted` says.
Result<bool> set_health(
    store::Transaction& tx,
    const std::string& subscriber,
    std::int64_t restarted,
    const Health& health
);
Result<void> set_test(store::Transaction& tx, const std::string& subscriber, std::int64_t delivery);
/// What waits begins anew with the row's next revision, as if it had just come. update() follows.
Result<void> restart(store::Transaction& tx, SubscriberRow& row, WallTime now);
/// Of this delivery of the subscriber's log; none where it has no such.
Result<std::optional<v1::DeliveryState>> state_of(
    store::Transaction& tx, const std::string& subscriber, std::int64_t delivery
);
/// How many that came since then are pending.
Result<std::int64_t> count_pending(
    store::Transaction& tx, const std::string& subscriber, WallTime since
);
/// Pending again; how many.
Result<std::int64_t> replay(
    store::Transaction& tx,
    const std::string& subscriber,
    std::optional<std::int64_t> delivery,
    std::optional<WallTime> since,
    bool failed_only,
    WallTime now
);
/// Newest first, below `cursor` (0: from the newest). `state` unspecified: all.
Result<std::vector<v1::Delivery>> log(
    store::Pool& pool,
    const std::string& subscriber,
    v1::DeliveryState state,
    std::int64_t cursor,
    int limit
);
Result<v1::Delivery> delivery_of(
    store::Transaction& tx, const std::string& subscriber, const std::string& ce_id
);
/// Deletes events older than `before` with their deliveries; how many.
Result<std::int64_t> trim(store::Pool& pool, WallTime before, int batch);

}  // namespace repo
}  // namespace berth::webhook
