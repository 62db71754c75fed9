// SPDX-License-Identifier: Apache-2.0
// Supervised children: started, watched, logged, restarted with backoff and stopped in order.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/up/log_file.hpp"
#include "core/fd.hpp"
#include "core/result.hpp"
#include "core/time.hpp"
#include "process/spawn.hpp"

namespace berth::cli::up {

/// What to supervise.
struct PartSpec {
    std::string name;
    std::filesystem::path log;
    /// Called before each start; what must be removed or written first is done here.
    std::function<Result<process::SpawnSpec>()> make;
    /// Empty when ready, else why not. Quick: it is asked every 10 ms while the part starts, then
    /// every second.
    std::function<std::string(pid_t pid)> not_ready;
    int stop_signal = 15;
    milliseconds stop_grace{10'000};
    /// The signal it gets when we die.
    int death_signal = 15;
};

enum class PartState { kWaiting, kStarting, kReady, kFailed, kStopped };
std::string_view to_string(PartState state);

/// One part as it is now.
struct PartView {
    std::string name;
    PartState state = PartState::kWaiting;
    pid_t pid = 0;
    std::string reason;  ///< why it is not ready
    int restarts = 0;
};

/// Owns the children of this process. Used by one thread, which must live as long as the children
/// shall.
class Children {
public:
    Children();
    ~Children();

    void add(PartSpec spec);
    /// Starts those that wait and whose names are given.
    void start(const std::vector<std::string>& names);
    /// Waits up to `patience` for something to happen (an end, output, `extra_fd` readable), then
    /// looks after everything once. Patience is cut to 10 ms while a part is starting.
    void tend(milliseconds patience, int extra_fd);
    /// Ends these: signal, each one's grace, SIGKILL. Their output is logged meanwhile.
    void stop(const std::vector<std::string>& names);

    bool all_ready(const std::vector<std::string>& names) const;
    std::vector<PartView> view() const;
    /// Grows with every change of view().
    unsigned long changes() const { return changes_; }

private:
    struct Part;
    void launch(Part& part);
    void look_after(Part& part);
    void ended(Part& part, const process::ExitStatus& status);
    void set(Part& part, PartState state, std::string reason);
    Part* find(const std::string& name);

    std::vector<std::unique_ptr<Part>> parts_;
    unsigned long changes_ = 0;
};

}  // namespace berth::cli::up
