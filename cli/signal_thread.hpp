// SPDX-License-Identifier: Apache-2.0
// Signals as calls on a thread.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "core/fd.hpp"

namespace berth::cli {

/// Takes signals off the calling thread and those it starts later (make it before any other
/// thread), and calls `handle` for each on a thread of its own until destroyed. They stay blocked
/// after that.
class SignalThread {
public:
    SignalThread(const std::vector<int>& numbers, std::function<void(int number)> handle);
    ~SignalThread();
    SignalThread(const SignalThread&) = delete;
    SignalThread& operator=(const SignalThread&) = delete;

private:
    void loop();
    const std::function<void(int)> handle_;
    Fd signals_;
    Fd wake_;
    std::thread thread_;
};

}  // namespace berth::cli
