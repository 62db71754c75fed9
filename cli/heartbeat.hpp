// SPDX-License-Identifier: Apache-2.0
// Keeps a lease from going idle while its client works with it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "core/secret.hpp"

namespace berth::cli {

/// Sends a heartbeat every 20 s on a thread of its own until destroyed. Failures are not told: the
/// run does not depend on one heartbeat, and a lost gateway is noticed by whoever reads the output.
class Heartbeat {
public:
    Heartbeat(std::string server, Secret token, std::string lease);
    ~Heartbeat();
    Heartbeat(const Heartbeat&) = delete;
    Heartbeat& operator=(const Heartbeat&) = delete;

private:
    void beat(const std::string& server, const Secret& token, const std::string& lease);
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace berth::cli
