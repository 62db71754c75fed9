// SPDX-License-Identifier: Apache-2.0
// Wakes those who wait for something to happen to one lease or run.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bus/connection.hpp"

namespace berth::gateway {

/// Listens to the events of leases, their shares and runs of every org and wakes the watchers of
/// the entity. At most once: a watcher that must not miss anything looks by itself now and then.
/// Thread-safe.
class EventHub {
public:
    EventHub() : state_(std::make_shared<State>()) {}
    Result<void> start(bus::Connection& bus);
    void stop() { receivers_.clear(); }

    /// Calls `wake` on a bus thread at each event of `noun` ("lease", "run", or "share" of a lease)
    /// `id` until the handle is dropped; a call under way may still end after that. `wake` must not
    /// wait.
    std::shared_ptr<void> watch(
        const std::string& org,
        const std::string& noun,
        const std::string& id,
        std::function<void()> wake
    );

    /// Of an event's subject; for tests and the hub itself.
    void hear(const std::string& subject);

private:
    using Wake = std::shared_ptr<const std::function<void()>>;
    struct State {
        std::mutex mutex;
        std::multimap<std::string, Wake> watchers;  // by mutex
    };
    std::shared_ptr<State> state_;
    std::vector<std::unique_ptr<bus::Receiver>> receivers_;
};

}  // namespace berth::gateway
