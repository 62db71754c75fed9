// SPDX-License-Identifier: Apache-2.0
// Interactions under way: their first answers, which must go out within 3 s, and what may still be
// said with their tokens.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>

#include "chat/crew.hpp"
#include "discord/api.hpp"
#include "discord/wire.hpp"

namespace berth::discord {

/// Thread-safe.
class Interactions {
public:
    enum class State {
        kUnknown,  ///< of an earlier process, or forgotten
        kPending,  ///< its first answer is on its way
        kOpen,     ///< answered; the deferred message waits to be filled
        kUsed,     ///< filled
        kDead,     ///< Discord took no first answer
    };

    explicit Interactions(Api& api)
        : api_(api), crew_([this](Task& task) { acknowledge(task); }, kMaxAcks) {}
    ~Interactions() { stop(); }
    void start();
    void stop();

    /// Before its event is stored: whoever answers waits for the first answer.
    void expect(const std::string& interaction);
    /// Sends the first answer, soon. Dropped where too many wait: Discord tells the person.
    void answer(const Told& told);
    void set(const std::string& interaction, State state);
    /// Waits while it is pending, kAckWait at most.
    State state(const std::string& interaction);
    /// Opens, from open to used, once: true for whoever may fill the deferred message.
    bool take(const std::string& interaction);

private:
    struct Task {
        std::string interaction;
        std::string token;
        Json body;
    };
    void acknowledge(Task& task);

    Api& api_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;                // by mutex_, as states_
    std::map<std::string, State> states_;  // ids grow with time: the first is the oldest
    chat::Crew<Task> crew_;
};

}  // namespace berth::discord
