// SPDX-License-Identifier: Apache-2.0
// Which services and machines say they are alive.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "berth/gateway/v1/gateway.pb.h"
#include "bus/connection.hpp"

namespace berth::gateway {

/// Hears berth.live.<service>.<instance>. Thread-safe.
class Presences {
public:
    Result<void> start(bus::Connection& bus);
    void stop() { receiver_.reset(); }
    /// Services, and the machines of `org`. One that is silent for kSilentPresence is told as not
    /// ready.
    v1::Status status(const std::string& org, WallTime now);
    void hear(const bus::Message& message, WallTime now);

private:
    struct Entry {
        v1::Status::Service service;
        std::string org;  // of a machine; empty for services
        WallTime seen;
    };
    std::mutex mutex_;
    std::map<std::string, Entry> entries_;  // by mutex_
    std::unique_ptr<bus::Receiver> receiver_;
};

}  // namespace berth::gateway
