// SPDX-License-Identifier: Apache-2.0
// Those who carry out what is recorded: create and destroy machines.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "metrics/metrics.hpp"
#include "provisioner/handlers.hpp"
#include "store/leader.hpp"

namespace berth::prov {

/// Applies `change` to the locked row; the code it returns makes the state's event, published after
/// the commit.
Result<void> record(
    store::Pool& pool,
    store::Relay& relay,
    const std::string& machine,
    const Attempts& attempts,
    const std::function<std::optional<std::string>(Resource&)>& change,
    bool cleanable = false
);

/// Worker threads over the table of resources, each driver's own, so that a slow provider holds up
/// nobody else's machines. The intent was recorded by a handler; an actor locks
/// the machine (an advisory lock on its own connection: a killed actor holds nothing), calls the
/// driver, and records the result with its event. A kill -9 in between leaves the intent, and the
/// next actor repeats the call, which drivers make harmless.
class Actors {
public:
    struct Parts {
        store::Pool& pool;
        store::PoolSettings database;
        store::Relay& relay;
        metrics::Registry& metrics;
        const Drivers& drivers;
    };
    explicit Actors(Parts parts);
    ~Actors();
    void start();
    void stop();
    /// Something may be due. Any thread.
    void wake();

private:
    void run(const std::string& driver);
    bool act(store::Connection& connection, const std::string& machine);
    Result<void> carry_out(const Resource& resource);
    Result<void> carry_out_destroy(const Resource& resource, Driver& driver);

    const Parts parts_;
    metrics::Counter created_;
    metrics::Counter destroyed_;
    metrics::Counter failures_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;    // by mutex_
    std::uint64_t wakes_ = 0;  // by mutex_
    std::vector<std::thread> threads_;
};

}  // namespace berth::prov
