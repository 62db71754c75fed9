// SPDX-License-Identifier: Apache-2.0
// A signalfd and one thread: nothing here runs in a signal handler.
#include "cli/interrupts.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>

#include "cli/api.hpp"
#include "cli/attachment.hpp"
#include "cli/context.hpp"

namespace berth::cli {
namespace {
// As long as a canceled run is given to end by itself.
constexpr long long kGraceMs = 10'000;

long long now_ms() {
    return std::chrono::duration_cast<milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch()
    )
        .count();
}
}  // namespace

Interrupts::Interrupts(std::string server, Secret token)
    : server_(std::move(server)), token_(std::move(token)) {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH}) sigaddset(&set, number);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    wake_ = Fd(::eventfd(0, EFD_CLOEXEC));
    thread_ = std::thread([this] { loop(); });
}

Interrupts::~Interrupts() {
    const std::uint64_t one = 1;
    if (::write(wake_.get(), &one, sizeof one) > 0) thread_.join();
}

void Interrupts::set_lease(std::string lease) {
    const std::lock_guard lock(mutex_);
    lease_ = std::move(lease);
}

void Interrupts::set_run(std::string run, Attachment* attachment) {
    const std::lock_guard lock(mutex_);
    run_ = std::move(run);
    attachment_ = attachment;
}

void Interrupts::clear_run() {
    const std::lock_guard lock(mutex_);
    attachment_ = nullptr;
}

void Interrupts::loop() {
    for (;;) {
        std::array<pollfd, 2> polled{{{signals_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
        if (::poll(polled.data(), polled.size(), -1) < 0) continue;
        if (polled[1].revents != 0) return;
        signalfd_siginfo info{};
        while (::read(signals_.get(), &info, sizeof info) == sizeof info)
            handle(static_cast<int>(info.ssi_signo));
    }
}

void Interrupts::handle(int number) {
    std::string run;
    std::string lease;
    {
        const std::lock_guard lock(mutex_);
        run = run_;
        lease = lease_;
        if (number == SIGWINCH) {
            if (attachment_ != nullptr) attachment_->resize();
            return;
        }
    }
    if (!run.empty()) {
        pass_on(number, run);
        return;
    }
    if (!lease.empty()) {
        Api api(server_, token_);
        if (const auto released = api.release(lease); !released)
            write_all(
                STDERR_FILENO,
                fmt::format(
                    "berth: {}; lease {} may still be live: end it with 'berth release {}'\n",
                    released.error().message,
                    lease,
                    lease
                )
            );
    }
    write_all(STDERR_FILENO, "berth: interrupted before the command was started\n");
    ::_exit(128 + number);
}

void Interrupts::pass_on(int number, const std::string& run) {
    Api api(server_, token_);
    if (number == SIGINT) {
        const long long now = now_ms();
        interrupts_ = now - last_interrupt_ms_ <= kGraceMs ? interrupts_ + 1 : 1;
        last_interrupt_ms_ = now;
        if (interrupts_ == 2) {
            const auto canceled = api.cancel(run, "");
            if (!canceled) write_all(STDERR_FILENO, "berth: " + canceled.error().message + "\n");
            return;
        }
        if (interrupts_ > 2) {
            const std::lock_guard lock(mutex_);
            if (attachment_ != nullptr) attachment_->abandon();
            return;
        }
    }
    const auto sent = api.signal(run, number);
    if (!sent)
        write_all(
            STDERR_FILENO,
            fmt::format("berth: the signal did not reach the run: {}\n", sent.error().message)
        );
}

}  // namespace berth::cli
