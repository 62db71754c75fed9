// SPDX-License-Identifier: Apache-2.0
// One thread in waitpid(2), the other in poll(2). A signal that comes just before waitpid(2) is
// lost on it: it is sent again until it was heard.
#include "node_agent/child_wait.hpp"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>

namespace berth::node {
namespace {

constexpr std::chrono::milliseconds kRingAgain{1};
constexpr int kMostInRow = 64;  // of children's events before descriptors are looked at

/// Interrupts waitpid(2) by coming.
void on_ring(int) {}

/// linux/sched/types.h, which cannot stand beside the C library's own.
struct SchedAttributes {
    std::uint32_t size = sizeof(SchedAttributes);
    std::uint32_t policy = 0;  // SCHED_OTHER
    std::uint64_t flags = 0;
    std::int32_t nice = 0;
    std::uint32_t priority = 0;
    std::uint64_t runtime = 0;
    std::uint64_t deadline = 0;
    std::uint64_t period = 0;
};

/// Whoever stopped stands still until this thread has its turn, which on busy processors comes
/// after the slice of another, milliseconds each time. A thread with short slices of its own is let
/// in at once (Linux 6.12; older ones take no notice), with no more of the processor than before.
void take_short_turns() {
    constexpr std::uint64_t kSliceNs = 100'000;  // the shortest that there is
    SchedAttributes own;
    if (::syscall(SYS_sched_getattr, 0, &own, sizeof own, 0) != 0 || own.policy != 0) return;
    own.flags = 0;
    own.runtime = kSliceNs;
    (void)::syscall(SYS_sched_setattr, 0, &own, 0);
}

}  // namespace

ChildWait::ChildWait()
    : waiter_(static_cast<pid_t>(::syscall(SYS_gettid))),
      recall_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    struct sigaction heard {};
    heard.sa_handler = on_ring;  // without SA_RESTART
    ::sigaction(SIGURG, &heard, nullptr);
    struct sigaction child {};
    child.sa_handler = SIG_DFL;
    child.sa_flags = SA_NOCLDSTOP;
    ::sigaction(SIGCHLD, &child, nullptr);
    take_short_turns();
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);  // the other thread takes no signals
    ringer_ = std::thread([this] { ring(); });
    ::sigdelset(&before, SIGURG);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ChildWait::~ChildWait() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    const std::uint64_t one = 1;
    (void)!::write(recall_.get(), &one, sizeof one);
    changed_.notify_all();
    ringer_.join();
}

void ChildWait::ring() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return stopping_ || state_ == State::kArmed; });
        if (stopping_) return;
        lock.unlock();
        const int ready = ::poll(set_.data(), set_.size(), timeout_ms_);
        lock.lock();
        ready_ = ready;
        state_ = State::kRung;
        rung_ = true;
        changed_.notify_all();
        while (state_ == State::kRung && !stopping_) {
            if (sleeping_) ::syscall(SYS_tgkill, ::getpid(), waiter_, SIGURG);
            changed_.wait_for(lock, kRingAgain);
        }
    }
}

/// False: may_sleep() wants the caller back.
bool ChildWait::drain(ChildEvents& events) {
    for (int i = 0; i < kMostInRow; ++i) {
        int status = 0;
        const pid_t pid = ::waitpid(-1, &status, __WALL | WNOHANG);
        if (pid < 0 && errno == EINTR) continue;
        if (pid <= 0) return events.may_sleep();
        events.on_child_status(pid, status);
    }
    return true;
}

void ChildWait::wait(ChildEvents& events) {
    while (!rung_) {
        int status = 0;
        sleeping_ = true;
        const pid_t pid = ::waitpid(-1, &status, __WALL);
        sleeping_ = false;
        if (pid > 0) {
            events.on_child_status(pid, status);
            if (!drain(events)) return;
        } else if (errno == ECHILD) {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return state_ == State::kRung; });
        }
    }
}

/// What the other thread found, once it has ended looking.
int ChildWait::collect(pollfd* set, nfds_t count) {
    const std::uint64_t one = 1;
    std::unique_lock lock(mutex_);
    if (state_ == State::kArmed) (void)!::write(recall_.get(), &one, sizeof one);
    changed_.wait(lock, [this] { return state_ == State::kRung; });
    std::uint64_t ignored = 0;
    (void)!::read(recall_.get(), &ignored, sizeof ignored);
    int ready = 0;
    for (nfds_t i = 0; i < count; ++i) {
        set[i].revents = ready_ > 0 ? set_[i].revents : short{0};
        ready += set[i].revents != 0 ? 1 : 0;
    }
    state_ = State::kIdle;
    rung_ = false;
    changed_.notify_all();
    return ready;
}

int ChildWait::poll(pollfd* set, nfds_t count, int timeout_ms, ChildEvents& events) {
    const bool may_sleep = drain(events);
    // Where much is to be done the other thread is left alone.
    const int ready = ::poll(set, count, 0);
    if (ready != 0 || timeout_ms == 0 || !may_sleep) return ready;
    {
        const std::lock_guard lock(mutex_);
        set_.assign(set, set + count);
        set_.push_back({recall_.get(), POLLIN, 0});
        timeout_ms_ = timeout_ms;
        state_ = State::kArmed;
    }
    changed_.notify_all();
    wait(events);
    return collect(set, count);
}

}  // namespace berth::node
