// SPDX-License-Identifier: Apache-2.0
// How many streams one user may hold open, so that one forgotten loop does not take every thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "metrics/metrics.hpp"

namespace berth::gateway {

/// A stalled reader is waited for in turns of this, so that its end is seen.
inline constexpr milliseconds kWriteTurn{1'000};

/// Thread-safe; slots may outlive it.
class StreamLimit {
public:
    StreamLimit(std::size_t most, metrics::Gauge open)
        : most_(most), state_(std::make_shared<State>()) {
        state_->open = open;
    }

    /// A slot until it is dropped; nullptr where the user has too many.
    std::shared_ptr<void> take(const std::string& org, const std::string& user) {
        const std::string key = org + "/" + user;
        const std::lock_guard lock(state_->mutex);
        auto& count = state_->counts[key];
        if (count >= most_) return nullptr;
        ++count;
        state_->open.add();
        return std::shared_ptr<void>(state_.get(), [state = state_, key](void*) {
            const std::lock_guard guard(state->mutex);
            state->open.subtract();
            const auto it = state->counts.find(key);
            if (--it->second == 0) state->counts.erase(it);
        });
    }

private:
    struct State {
        std::mutex mutex;
        std::map<std::string, std::size_t> counts;  // by mutex
        metrics::Gauge open;
    };
    const std::size_t most_;
    std::shared_ptr<State> state_;
};

}  // namespace berth::gateway
