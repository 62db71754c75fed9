// SPDX-License-Identifier: Apache-2.0
// A few threads, so that one slow answer does not make the others late.
#include "discord/interactions.hpp"

#include "log/log.hpp"

namespace berth::discord {
namespace {

constexpr int kAlreadyAcknowledged = 40'060;

}  // namespace

void Interactions::start() { crew_.start(kAckThreads); }

void Interactions::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    crew_.stop();
}

void Interactions::expect(const std::string& interaction) {
    const std::lock_guard lock(mutex_);
    states_.emplace(interaction, State::kPending);
    while (states_.size() > kMaxInteractions) states_.erase(states_.begin());
}

void Interactions::answer(const Told& told) {
    Task task{told.interaction, told.token, told.answer};
    while (!crew_.give(std::move(task))) {
        // The oldest is the latest already.
        if (const auto oldest = crew_.take_back()) set(oldest->interaction, State::kDead);
    }
}

void Interactions::set(const std::string& interaction, State state) {
    {
        const std::lock_guard lock(mutex_);
        states_[interaction] = state;
    }
    changed_.notify_all();
}

Interactions::State Interactions::state(const std::string& interaction) {
    std::unique_lock lock(mutex_);
    const auto known = [&] {
        const auto found = states_.find(interaction);
        return found == states_.end() ? State::kUnknown : found->second;
    };
    changed_.wait_for(lock, kAckWait, [&] { return stopping_ || known() != State::kPending; });
    return known();
}

bool Interactions::take(const std::string& interaction) {
    const std::lock_guard lock(mutex_);
    const auto found = states_.find(interaction);
    if (found == states_.end() || found->second != State::kOpen) return false;
    found->second = State::kUsed;
    return true;
}

void Interactions::acknowledge(Task& task) {
    Call call;
    call.method = "POST";
    call.route = "/interactions/{id}/{token}/callback";
    call.major = task.interaction;
    call.path = "/interactions/" + task.interaction + "/" + task.token + "/callback";
    call.body = std::move(task.body);
    call.by_token = true;
    call.timeout = kAckTimeout;
    const Answer answer = api_.call(call);
    const bool known = answer.body.int_or("code", 0) == kAlreadyAcknowledged;  // it came again
    if (!answer.ok && !known)
        log::info(
            "an interaction was not acknowledged in time",
            {{"interaction", task.interaction}, {"why", answer.error.reason}}
        );
    // Where it is not known, the deferred message is looked for when it is to be filled.
    const bool doubtful = known || answer.error.kind == chat::SendError::Kind::kUnknown;
    set(task.interaction, answer.ok ? State::kOpen : doubtful ? State::kUnknown : State::kDead);
}

}  // namespace berth::discord
