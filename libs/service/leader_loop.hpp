// SPDX-License-Identifier: Apache-2.0
// A periodic task that one replica carries out at a time.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "store/leader.hpp"

namespace berth::service {

/// Calls `look(fence)` every `period` while this replica leads the office `name`. A look that fails
/// is logged and tried again at the next period. See store::LeaderLock for safety, liveness and the
/// gap.
class LeaderLoop {
public:
    using Look = std::function<Result<void>(std::int64_t fence)>;
    LeaderLoop(store::PoolSettings database, std::string name, milliseconds period, Look look);
    ~LeaderLoop();
    LeaderLoop(const LeaderLoop&) = delete;
    LeaderLoop& operator=(const LeaderLoop&) = delete;

    void start();
    /// Waits for a look under way and gives the office up.
    void stop();

private:
    void run();
    store::LeaderLock lock_;  // the loop's thread only
    const std::string name_;
    const milliseconds period_;
    const Look look_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;  // by mutex_
    std::thread thread_;
};

}  // namespace berth::service
