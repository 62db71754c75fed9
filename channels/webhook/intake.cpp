// SPDX-License-Identifier: Apache-2.0
// While one batch is stored the next gathers.
#include "webhook/intake.hpp"

#include <algorithm>

#include "core/text.hpp"
#include "log/log.hpp"
#include "webhook/repo.hpp"
#include "webhook/settings.hpp"

namespace berth::webhook {
namespace {

constexpr milliseconds kIntakeWait{200};

std::string org_of(std::string_view subject) {
    const auto tokens = split(subject, '.');
    return tokens.size() > 2 ? std::string(tokens[2]) : std::string();
}

// It becomes a header, and nodes choose it.
bool is_event_id(std::string_view text) {
    return !text.empty() && text.size() <= 128 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

bool wants(const SubscriberRow& subscriber, const std::string& org, std::string_view subject) {
    return subscriber.org == org &&
           std::any_of(
               subscriber.subjects.begin(),
               subscriber.subjects.end(),
               [&](const std::string& pattern) { return bus::subject_matches(pattern, subject); }
           );
}

bool anybody_wants(
    const std::vector<SubscriberRow>& subscribers, const std::deque<bus::Delivery>& batch
) {
    return std::any_of(batch.begin(), batch.end(), [&](const bus::Delivery& delivery) {
        const std::string& subject = delivery.message().subject;
        return std::any_of(subscribers.begin(), subscribers.end(), [&](const SubscriberRow& each) {
            return wants(each, org_of(subject), subject);
        });
    });
}

// What is somebody's, in order.
std::vector<IncomingRow> rows_for(
    const std::vector<SubscriberRow>& subscribers, const std::deque<bus::Delivery>& batch
) {
    std::vector<IncomingRow> out;
    for (const auto& delivery : batch) {
        const bus::Message& message = delivery.message();
        IncomingRow row;
        row.ce_id = message.header(bus::kCeId);
        row.org = org_of(message.subject);
        if (!is_event_id(row.ce_id)) continue;
        for (const auto& each : subscribers) {
            if (wants(each, row.org, message.subject)) row.subscribers.push_back(each.id);
        }
        if (row.subscribers.empty()) continue;
        row.event = message;
        out.push_back(std::move(row));
    }
    return out;
}

}  // namespace

Intake::Intake(Parts parts) : parts_(std::move(parts)) {
    events_ = parts_.metrics.counter("berth_webhook_events_total", "Events seen.");
    deliveries_ = parts_.metrics.counter("berth_webhook_deliveries_total", "Deliveries stored.");
    malformed_ = parts_.metrics.counter(
        "berth_webhook_malformed_events_total", "Events without a fit id, which are passed over."
    );
}
Intake::~Intake() { stop(); }

Result<void> Intake::start() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = false;
    }
    bus::ConsumerSettings settings;
    settings.stream = "EVT";
    settings.durable = "webhook";
    settings.workers = 0;
    settings.max_in_flight = kIntakeInFlight;
    auto receiver =
        parts_.bus.consume(settings, [this](bus::Delivery delivery) { take(std::move(delivery)); });
    if (!receiver) return std::move(receiver).error();
    receiver_ = std::move(*receiver);
    thread_ = std::thread([this] { run(); });
    return {};
}

void Intake::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    {
        const std::lock_guard lock(mutex_);
        for (auto& delivery : waiting_) delivery.nak(milliseconds{0});
        waiting_.clear();
    }
    receiver_.reset();
}

void Intake::take(bus::Delivery delivery) {
    {
        const std::lock_guard lock(mutex_);
        if (stopping_) return delivery.nak(milliseconds{0});
        waiting_.push_back(std::move(delivery));
    }
    changed_.notify_one();
}

void Intake::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (stopping_) return;
        std::deque<bus::Delivery> batch;
        while (!waiting_.empty() && batch.size() < kIntakeBatch) {
            batch.push_back(std::move(waiting_.front()));
            waiting_.pop_front();
        }
        lock.unlock();
        auto stored = store(batch);
        while (!stored) {
            log::warning("events are held until they can be stored", {{"error", stored.error()}});
            lock.lock();
            if (changed_.wait_for(lock, kIntakeWait, [this] { return stopping_; })) break;
            lock.unlock();
            stored = store(batch);
        }
        if (!stored) {
            for (auto& delivery : batch) delivery.nak(milliseconds{0});
            return;
        }
        for (auto& delivery : batch) delivery.ack();
        if (!stored->empty()) parts_.stored(*stored);
        lock.lock();
    }
}

Result<std::set<std::string>> Intake::store(const std::deque<bus::Delivery>& batch) {
    std::set<std::string> orgs;
    std::int64_t malformed = 0;
    for (const auto& delivery : batch) {
        orgs.insert(org_of(delivery.message().subject));
        if (!is_event_id(delivery.message().header(bus::kCeId))) ++malformed;
    }
    const std::vector<std::string> wanted(orgs.begin(), orgs.end());
    const std::lock_guard writing(parts_.writing);
    std::int64_t count = 0;
    std::set<std::string> out;
    // Most events are nobody's: that costs one question and no transaction.
    BERTH_ASSIGN(const auto willing, repo::interested(parts_.pool, wanted));
    if (anybody_wants(willing, batch)) {
        auto done = parts_.pool.transact([&](store::Transaction& tx) -> Result<void> {
            BERTH_ASSIGN(const auto subscribers, repo::interested(tx, wanted));
            const auto events = rows_for(subscribers, batch);
            out.clear();
            for (const IncomingRow& each : events)
                out.insert(each.subscribers.begin(), each.subscribers.end());
            BERTH_ASSIGN(count, repo::take_in(tx, events));
            return {};
        });
        if (!done) return done.error();
    }
    events_.add(static_cast<double>(batch.size()));
    deliveries_.add(static_cast<double>(count));
    malformed_.add(static_cast<double>(malformed));
    return out;
}

}  // namespace berth::webhook
