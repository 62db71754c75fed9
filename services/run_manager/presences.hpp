// SPDX-License-Identifier: Apache-2.0
// Which machines speak, and which runs they say they have, as this replica hears them.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "bus/connection.hpp"
#include "core/time.hpp"

namespace berth::run {

/// Thread-safe. A machine that is judged for the first time counts as heard at that moment: what it
/// said before may have gone by while nobody could hear it, so each has the whole of
/// kMachineSilence before it is called silent.
class Presences {
public:
    enum class Verdict {
        kSpeaks,       // and did not deny that it has the run
        kSilent,       // for longer than kMachineSilence
        kHasNoSuchRun  // it speaks, and its last word did not list the run
    };

    Result<void> listen(bus::Connection& bus);
    void stop() { receiver_.reset(); }
    void hear(const std::string& machine, std::set<std::string> runs, SteadyTime at);
    /// Nobody can be heard at the moment, so nobody is silent.
    void forget_all();
    Verdict judge(const std::string& machine, const std::string& run, SteadyTime now);

private:
    struct Word {
        SteadyTime at;
        std::optional<std::set<std::string>> runs;  // nothing until it has really spoken
    };
    std::mutex mutex_;
    std::map<std::string, Word> heard_;  // by mutex_
    std::unique_ptr<bus::Receiver> receiver_;
};

}  // namespace berth::run
