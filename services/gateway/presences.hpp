// SPDX-License-Identifier: Apache-2.0
// Which services and machines say they are alive.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "berth/gateway/v1/gateway.pb.h"
#include "berth/lease/v1/lease.pb.h"
#include "bus/connection.hpp"

namespace berth::gateway {

/// Hears berth.live.<service>.<instance>, and of machines that go. Thread-safe.
class Presences {
public:
    Result<void> start(bus::Connection& bus);
    void stop() { receivers_.clear(); }
    /// Services, and the machines of `org`. One that is silent for kSilentPresence is told as not
    /// ready.
    v1::Status status(const std::string& org, WallTime now);
    /// Adds how the machine guards its commands, as it said it last; nothing where it is silent.
    void describe(lease::v1::Machine& machine, WallTime now);
    void hear(const bus::Message& message, WallTime now);
    /// An event of the lease broker about a machine: one that is removed is not ready, whatever its
    /// last word was, and one that is gone is not told of any more.
    void hear_machine(const bus::Message& message, WallTime now);

private:
    struct Entry {
        v1::Status::Service service;
        std::string org;  // of a machine; empty for services
        WallTime seen;
        std::string leaving;  // why it is no longer anybody's
        bool gone = false;    // a word of it that comes late is not believed
    };
    std::mutex mutex_;
    std::map<std::string, Entry> entries_;  // by mutex_
    std::vector<std::unique_ptr<bus::Receiver>> receivers_;
};

}  // namespace berth::gateway
