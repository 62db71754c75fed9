// SPDX-License-Identifier: Apache-2.0
// Publishing committed rows: what is in flight, what waits behind it, and what a crash left in the
// table.
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "store/outbox.hpp"

namespace berth::store {
namespace {

// Rows behind a claimed head that come along, so that a long queue of one entity is not one poll
// each.
constexpr int kFollowers = 32;
// Ids remembered after their confirmation: as many as may be between an insert's snapshot and its
// publish.
constexpr std::size_t kRememberConfirmed = 8192;
// A deletion starts early when this many wait; also the most that one statement deletes.
constexpr std::size_t kDeleteBatch = 512;
// Rows this process committed but had to leave to the background are looked for at this pace...
constexpr milliseconds kDeferredPoll{20};
// ...and this many at most; beyond, their age finds them.
constexpr std::size_t kMaxDeferred = 1024;
// A claim outlives the publish timeout by this, so that the failure is seen here first.
constexpr milliseconds kClaimSlack{5000};

constexpr Statement kClaimRows{
    "WITH heads AS MATERIALIZED (SELECT o.id, o.entity FROM outbox o "
    "WHERE (o.created_at < now() - make_interval(secs => $1) OR o.id = ANY($2::bigint[])) "
    "AND (o.claimed_until IS NULL OR o.claimed_until < now()) "
    "AND (o.entity = '' OR NOT EXISTS (SELECT 1 FROM outbox p WHERE p.entity = o.entity AND "
    "p.entity <> '' AND p.id < o.id)) "
    "ORDER BY o.id LIMIT $3 FOR UPDATE OF o SKIP LOCKED), "
    "followers AS (SELECT f.id FROM heads h CROSS JOIN LATERAL (SELECT x.id FROM outbox x "
    "WHERE h.entity <> '' AND x.entity = h.entity AND x.entity <> '' AND x.id > h.id ORDER BY x.id "
    "LIMIT $4) f) "
    "UPDATE outbox SET claimed_until = now() + make_interval(secs => $5) "
    "WHERE id IN (SELECT id FROM heads UNION ALL SELECT id FROM followers) "
    "RETURNING id, message_id, entity, revision, subject, headers, payload",
    "outbox.claim"};
constexpr Statement kDelete{"DELETE FROM outbox WHERE id = ANY($1::bigint[])", "outbox.delete"};
constexpr Statement kRelease{
    "UPDATE outbox SET claimed_until = now() + make_interval(secs => $2) WHERE id = "
    "ANY($1::bigint[])",
    "outbox.release"};

double in_seconds(milliseconds duration) { return std::chrono::duration<double>(duration).count(); }

OutboxMessage read_message(const Row& row) {
    OutboxMessage m;
    m.id = row.int64(0);
    m.message_id = row.text(1);
    m.entity = row.text(2);
    m.revision = row.int64(3);
    m.subject = row.text(4);
    m.headers = Outbox::decode_headers(row.bytes(5));
    m.payload = row.bytes(6);
    return m;
}

/// The last ids that were confirmed: a bounded set that forgets the oldest.
class Recent {
public:
    bool has(std::int64_t id) const { return set_.contains(id); }
    void add(std::int64_t id) {
        if (!set_.insert(id).second) return;
        order_.push_back(id);
        if (order_.size() <= kRememberConfirmed) return;
        set_.erase(order_.front());
        order_.pop_front();
    }

private:
    std::unordered_set<std::int64_t> set_;
    std::deque<std::int64_t> order_;
};

struct Tracked {
    std::shared_ptr<const OutboxMessage> message;
    std::shared_ptr<const Relay::ConfirmFn> confirmed;
    bool claimed = false;       // claimed_until is set: a failure must release it
    std::uint64_t attempt = 0;  // 0: not sent
    SteadyTime sent_at;
};

/// Who is to be told what, once no lock is held.
struct Verdict {
    std::shared_ptr<const Relay::ConfirmFn> confirmed;
    std::string message_id;
    Result<void> result;
};
using Verdicts = std::vector<Verdict>;

void tell(const Verdicts& verdicts) {
    for (const Verdict& v : verdicts) {
        if (v.confirmed && *v.confirmed) (*v.confirmed)(v.message_id, v.result);
    }
}

Error deferred() {
    return unavailable("deferred", "left to the relay's background: an older message comes first");
}

}  // namespace

struct Relay::State : std::enable_shared_from_this<Relay::State> {
    State(Pool& p, PublishFn f, RelaySettings s) : pool(p), publish(std::move(f)), settings(s) {}

