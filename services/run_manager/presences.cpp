// SPDX-License-Identifier: Apache-2.0
// Heard, judged, forgotten.
#include "run_manager/presences.hpp"

#include "run_manager/settings.hpp"
#include "service/machine_presence.hpp"

namespace berth::run {

Result<void> Presences::listen(bus::Connection& bus) {
    const auto hear_one = [this](const std::string& machine, const node::v1::Presence& presence) {
        hear(
            machine,
            {presence.runs().begin(), presence.runs().end()},
            std::chrono::steady_clock::now()
        );
    };
    BERTH_ASSIGN(receiver_, service::hear_machines(bus, hear_one));
    return {};
}

void Presences::hear(const std::string& machine, std::set<std::string> runs, SteadyTime at) {
    const std::lock_guard lock(mutex_);
    heard_[machine] = {at, std::move(runs)};
    // Not before a look has seen it silent.
    std::erase_if(heard_, [&](const auto& entry) {
        return at - entry.second.at > 2 * kMachineSilence;
    });
}

void Presences::forget_all() {
    const std::lock_guard lock(mutex_);
    heard_.clear();
}

Presences::Verdict Presences::judge(
    const std::string& machine, const std::string& run, SteadyTime now
) {
    const std::lock_guard lock(mutex_);
    const Word& word = heard_.try_emplace(machine, Word{now, std::nullopt}).first->second;
    if (now - word.at > kMachineSilence) return Verdict::kSilent;
    if (word.runs && !word.runs->contains(run)) return Verdict::kHasNoSuchRun;
    return Verdict::kSpeaks;
}

}  // namespace berth::run
