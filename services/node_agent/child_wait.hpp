// SPDX-License-Identifier: Apache-2.0
// Waits for children and for descriptors at once, and for children by waitpid(2): of a tracer's
// stops the kernel then wakes it as cheaply as it can, which costs a build much less than a
// signalfd among what is polled.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "core/fd.hpp"

namespace berth::node {

class ChildEvents {
public:
    virtual ~ChildEvents() = default;
    /// What waitpid(2) said of a child of any thread of this process.
    virtual void on_child_status(pid_t pid, int wait_status) = 0;
    /// Nothing more is there for now. False: poll() shall return.
    virtual bool may_sleep() = 0;
};

/// For one thread, that which traces. The descriptors are polled by a thread of this object's own,
/// which rings with SIGURG.
class ChildWait {
public:
    /// Takes SIGURG, and SIGCHLD of stops.
    ChildWait();
    ~ChildWait();
    ChildWait(const ChildWait&) = delete;
    ChildWait& operator=(const ChildWait&) = delete;

    /// As poll(2), and meanwhile hands what children do to `events`, on the calling thread. Returns
    /// 0 without a descriptor that is ready when may_sleep() says so.
    int poll(pollfd* set, nfds_t count, int timeout_ms, ChildEvents& events);

private:
    enum class State { kIdle, kArmed, kRung };
    bool drain(ChildEvents& events);
    void wait(ChildEvents& events);
    int collect(pollfd* set, nfds_t count);
    void ring();

    const pid_t waiter_;  ///< thread id
    Fd recall_;           ///< makes the other thread's poll(2) return
    std::mutex mutex_;
    std::condition_variable changed_;
    State state_ = State::kIdle;
    bool stopping_ = false;
    int timeout_ms_ = -1;
    int ready_ = 0;
    std::vector<pollfd> set_;  ///< of the other thread while kArmed
    std::atomic<bool> rung_ = false;
    std::atomic<bool> sleeping_ = false;
    std::thread ringer_;
};

}  // namespace berth::node