    bool admit(
        OutboxMessage message, const std::shared_ptr<const ConfirmFn>& confirmed, bool claimed
    );
    bool may_send_after(const OutboxMessage& message) const;
    void send(std::size_t limit);
    void done(std::int64_t id, std::uint64_t attempt, const Result<void>& result);
    void confirm(std::int64_t id, Verdicts& verdicts);
    void fail(std::int64_t id, const Error& error, Verdicts& verdicts);
    void drop(std::int64_t id, const Error& error, Verdicts& verdicts);
    void defer(std::int64_t id);
    void want_write();

    void sender_loop();
    void keeper_loop();
    void keep(std::unique_lock<std::mutex>& lock);
    bool run_for_ids(
        std::unique_lock<std::mutex>& lock,
        std::vector<std::int64_t>& ids,
        const Statement& statement,
        bool release
    );
    void claim(std::unique_lock<std::mutex>& lock);
    void fail_overdue(std::unique_lock<std::mutex>& lock);
    bool quiet() const {
        return tracked.empty() && to_delete.empty() && to_release.empty() && !writing;
    }

    Pool& pool;
    const PublishFn publish;
    const RelaySettings settings;

    mutable std::mutex mutex;  // guards all below; never held during publish, SQL or a callback
    std::condition_variable for_sender, for_keeper, for_stop;
    std::unordered_map<std::int64_t, Tracked> tracked;
    std::unordered_map<std::string, std::deque<std::int64_t>> chains;  // front: in flight or ready
    std::deque<std::int64_t> ready;
    Recent confirmed_ids;
    std::vector<std::int64_t> to_delete, to_release;
    std::deque<std::pair<std::int64_t, SteadyTime>>
        deferred_ids;  // until when: then their age finds them
    SteadyTime next_poll{};
    SteadyTime deferred_poll{};
    SteadyTime write_due{};
    SteadyTime quiet_until{};  // no SQL before this, after the database failed
    std::uint64_t attempts = 0;
    Counters counters;
    bool writing = false;
    bool stopping = false;
    bool quit = false;
    std::thread sender, keeper;
};

/// True when everything older of the entity is confirmed, or is ahead in this process.
bool Relay::State::may_send_after(const OutboxMessage& message) const {
    if (message.older.size() >= OutboxMessage::kMaxOlder) return false;
    for (const std::int64_t older : message.older) {
        if (!tracked.contains(older) && !confirmed_ids.has(older)) return false;
    }
    const auto chain = chains.find(message.entity);
    return chain == chains.end() || chain->second.back() < message.id;
}

bool Relay::State::admit(
    OutboxMessage message, const std::shared_ptr<const ConfirmFn>& confirmed, bool claimed
) {
    const std::int64_t id = message.id;
    if (stopping || tracked.size() >= settings.max_tracked) return false;
    if (!message.entity.empty() && !may_send_after(message)) return false;
    bool first = true;
    if (!message.entity.empty()) {
        auto& chain = chains[message.entity];
        chain.push_back(id);
        first = chain.size() == 1;
    }
    tracked.emplace(
        id,
        Tracked{
            std::make_shared<const OutboxMessage>(std::move(message)), confirmed, claimed, 0, {}}
    );
    if (first) ready.push_back(id);
    return true;
}

void Relay::State::defer(std::int64_t id) {
    if (deferred_ids.size() >= kMaxDeferred) deferred_ids.pop_front();
    if (deferred_ids.empty()) deferred_poll = steady_now();
    deferred_ids.emplace_back(id, steady_now() + settings.age);
    for_keeper.notify_one();
}

/// Sends what is ready, `limit` messages at most. Several threads may do so: one entity has one in
/// flight.
void Relay::State::send(std::size_t limit) {
    std::unique_lock lock(mutex);
    for (std::size_t i = 0; i < limit && !ready.empty(); ++i) {
        const std::int64_t id = ready.front();
        ready.pop_front();
        const auto found = tracked.find(id);
        if (found == tracked.end()) continue;
        Tracked& entry = found->second;
        entry.attempt = ++attempts;
        entry.sent_at = steady_now();
        const auto message = entry.message;
        lock.unlock();
        publish(
            *message,
            [weak = weak_from_this(), id, attempt = entry.attempt](Result<void> result) {
                if (const auto state = weak.lock()) state->done(id, attempt, result);
            }
        );
        lock.lock();
    }
    if (!ready.empty()) for_sender.notify_one();
}

void Relay::State::done(std::int64_t id, std::uint64_t attempt, const Result<void>& result) {
    Verdicts verdicts;
    {
        const std::lock_guard lock(mutex);
        const auto found = tracked.find(id);
        if (found == tracked.end() || found->second.attempt != attempt)
            return;  // too late: already given up
        if (result) {
            confirm(id, verdicts);
        } else {
            fail(id, result.error(), verdicts);
        }
    }
    for_stop.notify_all();
    tell(verdicts);
}

void Relay::State::confirm(std::int64_t id, Verdicts& verdicts) {
    auto node = tracked.extract(id);
    const OutboxMessage& message = *node.mapped().message;
    verdicts.push_back({node.mapped().confirmed, message.message_id, {}});
    ++counters.published;
    confirmed_ids.add(id);
    to_delete.push_back(id);
    want_write();
    const auto chain = chains.find(message.entity);
    if (chain == chains.end()) return;
    chain->second.pop_front();
    if (chain->second.empty()) {
        chains.erase(chain);
        return;
    }
    ready.push_back(chain->second.front());
    for_sender.notify_one();
}

/// Forgets one message; its row stays for the background.
void Relay::State::drop(std::int64_t id, const Error& error, Verdicts& verdicts) {
    auto node = tracked.extract(id);
    if (node.empty()) return;
    verdicts.push_back({node.mapped().confirmed, node.mapped().message->message_id, error});
    if (!node.mapped().claimed) return;
    to_release.push_back(id);
    want_write();
}

/// A failure takes the entity's later messages with it: none of them may overtake the row left
/// behind.
void Relay::State::fail(std::int64_t id, const Error& error, Verdicts& verdicts) {
    ++counters.failed;
    const std::string entity = tracked.at(id).message->entity;
    drop(id, error, verdicts);
    if (const auto chain = chains.find(entity); chain != chains.end()) {
        for (const std::int64_t later : chain->second) drop(later, deferred(), verdicts);
        chains.erase(chain);
    }
}

void Relay::State::sender_loop() {
    for (;;) {
        {
            std::unique_lock lock(mutex);
            for_sender.wait(lock, [&] { return quit || !ready.empty(); });  // ends by stop()
            if (quit) return;
        }
        send(settings.max_tracked);
    }
}

void Relay::State::keeper_loop() {
    std::unique_lock lock(mutex);
    while (!quit) {
        SteadyTime due = next_poll;
        if (!deferred_ids.empty()) due = std::min(due, deferred_poll);
        if (!to_delete.empty() || !to_release.empty()) due = std::min(due, write_due);
        due = std::max(due, quiet_until);
        if (steady_now() < due) {
            for_keeper.wait_until(lock, due);  // whoever makes something due earlier notifies
        } else {
            keep(lock);
        }
    }
}

/// Says that rows wait to be deleted or released: soon, or now when many do or the end is near.
void Relay::State::want_write() {
    const std::size_t waiting = to_delete.size() + to_release.size();
    if (waiting == 0) return;
    const bool now = stopping || waiting >= kDeleteBatch;
    if (waiting != 1 && !now) return;  // the first one set the time
    write_due = now ? SteadyTime{} : steady_now() + settings.delete_delay;
    for_keeper.notify_one();
}

/// One round: delete the confirmed, release the failed, take what waits in the table.
void Relay::State::keep(std::unique_lock<std::mutex>& lock) {
    fail_overdue(lock);
    const bool written = run_for_ids(lock, to_delete, kDelete, false) &&
                         run_for_ids(lock, to_release, kRelease, true);
    for_stop.notify_all();
    if (!written) {
        quiet_until = steady_now() + settings.poll;
        return;
    }
    const SteadyTime now = steady_now();
    if (!stopping && (now >= next_poll || (!deferred_ids.empty() && now >= deferred_poll)))
        claim(lock);
    if (stopping) next_poll = now + settings.poll;
}

bool Relay::State::run_for_ids(
    std::unique_lock<std::mutex>& lock,
    std::vector<std::int64_t>& ids,
    const Statement& statement,
    bool release
) {
    while (!ids.empty()) {
        const auto count = static_cast<std::ptrdiff_t>(std::min(ids.size(), kDeleteBatch));
        const std::vector<std::int64_t> batch(ids.begin(), ids.begin() + count);
        ids.erase(ids.begin(), ids.begin() + count);
        writing = true;
        lock.unlock();
        Params params{Param::int64_array(batch)};
        if (release) params.emplace_back(in_seconds(settings.retry_delay));
        const bool written = pool.exec_autocommit(statement, params, OnLoss::kRetry).has_value();
        lock.lock();
        writing = false;
        if (written) continue;
        ++counters.database_errors;
        ids.insert(ids.end(), batch.begin(), batch.end());
        return false;
    }
    return true;
}

void Relay::State::claim(std::unique_lock<std::mutex>& lock) {
    const SteadyTime now = steady_now();
    std::vector<std::int64_t> wanted;
    for (const auto& entry : deferred_ids) wanted.push_back(entry.first);
    while (!deferred_ids.empty() && deferred_ids.front().second <= now) deferred_ids.pop_front();
    deferred_poll = now + kDeferredPoll;
    next_poll = now + settings.poll;
    lock.unlock();
    auto rows = pool.exec_autocommit(
        kClaimRows,
        {in_seconds(settings.age),
         Param::int64_array(wanted),
         settings.batch,
         kFollowers,
         in_seconds(settings.publish_timeout + kClaimSlack)},
        OnLoss::kRetry
    );
    std::vector<OutboxMessage> messages;
    if (rows) {
        for (const Row row : *rows) messages.push_back(read_message(row));
    }
    std::sort(messages.begin(), messages.end(), [](const auto& a, const auto& b) {
        return a.id < b.id;
    });
    lock.lock();
    if (!rows) {
        ++counters.database_errors;
        quiet_until = steady_now() + settings.poll;
        return;
    }
    if (messages.size() >= static_cast<std::size_t>(settings.batch)) next_poll = steady_now();
    std::unordered_map<std::string, std::int64_t> previous;
    for (OutboxMessage& message : messages) {
        const std::int64_t id = message.id;
        std::erase_if(deferred_ids, [id](const auto& entry) { return entry.first == id; });
        // The SQL vouches for the head; each follower follows the one before it.
        if (const auto before = previous.find(message.entity); before != previous.end())
            message.older = {before->second};
        if (!message.entity.empty()) previous[message.entity] = id;
        if (confirmed_ids.has(id)) continue;  // its deletion is under way
        if (const auto mine = tracked.find(id); mine != tracked.end()) {
            mine->second.claimed = true;  // in flight here: the claim keeps other relays off it
        } else if (admit(std::move(message), nullptr, true)) {
            ++counters.relayed;
        } else {
            to_release.push_back(id);
            want_write();
        }
    }
    for_sender.notify_one();
}

void Relay::State::fail_overdue(std::unique_lock<std::mutex>& lock) {
    const SteadyTime limit = steady_now() - settings.publish_timeout;
    std::vector<std::int64_t> overdue;
    for (const auto& [id, entry] : tracked) {
        if (entry.attempt != 0 && entry.sent_at < limit) overdue.push_back(id);
    }
    if (overdue.empty()) return;
    Verdicts verdicts;
    for (const std::int64_t id : overdue) {
        if (tracked.contains(id))
            fail(
                id,
                deadline("publish_timeout", "the bus did not confirm the message in time"),
                verdicts
            );
    }
    lock.unlock();
    tell(verdicts);
    lock.lock();
}

Relay::Relay(Pool& pool, PublishFn publish, RelaySettings settings)
    : state_(std::make_shared<State>(pool, std::move(publish), settings)) {}

Relay::~Relay() { stop(milliseconds{1000}); }

void Relay::start() {
    const std::lock_guard lock(state_->mutex);
    if (state_->stopping || state_->keeper.joinable()) return;
    state_->sender = std::thread([s = state_.get()] { s->sender_loop(); });
    state_->keeper = std::thread([s = state_.get()] { s->keeper_loop(); });
}

void Relay::publish_committed(std::vector<OutboxMessage> messages, ConfirmFn confirmed) {
    const auto shared =
        confirmed ? std::make_shared<const ConfirmFn>(std::move(confirmed)) : nullptr;
    const std::size_t count = messages.size();
    Verdicts verdicts;
    {
        const std::lock_guard lock(state_->mutex);
        for (OutboxMessage& message : messages) {
            const std::int64_t id = message.id;
            const std::string message_id = message.message_id;
            const bool known = state_->tracked.contains(id) || state_->confirmed_ids.has(id);
            if (!known && state_->admit(std::move(message), shared, false)) continue;
            verdicts.push_back({shared, message_id, deferred()});
            if (!known) state_->defer(id);
        }
    }
    state_->send(count);
    tell(verdicts);
}

void Relay::wake() {
    const std::lock_guard lock(state_->mutex);
    state_->next_poll = {};
    state_->for_keeper.notify_one();
}

Relay::Counters Relay::counters() const {
    const std::lock_guard lock(state_->mutex);
    Counters out = state_->counters;
    out.tracked = state_->tracked.size();
    return out;
}

bool Relay::stop(milliseconds limit) {
    State& s = *state_;
    std::unique_lock lock(s.mutex);
    s.stopping = true;
    s.write_due = {};
    s.for_keeper.notify_one();
    const bool running = s.keeper.joinable();
    const bool clean =
        s.for_stop.wait_for(lock, running ? limit : milliseconds{0}, [&] { return s.quiet(); });
    s.quit = true;
    s.for_keeper.notify_one();
    s.for_sender.notify_one();
    Verdicts verdicts;
    std::vector<std::int64_t> left;
    for (const auto& entry : s.tracked) left.push_back(entry.first);
    for (const std::int64_t id : left) s.drop(id, deferred(), verdicts);
    s.chains.clear();
    s.ready.clear();
    lock.unlock();
    if (s.keeper.joinable()) s.keeper.join();
    if (s.sender.joinable()) s.sender.join();
    tell(verdicts);
    return clean;
}

}  // namespace berth::store
