// SPDX-License-Identifier: Apache-2.0
// The node's connection to the bus over its lifetime: when one closes for good, another takes its
// place.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "bus/connection.hpp"
#include "node_agent/loop.hpp"

namespace berth::node {

/// All members but the callbacks' origin live on the loop's thread. Connecting and closing happen
/// on a thread of its own, because both may take seconds.
class BusLink {
public:
    struct Events {
        std::function<void(bus::Connection&)> on_up;  ///< make consumers and channels on it
        std::function<void()> on_down;                ///< drop them all, now
        /// Something may have come and gone: after on_up, and when a connection that lives on is
        /// through again.
        std::function<void()> on_again;
    };
    using Done = std::function<void(Result<bus::PubAck>)>;

    BusLink(Loop& loop, bus::ConnectSettings settings, Events events);
    /// After the loop has ended. Calls on_down if it is up.
    ~BusLink();
    BusLink(const BusLink&) = delete;
    BusLink& operator=(const BusLink&) = delete;

    /// Begins to connect, for ever, with a growing pause between attempts.
    void start();
    /// Tells on_down and lets the connection go; for good. Whoever gets the events calls it while
    /// all they touch lives.
    void stop();
    /// The connection, or nullptr while there is none.
    bus::Connection* connection() { return connection_.get(); }
    /// Publishes to a stream; `done` comes on the loop's thread, exactly once while the loop runs,
    /// with unavailable "bus_away" when there is no connection.
    void publish(bus::Message message, Done done);

private:
    void connect_thread();
    void take(std::unique_ptr<bus::Connection> connection, std::uint64_t generation);
    void lose(std::uint64_t generation);

    Loop& loop_;
    bus::ConnectSettings settings_;
    Events events_;
    std::unique_ptr<bus::Connection> connection_;
    std::shared_ptr<void> reconnects_;
    std::uint64_t generation_ = 0;

    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;
    bool wanted_ = false;  // connect once more
    std::uint64_t wanted_generation_ = 0;
    std::unique_ptr<bus::Connection> to_close_;
    std::thread thread_;
};

}  // namespace berth::node
