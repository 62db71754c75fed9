// SPDX-License-Identifier: Apache-2.0
// The leader's thread: hears, reads, sends, writes, waits.
#include "webhook/sender.hpp"

#include <algorithm>

#include "identity/seal.hpp"
#include "log/log.hpp"

namespace berth::webhook {
namespace {

// A change is told before its transaction ends: look again a moment later.
constexpr milliseconds kAfterCommit{50};
// While the database is away.
constexpr milliseconds kStoreWait{200};

}  // namespace

Sender::Sender(Parts parts)
    : parts_(std::move(parts)),
      guard_(parts_.settings.allowed_networks),
      resolver_(parts_.resolve),
      intake_(
          {parts_.bus,
           parts_.pool,
           parts_.metrics,
           writing_,
           [this](const std::set<std::string>& subscribers) {
               {
                   const std::lock_guard lock(mutex_);
                   fresh_.insert(subscribers.begin(), subscribers.end());
               }
               changed_.notify_all();
           }}
      ) {
    auto& metrics = parts_.metrics;
    const auto attempts = [&](const char* result) {
        return metrics.counter(
            "berth_webhook_attempts_total", "Attempts by what came of them.", {{"result", result}}
        );
    };
    delivered_ = attempts("delivered");
    failed_ = attempts("failed");
    given_up_ = metrics.counter("berth_webhook_given_up_total", "Deliveries that were given up.");
    disabled_ = metrics.counter("berth_webhook_disabled_total", "Subscribers that were disabled.");
    leading_ = metrics.gauge("berth_webhook_leading", "1 while this replica sends.");
    unwritten_gauge_ =
        metrics.gauge("berth_webhook_unwritten_results", "Results not yet in the database.");
    seconds_ = metrics.histogram(
        "berth_webhook_attempt_seconds", "Time of an attempt.", metrics::latency_buckets()
    );
}

Sender::~Sender() { stop(); }

void Sender::start() {
    thread_ = std::thread([this] { run(); });
}

void Sender::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Sender::wake() {
    {
        const std::lock_guard lock(mutex_);
        woken_ = true;
    }
    changed_.notify_all();
}

void Sender::tell(Told told) {
    {
        const std::lock_guard lock(mutex_);
        told_.push_back(std::move(told));
    }
    changed_.notify_all();
}

void Sender::run() {
    store::LeaderLock office(parts_.database, "sender");
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        lock.unlock();
        if (office.try_lead()) {
            leading_.set(1);
            lead(office);
            leading_.set(0);
            office.release();
        }
        lock.lock();
        changed_.wait_for(lock, kLeadEvery, [this] { return stopping_; });
    }
}

void Sender::lead(store::LeaderLock& office) {
    ++term_;
    subscribers_.clear();
    unwritten_.clear();
    ended_.clear();
    health_.clear();
    refresh_at_ = flush_at_ = trim_at_ = SteadyTime{};
    if (const auto started = intake_.start(); !started) {
        log::warning("events cannot be taken in", {{"error", started.error()}});
        return;
    }
    log::info("sending");
    SteadyTime check_at = std::chrono::steady_clock::now() + kLeadEvery;
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        lock.unlock();
        if (std::chrono::steady_clock::now() >= check_at) {
            if (!office.still_leading()) break;
            check_at = std::chrono::steady_clock::now() + kLeadEvery;
        }
        turn();
        lock.lock();
        if (!stopping_ && told_.empty() && fresh_.empty() && !woken_)
            changed_.wait_for(lock, patience(), [this] {
                return stopping_ || !told_.empty() || !fresh_.empty() || woken_;
            });
    }
    if (lock.owns_lock()) lock.unlock();
    intake_.stop();
    client_.reset();  // what is under way ends, and is told to the term that is over
    ++term_;
    flush();
    subscribers_.clear();
}

