// SPDX-License-Identifier: Apache-2.0
// What INT, TERM, HUP, QUIT and WINCH do to `berth run`, before and while the run is there.
#pragma once

#include <mutex>
#include <string>

#include "cli/signal_thread.hpp"
#include "core/secret.hpp"

namespace berth::cli {

class Attachment;

/// Takes these signals off the whole process (make it before any other thread) and handles them on
/// a thread of its own until destroyed. Before a run is set, a signal ends the process with 128 +
/// n, releasing the lease if that is ours. Then it is passed to the run: a second INT within 10 s
/// cancels it, a third leaves it.
class Interrupts {
public:
    Interrupts(std::string server, Secret token);
    ~Interrupts();
    Interrupts(const Interrupts&) = delete;
    Interrupts& operator=(const Interrupts&) = delete;

    /// A lease to give back if the process is interrupted before the run.
    void set_lease(std::string lease);
    /// From now on signals are the run's. `attachment` must outlive this or clear_run().
    void set_run(std::string run, Attachment* attachment);
    void clear_run();

private:
    void handle(int number);
    void pass_on(int number, const std::string& run);

    const std::string server_;
    const Secret token_;
    std::mutex mutex_;
    // Guarded by mutex_.
    std::string lease_;
    std::string run_;
    Attachment* attachment_ = nullptr;
    // Of the thread alone.
    int interrupts_ = 0;
    long long last_interrupt_ms_ = 0;
    SignalThread thread_;
};

}  // namespace berth::cli
