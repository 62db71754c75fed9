// SPDX-License-Identifier: Apache-2.0
// Which machines of which org live, as this replica hears them.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "bus/connection.hpp"
#include "core/time.hpp"

namespace berth::warden {

/// Thread-safe.
class Presences {
public:
    Result<void> listen(bus::Connection& bus);
    void stop() { receiver_.reset(); }
    /// Machines of the org heard within kMachineSilence.
    std::set<std::string> machines(const std::string& org) const;
    /// Orgs that have such machines.
    std::set<std::string> orgs() const;
    void hear(const std::string& machine, const std::string& org, SteadyTime at);

private:
    struct Heard {
        std::string org;
        SteadyTime at;
    };
    mutable std::mutex mutex_;
    std::map<std::string, Heard> heard_;  // by mutex_
    std::unique_ptr<bus::Receiver> receiver_;
};

}  // namespace berth::warden
