// SPDX-License-Identifier: Apache-2.0
// From the bus into the tables: events that somebody subscribes to, many in one transaction.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "bus/connection.hpp"
#include "metrics/metrics.hpp"
#include "store/postgres.hpp"

namespace berth::webhook {

/// Drains durable EVT/webhook. An event is acknowledged when its deliveries are stored: a kill
/// loses none, and one that comes again is known by its ce-id. start() and stop() by one thread, as
/// often as it likes.
class Intake {
public:
    struct Parts {
        bus::Connection& bus;
        store::Pool& pool;
        metrics::Registry& metrics;
        /// Held while rows are stored: results count the same rows, and both would wait for each
        /// other.
        std::mutex& writing;
        /// Subscribers with something new; called on the intake's thread.
        std::function<void(const std::set<std::string>&)> stored;
    };
    explicit Intake(Parts parts);
    ~Intake();
    Intake(const Intake&) = delete;
    Intake& operator=(const Intake&) = delete;

    Result<void> start();
    void stop();

private:
    void take(bus::Delivery delivery);
    void run();
    Result<std::set<std::string>> store(const std::deque<bus::Delivery>& batch);

    const Parts parts_;
    metrics::Counter events_;
    metrics::Counter deliveries_;
    metrics::Counter malformed_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<bus::Delivery> waiting_;  // by mutex_
    bool stopping_ = true;               // by mutex_
    std::unique_ptr<bus::Receiver> receiver_;
    std::thread thread_;
};

}  // namespace berth::webhook
