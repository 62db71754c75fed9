// SPDX-License-Identifier: Apache-2.0
// What came of attempts, on its way into the tables.
#include <algorithm>

#include "core/text.hpp"
#include "log/log.hpp"
#include "webhook/handlers.hpp"
#include "webhook/sender.hpp"

namespace berth::webhook {
namespace {

std::string error_text(const Answer& answer, std::string error) {
    if (answer.status >= 300 && answer.status < 400) error = "redirects are not followed";
    if (!is_utf8(error)) error = "no answer";
    return clipped(error, kMaxError);
}

}  // namespace

void Sender::answered(
    Subscriber& subscriber, std::int64_t delivery, Answer answer, std::string error
) {
    const WallTime now = parts_.clock.now();
    const Health before = subscriber.lane.health();
    const auto ended = subscriber.lane.answered(delivery, answer, now, Random::system());
    if (!ended) return;
    ResultRow row;
    row.id = delivery;
    row.subscriber = subscriber.row.id;
    row.restarted = subscriber.row.restarted;
    row.attempts = ended->attempts;
    row.status = answer.status;
    row.error = error_text(answer, std::move(error));
    row.at = now;
    if (ended->verdict == Verdict::kDelivered) {
        row.state = v1::DELIVERY_STATE_DELIVERED;
        row.error.clear();
        delivered_.add();
    } else {
        failed_.add();
    }
    if (ended->verdict == Verdict::kGivenUp) {
        row.state = v1::DELIVERY_STATE_FAILED;
        given_up_.add();
    }
    if (ended->verdict == Verdict::kDisable)
        subscriber.disable = answer.status == 410 ? "gone" : "failing";
    if (row.state != v1::DELIVERY_STATE_PENDING) ended_.insert(delivery);
    if (const Health& after = subscriber.lane.health(); after != before)
        health_[subscriber.row.id] = {subscriber.row.restarted, after};
    if (unwritten_.empty()) flush_at_ = std::chrono::steady_clock::now() + kFlushEvery;
    unwritten_.push_back(std::move(row));
    unwritten_gauge_.set(static_cast<double>(unwritten_.size()));
}

void Sender::flush() {
    if (unwritten_.empty()) return;
    const std::lock_guard writing(writing_);
    const auto written = parts_.pool.transact([this](store::Transaction& tx) -> Result<void> {
        // First, because it locks: a failure (which always changes health) of before what waits
        // began anew says nothing any more.
        std::map<std::string, std::int64_t> counts;
        for (const auto& [id, changed] : health_) {
            BERTH_ASSIGN(
                const bool same, repo::set_health(tx, id, changed.restarted, changed.health)
            );
            if (same) counts[id] = changed.restarted;
        }
        // An attempt and the next one of the same delivery may both wait here: the last one counts.
        std::map<std::int64_t, const ResultRow*> newest;
        for (const auto& row : unwritten_) {
            const auto own = counts.find(row.subscriber);
            if (row.state == v1::DELIVERY_STATE_DELIVERED ||
                (own != counts.end() && own->second == row.restarted))
                newest[row.id] = &row;
        }
        std::vector<ResultRow> rows;
        for (const auto& [id, row] : newest) rows.push_back(*row);
        return repo::write_results(tx, rows);
    });
    if (!written) {
        flush_at_ = std::chrono::steady_clock::now() + seconds{1};
        log::warning(
            "results are held until they can be written",
            {{"results", unwritten_.size()}, {"error", written.error()}}
        );
        return;
    }
    unwritten_.clear();
    ended_.clear();
    health_.clear();
    unwritten_gauge_.set(0);
}

void Sender::disable(Subscriber& subscriber) {
    flush();
    if (!unwritten_.empty()) return;
    std::vector<store::OutboxMessage> messages;
    const std::string id = subscriber.row.id;
    const auto done = parts_.pool.transact([&](store::Transaction& tx) -> Result<void> {
        messages.clear();
        auto row = repo::lock(tx, subscriber.row.org, id);
        if (!row && row.error().fault == Fault::kNotFound) return {};
        if (!row) return row.error();
        if (!row->enabled || row->restarted != subscriber.row.restarted) return {};
        row->enabled = false;
        row->reason = subscriber.disable;
        BERTH_TRY(repo::update(tx, *row));
        service::Context context;
        context.now = parts_.clock.now();
        context.command_id =
            service::child_command_id(id, "disabled/" + std::to_string(row->revision));
        context.correlation_id = context.command_id;
        messages.push_back(changed(context, "disabled", *row));
        return store::Outbox::add_all(tx, messages);
    });
    if (!done) {
        log::warning("a webhook could not be disabled", {{"webhook", id}, {"error", done.error()}});
        return;
    }
    if (!messages.empty()) {
        disabled_.add();
        log::info("a webhook was disabled", {{"webhook", id}, {"reason", subscriber.disable}});
    }
    parts_.relay.publish_committed(std::move(messages));
    subscribers_.erase(id);
    refresh_at_ = SteadyTime{};  // an admin may have been faster
}

void Sender::trim() {
    trim_at_ = std::chrono::steady_clock::now() + kTrimEvery;
    const auto gone = repo::trim(parts_.pool, parts_.clock.now() - kLogAge, kTrimBatch);
    if (!gone) {
        log::warning("the log could not be trimmed", {{"error", gone.error()}});
    } else if (*gone == kTrimBatch) {
        trim_at_ = std::chrono::steady_clock::now() + kLeadEvery;
    }
}

}  // namespace berth::webhook
