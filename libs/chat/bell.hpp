// SPDX-License-Identifier: Apache-2.0
// What wakes a loop that otherwise looks now and then.
#pragma once

#include <condition_variable>
#include <mutex>

#include "core/time.hpp"

namespace berth::chat {

/// Rings before a wait are not lost. Thread-safe; one thread waits.
class Bell {
public:
    void ring() {
        {
            const std::lock_guard lock(mutex_);
            rung_ = true;
        }
        changed_.notify_one();
    }
    /// Returns when rung, or after `limit`.
    void wait(milliseconds limit) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, limit, [this] { return rung_; });
        rung_ = false;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool rung_ = false;
};

}  // namespace berth::chat
