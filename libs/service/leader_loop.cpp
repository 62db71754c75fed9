// SPDX-License-Identifier: Apache-2.0
// Try to lead, look, wait, again.
#include "service/leader_loop.hpp"

#include "log/log.hpp"

namespace berth::service {

LeaderLoop::LeaderLoop(
    store::PoolSettings database, std::string name, milliseconds period, Look look
)
    : lock_(std::move(database), name),
      name_(std::move(name)),
      period_(period),
      look_(std::move(look)) {}

LeaderLoop::~LeaderLoop() { stop(); }

void LeaderLoop::start() {
    thread_ = std::thread([this] { run(); });
}

void LeaderLoop::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void LeaderLoop::run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        lock.unlock();
        if (const auto fence = lock_.try_lead(); fence && lock_.still_leading()) {
            if (const auto looked = look_(*fence); !looked)
                log::warning(
                    "a periodic task failed and will be tried again",
                    {{"task", name_}, {"error", looked.error()}}
                );
        }
        lock.lock();
        changed_.wait_for(lock, period_, [this] { return stopping_; });
    }
    lock_.release();
}

}  // namespace berth::service
