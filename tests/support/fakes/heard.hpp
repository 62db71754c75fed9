// SPDX-License-Identifier: Apache-2.0
// A chat::Sink that keeps what it was given and lets a test wait for it.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "chat/platform.hpp"

namespace berth::testing {

/// Thread-safe. Repetitions are kept: a test may want to see them.
class Heard final : public chat::Sink {
public:
    Result<void> accept(const std::vector<chat::Inbound>& events) override {
        {
            std::unique_lock lock(mutex_);
            ++asked_;
            changed_.wait_for(lock, seconds{30}, [this] { return !held_; });
            if (failures_ > 0) {
                --failures_;
                return unavailable("no_database", "as told");
            }
            events_.insert(events_.end(), events.begin(), events.end());
        }
        changed_.notify_all();
        return {};
    }
    Result<void> undelivered(const chat::Undelivered& told) override {
        {
            const std::lock_guard lock(mutex_);
            undelivered_.push_back(told);
        }
        changed_.notify_all();
        return {};
    }
    Result<std::vector<chat::LastHeard>> last_heard(std::int64_t) override {
        const std::lock_guard lock(mutex_);
        std::vector<chat::LastHeard> out;
        for (auto event = events_.rbegin(); event != events_.rend(); ++event) {
            const bool said = event->kind == chat::InboundKind::kMessage;
            const auto known = std::find_if(out.begin(), out.end(), [&](const auto& one) {
                return one.conversation == event->conversation;
            });
            if (known == out.end()) {
                out.push_back(
                    {event->conversation, event->direct, said ? event->event_id : std::string()}
                );
            } else if (known->message.empty() && said) {
                known->message = event->event_id;
            }
        }
        return out;
    }
    void health(chat::Health health) override {
        {
            const std::lock_guard lock(mutex_);
            health_ = std::move(health);
        }
        changed_.notify_all();
    }

    Result<void> remember(const std::string& note) override {
        const std::lock_guard lock(mutex_);
        note_ = note;
        return {};
    }
    Result<std::string> recall() override {
        const std::lock_guard lock(mutex_);
        return note_;
    }

    /// While it is held accept() waits, for 30 s at most.
    void hold(bool on) {
        {
            const std::lock_guard lock(mutex_);
            held_ = on;
        }
        changed_.notify_all();
    }
    /// The next so many calls of accept() fail.
    void fail(int times) {
        const std::lock_guard lock(mutex_);
        failures_ = times;
    }
    std::vector<chat::Inbound> events() const {
        const std::lock_guard lock(mutex_);
        return events_;
    }
    /// What did not arrive, after `count` of it were told.
    std::vector<chat::Undelivered> wait_undelivered(std::size_t count) {
        wait([&] { return undelivered_.size() >= count; }, seconds{15});
        const std::lock_guard lock(mutex_);
        return undelivered_;
    }
    chat::Health state() const {
        const std::lock_guard lock(mutex_);
        return health_;
    }
    int asked() const {
        const std::lock_guard lock(mutex_);
        return asked_;
    }
    bool wait_events(std::size_t count, milliseconds patience = seconds{15}) {
        return wait([&] { return events_.size() >= count; }, patience);
    }
    /// Ready, or not ready for a reason that holds `words`.
    bool wait_ready(milliseconds patience = seconds{15}) {
        return wait([&] { return health_.ready; }, patience);
    }
    bool wait_unready(std::string_view words, milliseconds patience = seconds{15}) {
        return wait(
            [&] { return !health_.ready && health_.reason.find(words) != std::string::npos; },
            patience
        );
    }

private:
    bool wait(const std::function<bool()>& what, milliseconds patience) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, patience, what);
    }

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<chat::Inbound> events_;
    std::vector<chat::Undelivered> undelivered_;
    chat::Health health_;
    std::string note_;
    int failures_ = 0;
    int asked_ = 0;
    bool held_ = false;
};

}  // namespace berth::testing
