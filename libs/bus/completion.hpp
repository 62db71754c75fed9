// SPDX-License-Identifier: Apache-2.0
// One value handed from a bus thread to a waiting one.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::bus {

/// Set once, from any thread; waited for by one. Held by shared_ptr on both sides, since either may
/// leave first.
template <typename T>
class Completion {
public:
    void set(Result<T> value) {
        // Told under the lock: the one who waits may destroy this as soon as it has the value.
        const std::lock_guard lock(mutex_);
        if (value_) return;
        value_.emplace(std::move(value));
        arrived_.notify_one();
    }
    bool ready() {
        const std::lock_guard lock(mutex_);
        return value_.has_value();
    }
    /// The value, or nothing when the deadline passed.
    std::optional<Result<T>> wait_until(SteadyTime when) {
        std::unique_lock lock(mutex_);
        arrived_.wait_until(lock, when, [this] { return value_.has_value(); });
        return std::move(value_);
    }

private:
    std::mutex mutex_;
    std::condition_variable arrived_;
    std::optional<Result<T>> value_;
};

}  // namespace berth::bus
