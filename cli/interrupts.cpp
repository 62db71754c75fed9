// SPDX-License-Identifier: Apache-2.0
// What each signal does, on a thread: nothing here runs in a signal handler.
#include "cli/interrupts.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "cli/api.hpp"
#include "cli/attachment.hpp"
#include "cli/context.hpp"
#include "cli/lease_choice.hpp"
#include "core/fd.hpp"

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
    : server_(std::move(server)),
      token_(std::move(token)),
      thread_({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH}, [this](int number) {
          handle(number);
      }) {}

Interrupts::~Interrupts() = default;

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
                STDERR_FILENO, "berth: " + with_lease_left(released.error(), lease).message + "\n"
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
