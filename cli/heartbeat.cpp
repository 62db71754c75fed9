// SPDX-License-Identifier: Apache-2.0
// One thread, one connection, one request at a time.
#include "cli/heartbeat.hpp"

#include <algorithm>

#include "cli/api.hpp"

namespace berth::cli {
namespace {
constexpr milliseconds kEvery{20'000};
constexpr milliseconds kMostOften{250};

/// A third of the idle timeout, so that two may be lost.
milliseconds interval_of(const lease::v1::Lease& lease) {
    const milliseconds idle = seconds{lease.idle_timeout().seconds()};
    return idle.count() == 0 ? kEvery : std::clamp(idle / 3, kMostOften, kEvery);
}
}  // namespace

Heartbeat::Heartbeat(std::string server, Secret token, const lease::v1::Lease& lease)
    : every_(interval_of(lease)),
      thread_([this, server = std::move(server), token = std::move(token), id = lease.id()] {
          beat(server, token, id);
      }) {}

Heartbeat::~Heartbeat() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

void Heartbeat::beat(const std::string& server, const Secret& token, const std::string& lease) {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, every_, [this] { return stop_; })) {
        lock.unlock();
        Api api(server, token);  // anew each time: an idle connection would long be closed
        const auto ignored = api.heartbeat(lease);
        static_cast<void>(ignored);
        lock.lock();
    }
}

}  // namespace berth::cli
