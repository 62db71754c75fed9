// SPDX-License-Identifier: Apache-2.0
// Heard, kept for a minute, forgotten.
#include "warden/presences.hpp"

#include "core/id.hpp"
#include "service/machine_presence.hpp"
#include "warden/settings.hpp"

namespace berth::warden {

Result<void> Presences::listen(bus::Connection& bus) {
    const auto hear_one = [this](const std::string& machine, const node::v1::Presence& presence) {
        if (is_subject_token(presence.org()))
            hear(machine, presence.org(), std::chrono::steady_clock::now());
    };
    BERTH_ASSIGN(receiver_, service::hear_machines(bus, hear_one));
    return {};
}

void Presences::hear(const std::string& machine, const std::string& org, SteadyTime at) {
    const std::lock_guard lock(mutex_);
    heard_[machine] = {org, at};
    std::erase_if(heard_, [&](const auto& entry) {
        return at - entry.second.at > kMachineSilence;
    });
}

std::set<std::string> Presences::machines(const std::string& org) const {
    const SteadyTime now = std::chrono::steady_clock::now();
    const std::lock_guard lock(mutex_);
    std::set<std::string> out;
    for (const auto& [machine, heard] : heard_) {
        if (heard.org == org && now - heard.at <= kMachineSilence) out.insert(machine);
    }
    return out;
}

std::set<std::string> Presences::orgs() const {
    const SteadyTime now = std::chrono::steady_clock::now();
    const std::lock_guard lock(mutex_);
    std::set<std::string> out;
    for (const auto& [machine, heard] : heard_) {
        if (now - heard.at <= kMachineSilence) out.insert(heard.org);
    }
    return out;
}

}  // namespace berth::warden
