// SPDX-License-Identifier: Apache-2.0
// The few threads that may wait, so that neither the I/O thread nor a bus thread has to.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/time.hpp"

namespace berth::gateway {

/// Thread-safe. Tasks run in no particular order.
class Workers {
public:
    Workers(std::size_t threads, std::size_t max_queued);
    ~Workers();
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    /// False where too much is waiting already.
    [[nodiscard]] bool run(std::function<void()> task);
    /// Runs `task` later; dropped when the workers stop before that.
    void after(milliseconds delay, std::function<void()> task);
    /// Lets go of `object` on a worker: for what joins a thread as it dies. Never refused.
    void dispose(std::shared_ptr<void> object);
    /// Finishes what is queued and joins. Later tasks are run in the caller's thread or dropped.
    void stop();

private:
    void loop();
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> queue_;                   // by mutex_
    std::multimap<SteadyTime, std::function<void()>> delayed_;  // by mutex_
    bool stopping_ = false;                                     // by mutex_
    const std::size_t max_queued_;
    std::vector<std::thread> threads_;
};

}  // namespace berth::gateway
