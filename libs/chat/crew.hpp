// SPDX-License-Identifier: Apache-2.0
// Threads for what waits: for a platform, for the bus, for the database.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "chat/bell.hpp"
#include "core/time.hpp"

namespace berth::chat {

/// Threads that work off one queue of tasks, begun in the order they were given. Thread-safe. Its
/// owner stops it before anything that the work uses goes.
template <typename Task>
class Crew {
public:
    using Work = std::function<void(Task& task)>;
    /// Gives tasks, and says how long nothing is to be looked for unless the bell rings.
    using Look = std::function<milliseconds()>;

    /// At most `most` tasks wait; unlimited where whoever gives them limits them itself.
    explicit Crew(Work work, std::size_t most = std::numeric_limits<std::size_t>::max())
        : work_(std::move(work)), most_(most) {}
    ~Crew() { stop(); }
    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;

    void start(std::size_t threads) {
        for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
    }
    /// With one thread more, that looks for tasks at once and then whenever `bell` rings.
    void start(std::size_t threads, Bell& bell, Look look) {
        start(threads);
        bell_ = &bell;
        looker_ = std::thread([this, look = std::move(look)] {
            while (!stopping()) bell_->wait(look());
        });
    }
    /// Waits for a look and for work under way, and for what is queued: a task that is too long for
    /// that asks stopping() first.
    void stop() {
        end(stopping_);
        if (bell_ != nullptr) bell_->ring();
        if (looker_.joinable()) looker_.join();
        end(closed_);
        for (auto& thread : threads_) {
            if (thread.joinable()) thread.join();
        }
    }
    bool stopping() const {
        const std::lock_guard lock(mutex_);
        return stopping_;
    }
    /// False when stopping, which ends the rest.
    bool rest(milliseconds time) {
        std::unique_lock lock(mutex_);
        return !stopped_.wait_for(lock, time, [this] { return stopping_; });
    }

    /// False where as many wait as may: then `task` is as it was.
    [[nodiscard]] bool give(Task&& task) {
        {
            const std::lock_guard lock(mutex_);
            if (tasks_.size() >= most_) return false;
            tasks_.push_back(std::move(task));
        }
        given_.notify_one();
        return true;
    }
    /// The task that has waited longest, taken back.
    std::optional<Task> take_back() {
        const std::lock_guard lock(mutex_);
        return take();
    }

private:
    void run() {
        while (auto task = next()) work_(*task);
    }
    std::optional<Task> next() {
        std::unique_lock lock(mutex_);
        given_.wait(lock, [this] { return closed_ || !tasks_.empty(); });
        return take();
    }
    std::optional<Task> take() {
        if (tasks_.empty()) return std::nullopt;
        std::optional<Task> task(std::move(tasks_.front()));
        tasks_.pop_front();
        return task;
    }
    void end(bool& flag) {
        {
            const std::lock_guard lock(mutex_);
            flag = true;
        }
        stopped_.notify_all();
        given_.notify_all();
    }

    const Work work_;
    const std::size_t most_;
    mutable std::mutex mutex_;
    std::condition_variable given_;
    std::condition_variable stopped_;
    bool stopping_ = false;  // by mutex_, as closed_ and tasks_
    bool closed_ = false;    // nothing is given any more
    std::deque<Task> tasks_;
    Bell* bell_ = nullptr;
    std::thread looker_;
    std::vector<std::thread> threads_;
};

}  // namespace berth::chat
