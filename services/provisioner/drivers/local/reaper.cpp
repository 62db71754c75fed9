// SPDX-License-Identifier: Apache-2.0
// One thread that sleeps in poll(2) over the children's pidfds.
#include "provisioner/drivers/local/reaper.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <vector>

#include "log/log.hpp"

namespace berth::prov {

Reaper::Reaper() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), thread_([this] { run(); }) {}

Reaper::~Reaper() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake();
    thread_.join();
}

void Reaper::wake() {
    const std::uint64_t one = 1;
    if (::write(wake_.get(), &one, sizeof one) < 0) return;  // full: it is awake
}

void Reaper::take(std::string name, process::Child child) {
    {
        const std::lock_guard lock(mutex_);
        const pid_t pid = child.pid();
        children_.insert_or_assign(pid, std::pair(std::move(name), std::move(child)));
    }
    wake();
}

void Reaper::run() {
    std::vector<pollfd> polled;
    for (;;) {
        polled.assign(1, {wake_.get(), POLLIN, 0});
        {
            const std::lock_guard lock(mutex_);
            if (stopping_) return;
            for (auto it = children_.begin(); it != children_.end();) {
                auto& [name, child] = it->second;
                if (const auto status = child.poll()) {
                    log::info(
                        "node agent ended",
                        {{"machine", name},
                         {"pid", child.pid()},
                         {"code", status->code},
                         {"signal", status->signal}}
                    );
                    it = children_.erase(it);
                    continue;
                }
                polled.push_back({child.pidfd(), POLLIN, 0});
                ++it;
            }
        }
        ::poll(polled.data(), polled.size(), -1);
        std::uint64_t count = 0;
        if (::read(wake_.get(), &count, sizeof count) < 0) continue;  // a child woke us
    }
}

}  // namespace berth::prov
