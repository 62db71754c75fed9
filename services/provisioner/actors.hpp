// SPDX-License-Identifier: Apache-2.0
// Those who carry out what is recorded: create and destroy machines, tend them, and compare both
// sides.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "metrics/metrics.hpp"
#include "provisioner/handlers.hpp"
#include "store/leader.hpp"

namespace berth::prov {

/// Worker threads over the table of resources. The intent was recorded by a handler; an actor locks
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

    /// One look after ready machines, and after machines the provider has but the table does not
    /// want (a reconciler that cannot list does nothing). Called by the leader.
    Result<void> tend(std::int64_t fence);

private:
    void run();
    bool act(store::Connection& connection, const std::string& machine);
    Result<void> carry_out(const Resource& resource);
    /// Applies `change` to the locked row and publishes what it decided.
    Result<void> record(
        const std::string& machine,
        const std::function<std::optional<std::string>(Resource&)>& change
    );

    const Parts parts_;
    metrics::Counter created_;
    metrics::Counter destroyed_;
    metrics::Counter failures_;
    metrics::Counter orphans_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;    // by mutex_
    std::uint64_t wakes_ = 0;  // by mutex_
    std::vector<std::thread> threads_;
};

}  // namespace berth::prov
