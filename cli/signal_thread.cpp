// SPDX-License-Identifier: Apache-2.0
// A signalfd and one thread.
#include "cli/signal_thread.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>

namespace berth::cli {

SignalThread::SignalThread(const std::vector<int>& numbers, std::function<void(int number)> handle)
    : handle_(std::move(handle)) {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : numbers) sigaddset(&set, number);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    wake_ = Fd(::eventfd(0, EFD_CLOEXEC));
    thread_ = std::thread([this] { loop(); });
}

SignalThread::~SignalThread() {
    const std::uint64_t one = 1;
    if (::write(wake_.get(), &one, sizeof one) > 0) thread_.join();
}

void SignalThread::loop() {
    for (;;) {
        std::array<pollfd, 2> polled{{{signals_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
        if (::poll(polled.data(), polled.size(), -1) < 0) continue;
        if (polled[1].revents != 0) return;
        signalfd_siginfo info{};
        while (::read(signals_.get(), &info, sizeof info) == sizeof info)
            handle_(static_cast<int>(info.ssi_signo));
    }
}

}  // namespace berth::cli