void Sender::turn() {
    std::vector<Told> told;
    std::set<std::string> fresh;
    bool woken = false;
    {
        const std::lock_guard lock(mutex_);
        told.swap(told_);
        fresh.swap(fresh_);
        woken = std::exchange(woken_, false);
    }
    if (woken) refresh_at_ = SteadyTime{};
    for (Told& each : told) hear(std::move(each));
    for (const auto& id : fresh) {
        if (const auto it = subscribers_.find(id); it != subscribers_.end())
            it->second.more = true;
        else
            refresh_at_ = SteadyTime{};  // one that is new to us
    }
    const auto now = std::chrono::steady_clock::now();
    if (now >= refresh_at_) refresh();
    if (woken) refresh_at_ = std::min(refresh_at_, now + kAfterCommit);
    if (unwritten_.size() >= kFlushBatch || (!unwritten_.empty() && now >= flush_at_)) flush();
    std::vector<std::string> to_disable;
    for (auto& [id, subscriber] : subscribers_) {
        if (subscriber.disable.empty()) {
            pump(subscriber);
        } else {
            to_disable.push_back(id);
        }
    }
    for (const auto& id : to_disable) disable(subscribers_.at(id));
    if (now >= trim_at_) trim();
}

/// How long nothing happens by itself.
milliseconds Sender::patience() const {
    const auto now = std::chrono::steady_clock::now();
    SteadyTime until = std::min(refresh_at_, now + kLeadEvery);
    if (!unwritten_.empty()) until = std::min(until, flush_at_);
    milliseconds out = std::chrono::ceil<milliseconds>(until - now);
    const WallTime wall = parts_.clock.now();
    for (const auto& [id, subscriber] : subscribers_) {
        if (!subscriber.disable.empty()) out = std::min(out, kStoreWait);
        if (const auto due = subscriber.lane.due(); due && unwritten_.size() < kMaxUnwritten)
            out = std::min(out, std::chrono::ceil<milliseconds>(*due - wall));
    }
    return std::max(out, milliseconds{1});
}

void Sender::refresh() {
    refresh_at_ = std::chrono::steady_clock::now() + kRefreshEvery;
    auto rows = repo::list_enabled(parts_.pool);
    if (!rows) {
        log::warning("subscribers cannot be read", {{"error", rows.error()}});
        return;
    }
    std::set<std::string> enabled;
    for (auto& row : *rows) {
        enabled.insert(row.id);
        put(std::move(row));
    }
    std::erase_if(subscribers_, [&](const auto& each) { return !enabled.contains(each.first); });
}

void Sender::put(SubscriberRow row) {
    auto [it, fresh] = subscribers_.try_emplace(row.id);
    Subscriber& subscriber = it->second;
    if (fresh || row.restarted != subscriber.row.restarted) {
        subscriber.lane = Lane(row.health);
        subscriber.loaded = 0;
        subscriber.more = true;
        subscriber.lost = false;
        subscriber.disable.clear();
    }
    // A replay and a test may be below what was read; and a change may have been seen before its
    // transaction ended.
    const auto held = static_cast<std::int64_t>(subscriber.lane.held() + ended_.size());
    if (!fresh && row.pending > held) subscriber.lost = subscriber.more = true;
    if (row.pending > row.carried + kMaxBacklog) subscriber.disable = "backlog";
    if (!fresh && row.revision == subscriber.row.revision) {
        subscriber.row = std::move(row);
        return;
    }
    refresh_at_ = std::min(refresh_at_, std::chrono::steady_clock::now() + kAfterCommit);
    subscriber.target = parse_target(row.url, parts_.settings.allow_http);
    subscriber.destination = {row.url, row.binary, {}, {}, {}};
    auto secret = identity::unseal(parts_.key, row.secret);
    if (secret) {
        subscriber.destination.secret = std::move(*secret);
    } else {
        subscriber.target = Error{
            Fault::kInternal,
            "bad_key",
            "its secret cannot be opened: the key file has changed",
            {}};
    }
    if (row.old_secret_until) {
        subscriber.destination.old_secret_until = *row.old_secret_until;
        if (auto old = identity::unseal(parts_.key, row.old_secret))
            subscriber.destination.old_secret = std::move(*old);
    }
    subscriber.row = std::move(row);
}

void Sender::load(Subscriber& subscriber) {
    if (!subscriber.more || !subscriber.lane.wants_more()) return;
    const std::int64_t after = subscriber.lost ? 0 : subscriber.loaded;
    auto rows = repo::load(parts_.pool, subscriber.row.id, after, kLoaded);
    if (!rows) {
        subscriber.more = false;  // again at the next refresh
        subscriber.lost = true;
        refresh_at_ = std::min(refresh_at_, std::chrono::steady_clock::now() + kStoreWait);
        log::warning("deliveries cannot be read", {{"error", rows.error()}});
        return;
    }
    subscriber.lost = false;
    subscriber.more = rows->size() == static_cast<std::size_t>(kLoaded);
    if (!rows->empty()) subscriber.loaded = rows->back().id;
    std::erase_if(*rows, [this](const PendingRow& row) { return ended_.contains(row.id); });
    subscriber.lane.add(std::move(*rows));
}

