// SPDX-License-Identifier: Apache-2.0
// A bounded queue, a list of delayed tasks, and the threads that take from both.
#include "gateway/workers.hpp"

namespace berth::gateway {

Workers::Workers(std::size_t threads, std::size_t max_queued) : max_queued_(max_queued) {
    for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { loop(); });
}

Workers::~Workers() { stop(); }

bool Workers::run(std::function<void()> task) {
    {
        const std::lock_guard lock(mutex_);
        if (stopping_ || queue_.size() >= max_queued_) return false;
        queue_.push_back(std::move(task));
    }
    changed_.notify_one();
    return true;
}

void Workers::after(milliseconds delay, std::function<void()> task) {
    {
        const std::lock_guard lock(mutex_);
        if (stopping_) return;
        delayed_.emplace(std::chrono::steady_clock::now() + delay, std::move(task));
    }
    changed_.notify_one();
}

void Workers::dispose(std::shared_ptr<void> object) {
    {
        const std::lock_guard lock(mutex_);
        if (!stopping_)
            queue_.emplace_back([object = std::move(object)]() mutable { object.reset(); });
    }
    changed_.notify_one();
}

void Workers::stop() {
    decltype(delayed_) dropped;  // dies without the lock: what it holds may join threads
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        dropped.swap(delayed_);
    }
    changed_.notify_all();
    dropped.clear();
    for (auto& thread : threads_) {
        if (thread.joinable()) thread.join();
    }
}

void Workers::loop() {
    std::unique_lock lock(mutex_);
    while (true) {
        std::function<void()> task;
        if (!delayed_.empty() && delayed_.begin()->first <= std::chrono::steady_clock::now()) {
            task = std::move(delayed_.begin()->second);
            delayed_.erase(delayed_.begin());
        } else if (!queue_.empty()) {
            task = std::move(queue_.front());
            queue_.pop_front();
        } else if (stopping_) {
            return;
        } else if (delayed_.empty()) {
            changed_.wait(lock);
            continue;
        } else {
            const auto next = delayed_.begin()->first;  // a copy: the entry may go while we wait
            changed_.wait_until(lock, next);
            continue;
        }
        lock.unlock();
        task();
        task = nullptr;  // what it held may take a while to die: not under the lock
        lock.lock();
    }
}

}  // namespace berth::gateway
