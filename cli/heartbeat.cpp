// SPDX-License-Identifier: Apache-2.0
// One thread, one connection, one request every 20 s.
#include "cli/heartbeat.hpp"

#include "cli/api.hpp"

namespace berth::cli {
namespace {
// A third of the shortest idle timeout that makes sense, so that two may be lost.
constexpr seconds kEvery{20};
}  // namespace

Heartbeat::Heartbeat(std::string server, Secret token, std::string lease)
    : thread_(
          [this, server = std::move(server), token = std::move(token), lease = std::move(lease)] {
              beat(server, token, lease);
          }
      ) {}

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
    while (!wake_.wait_for(lock, kEvery, [this] { return stop_; })) {
        lock.unlock();
        Api api(server, token);  // anew each time: an idle connection would long be closed
        const auto ignored = api.heartbeat(lease);
        static_cast<void>(ignored);
        lock.lock();
    }
}

}  // namespace berth::cli