void Sender::load_test(Subscriber& subscriber) {
    if (subscriber.row.test == subscriber.tested) return;
    auto row = repo::load_untried(parts_.pool, subscriber.row.id, subscriber.row.test);
    if (!row) return log::warning("a test cannot be read", {{"error", row.error()}});
    subscriber.tested = subscriber.row.test;
    if (*row && !ended_.contains(subscriber.tested)) subscriber.lane.hurry(std::move(**row));
}

void Sender::pump(Subscriber& subscriber) {
    load_test(subscriber);
    load(subscriber);
    while (unwritten_.size() < kMaxUnwritten) {
        Lane::Item* item = subscriber.lane.next(parts_.clock.now());
        if (item == nullptr) return;
        begin(subscriber, *item);
        load(subscriber);
    }
}

void Sender::begin(Subscriber& subscriber, Lane::Item& item) {
    const std::int64_t delivery = item.row.id;
    if (!subscriber.target) {
        return answered(subscriber, delivery, {}, subscriber.target.error().message);
    }
    const Target& target = *subscriber.target;
    if (target.is_address) return post(subscriber, delivery, {target.host});
    if (const auto known = resolver_.known(target.host)) return post(subscriber, delivery, *known);
    resolver_.ask(
        target.host,
        [this,
         term = term_,
         id = subscriber.row.id,
         restarted = subscriber.row.restarted,
         delivery](Result<Resolver::Addresses> addresses) {
            Told told;
            told.term = term;
            told.subscriber = id;
            told.restarted = restarted;
            told.delivery = delivery;
            told.resolved = true;
            told.addresses = std::move(addresses);
            tell(std::move(told));
        }
    );
}

void Sender::hear(Told told) {
    if (told.term != term_) return;
    const auto it = subscribers_.find(told.subscriber);
    if (it == subscribers_.end()) return;
    Subscriber& subscriber = it->second;
    if (told.restarted != subscriber.row.restarted) return;  // of an attempt that counts no more
    if (told.resolved) {
        if (told.addresses) return post(subscriber, told.delivery, *told.addresses);
        return answered(subscriber, told.delivery, {}, told.addresses.error().message);
    }
    seconds_.observe(std::chrono::steady_clock::now() - told.began);
    Answer answer;
    std::string error;
    if (told.response) {
        answer.status = told.response->status;
        answer.retry_after =
            parse_retry_after(told.response->header("retry-after"), parts_.clock.now());
    } else {
        error = told.response.error().message;
    }
    answered(subscriber, told.delivery, answer, std::move(error));
}

void Sender::post(
    Subscriber& subscriber, std::int64_t delivery, const Resolver::Addresses& addresses
) {
    const Lane::Item* item = subscriber.lane.sending(delivery);
    if (item == nullptr) return;  // the subscriber is another one by now
    // Checked here and handed on as an address: nobody asks for the name in between.
    if (const auto permitted = guard_.check_all(addresses); !permitted)
        return answered(subscriber, delivery, {}, permitted.error().message);
    const auto which = static_cast<std::size_t>(item->row.attempts.made) % addresses.size();
    if (!client_) client_ = std::make_unique<http::MultiClient>();
    client_->send(
        make_post(
            subscriber.destination,
            item->row.event,
            item->row.webhook_id,
            addresses[which],
            parts_.clock.now(),
            parts_.settings.timeout
        ),
        [this,
         term = term_,
         id = subscriber.row.id,
         restarted = subscriber.row.restarted,
         delivery,
         began = std::chrono::steady_clock::now()](Result<http::Response> response) {
            Told told;
            told.term = term;
            told.subscriber = id;
            told.restarted = restarted;
            told.delivery = delivery;
            told.response = std::move(response);
            told.began = began;
            tell(std::move(told));
        }
    );
}

}  // namespace berth::webhook
