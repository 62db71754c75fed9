// SPDX-License-Identifier: Apache-2.0
// The beat of each org: which policy and which halts are in force, said again and again.
#pragma once

#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "service/runtime.hpp"
#include "warden/handlers.hpp"

namespace berth::warden {

/// The leader says every org's beat by the clock (look). Every replica says one org's at once when
/// it hears, by warden's own events, that policy, grants or halts changed: a beat is read from the
/// database and carries its revision, so two that say it do no harm, and whoever hears an older
/// revision after a newer one ignores it.
class Beats {
public:
    static constexpr const char* kOffice = "beats";

    Beats(WardenHandlers& handlers, Presences& presences, service::Runtime& runtime);
    ~Beats() { stop(); }
    Beats(const Beats&) = delete;
    Beats& operator=(const Beats&) = delete;

    Result<void> start();
    void stop();
    Result<void> look(std::int64_t fence);

private:
    Result<void> say(const std::string& org);
    void run();

    WardenHandlers& handlers_;
    Presences& presences_;
    service::Runtime& runtime_;
    metrics::Counter said_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::set<std::string> orgs_;  // by mutex_: whose beat is due at once
    bool stopping_ = false;       // by mutex_
    std::unique_ptr<bus::Receiver> receiver_;
    std::thread thread_;
};

}  // namespace berth::warden
