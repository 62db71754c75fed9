// SPDX-License-Identifier: Apache-2.0
// Between the Gateway and the bridge: events are stored in order, in batches, and only then
// acknowledged and counted as received.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "discord/interactions.hpp"
#include "discord/session.hpp"

namespace berth::discord {

/// One dispatch of the Gateway.
struct Arrival {
    std::string session;
    std::int64_t seq = 0;
    Told told;
};

/// Thread-safe.
class Receiver {
public:
    Receiver(Api& api, Interactions& interactions, SessionKeeper& keeper)
        : api_(api), interactions_(interactions), keeper_(keeper) {}
    ~Receiver() { stop(); }
    void start(chat::Sink& sink);
    void stop();

    /// Waits while the queue is full; false when `given_up` says so, or this stops: then it is as
    /// if it had never come, and a resumed session brings it again.
    bool push(Arrival arrival, const std::function<bool()>& given_up);
    /// True while push() waits.
    bool is_full() const { return waiting_.load() > 0; }
    void wake() { changed_.notify_all(); }

    /// Stores what came by the interactions endpoint, at once.
    Result<void> accept(Told& told);

private:
    void work();
    bool store(std::vector<Arrival>& batch);
    bool find_parent(chat::Inbound& inbound);
    bool pause(milliseconds time);

    Api& api_;
    Interactions& interactions_;
    SessionKeeper& keeper_;
    chat::Sink* sink_ = nullptr;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;  // by mutex_, with queue_
    std::deque<Arrival> queue_;
    std::atomic<int> waiting_{0};
    std::map<std::string, std::string> parents_;  // of work()'s thread: thread → parent, or itself
    std::thread thread_;
};

}  // namespace berth::discord
