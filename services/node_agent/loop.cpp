// SPDX-License-Identifier: Apache-2.0
// epoll and eventfd behind Loop.
#include "node_agent/loop.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace berth::node {

Result<std::unique_ptr<Loop>> Loop::create() {
    Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!epoll || !wake) return system_error("cannot make the event loop", errno);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = wake.get();
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0)
        return system_error("epoll_ctl", errno);
    return std::unique_ptr<Loop>(new Loop(std::move(epoll), std::move(wake)));
}

void Loop::post(Work work) {
    bool first = false;
    {
        auto inbox = inbox_.lock();
        first = inbox->work.empty();
        inbox->work.push_back(std::move(work));
    }
    const std::uint64_t one = 1;
    if (first) (void)!::write(wake_.get(), &one, sizeof one);
}

void Loop::stop() {
    inbox_.lock()->stopping = true;
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
}

void Loop::watch(int fd, std::uint32_t events, Ready ready) {
    watches_[fd] = std::make_shared<Ready>(std::move(ready));
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void Loop::change(int fd, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Loop::unwatch(int fd) {
    if (watches_.erase(fd) != 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

Loop::Timer Loop::after(milliseconds delay, Work work) {
    const SteadyTime when = std::chrono::steady_clock::now() + delay;
    const Timer id = ++last_timer_;
    timers_.emplace(std::pair{when, id}, std::move(work));
    timer_times_[id] = when;
    return id;
}

void Loop::cancel(Timer timer) {
    const auto found = timer_times_.find(timer);
    if (found == timer_times_.end()) return;
    timers_.erase({found->second, timer});
    timer_times_.erase(found);
}

int Loop::next_timeout() const {
    if (timers_.empty()) return -1;
    const auto left = std::chrono::ceil<milliseconds>(
        timers_.begin()->first.first - std::chrono::steady_clock::now()
    );
    return static_cast<int>(std::clamp<long long>(left.count(), 0, 60'000));
}

void Loop::run_timers() {
    const auto now = std::chrono::steady_clock::now();
    while (!timers_.empty() && timers_.begin()->first.first <= now) {
        auto node = timers_.extract(timers_.begin());
        timer_times_.erase(node.key().second);
        node.mapped()();
    }
}

void Loop::run_posted() {
    std::vector<Work> work;
    {
        auto inbox = inbox_.lock();
        work.swap(inbox->work);
    }
    for (Work& item : work) {
        item();
        item = nullptr;  // what it holds may end here, not with the batch
    }
}

void Loop::run() {
    constexpr int kBatch = 64;
    epoll_event events[kBatch];
    while (!inbox_.lock()->stopping) {
        const int count = ::epoll_wait(epoll_.get(), events, kBatch, next_timeout());
        for (int i = 0; i < count; ++i) {
            const int fd = events[i].data.fd;
            if (fd == wake_.get()) {
                std::uint64_t ignored = 0;
                (void)!::read(fd, &ignored, sizeof ignored);
                continue;
            }
            const auto found = watches_.find(fd);
            if (found == watches_.end()) continue;  // unwatched by an earlier callback
            const std::shared_ptr<Ready> ready = found->second;
            (*ready)(events[i].events);
        }
        run_posted();
        run_timers();
    }
}

}  // namespace berth::node
