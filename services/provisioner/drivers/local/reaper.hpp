// SPDX-License-Identifier: Apache-2.0
// Node agents are children that nobody waits for: without a reaper each one that ends stays a
// zombie of the provisioner for as long as that lives.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "core/fd.hpp"
#include "process/spawn.hpp"

namespace berth::prov {

/// Takes over children and reaps each when it ends. Thread-safe. Its end leaves them running: they
/// outlive this process, and init reaps them then.
class Reaper {
public:
    Reaper();
    ~Reaper();
    Reaper(const Reaper&) = delete;
    Reaper& operator=(const Reaper&) = delete;

    /// `name` is for the log.
    void take(std::string name, process::Child child);

private:
    void run();
    void wake();

    Fd wake_;
    std::mutex mutex_;
    std::map<pid_t, std::pair<std::string, process::Child>> children_;  // by mutex_
    bool stopping_ = false;                                             // by mutex_
    std::thread thread_;
};

}  // namespace berth::prov
