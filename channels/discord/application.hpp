// SPDX-License-Identifier: Apache-2.0
// Who the bot is, its commands, and the signatures of the interactions endpoint.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "discord/api.hpp"
#include "discord/wire.hpp"

namespace berth::discord {

/// Thread-safe.
class Application {
public:
    Application(Api& api, std::vector<Verb> verbs) : api_(api), verbs_(std::move(verbs)) {}

    /// Asks Discord who the bot is and puts its commands; the answer that failed, or the last one.
    Answer load(Bot& bot);
    enum class Verdict { kGood, kForged, kOld, kNotYet };
    /// Of a request to the interactions endpoint.
    Verdict verify(const chat::WebRequest& request, WallTime now) const;

private:
    Api& api_;
    const std::vector<Verb> verbs_;
    mutable std::mutex mutex_;
    std::string key_;  // by mutex_: 32 raw bytes, empty until load() succeeded
};

}  // namespace berth::discord
