// SPDX-License-Identifier: Apache-2.0
// Keeps a lease from going idle while its client works with it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "berth/lease/v1/lease.pb.h"
#include "core/secret.hpp"
#include "core/time.hpp"

namespace berth::cli {

/// Sends a heartbeat every 20 s, more often where the lease is idle sooner, on a thread of its own
/// until destroyed. Failures are not told: the run does not depend on one heartbeat, and a lost
/// gateway is noticed by whoever reads the output.
class Heartbeat {
public:
    Heartbeat(std::string server, Secret token, const lease::v1::Lease& lease);
    ~Heartbeat();
    Heartbeat(const Heartbeat&) = delete;
    Heartbeat& operator=(const Heartbeat&) = delete;

private:
    void beat(const std::string& server, const Secret& token, const std::string& lease);
    const milliseconds every_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace berth::cli
