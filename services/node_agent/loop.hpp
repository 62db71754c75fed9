// SPDX-License-Identifier: Apache-2.0
// The node agent's one thread of state: descriptors, timers, and work handed over from the bus's
// threads.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/fd.hpp"
#include "core/guarded.hpp"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::node {

/// An epoll loop. run() belongs to one thread and everything else is called on it, but for post()
/// and stop().
class Loop {
public:
    using Work = std::function<void()>;
    using Ready = std::function<void(std::uint32_t events)>;
    using Timer = std::uint64_t;

    static Result<std::unique_ptr<Loop>> create();

    /// Runs `work` on the loop's thread, soon and in order. From any thread. Dropped once the loop
    /// has ended.
    void post(Work work);
    /// From any thread: run() returns after the work in hand.
    void stop();

    /// Calls `ready` while any of `events` (EPOLLIN, …) holds. One watch per descriptor.
    void watch(int fd, std::uint32_t events, Ready ready);
    void change(int fd, std::uint32_t events);
    /// Before the descriptor is closed. Allowed inside its own callback.
    void unwatch(int fd);

    Timer after(milliseconds delay, Work work);
    void cancel(Timer timer);

    void run();

private:
    Loop(Fd epoll, Fd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
    int next_timeout() const;
    void run_timers();
    void run_posted();

    struct Inbox {
        std::vector<Work> work;
        bool stopping = false;
    };
    Fd epoll_;
    Fd wake_;
    Guarded<Inbox> inbox_;
    std::unordered_map<int, std::shared_ptr<Ready>> watches_;
    std::map<std::pair<SteadyTime, Timer>, Work> timers_;
    std::unordered_map<Timer, SteadyTime> timer_times_;
    Timer last_timer_ = 0;
};

}  // namespace berth::node
