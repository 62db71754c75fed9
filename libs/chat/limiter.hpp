// SPDX-License-Identifier: Apache-2.0
// How fast a bridge may speak: a budget per chat and one for all, and the pauses that the platform
// asked for.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "chat/platform.hpp"
#include "core/time.hpp"

namespace berth::chat {

/// Pure but for the time it is given. One thread.
class Limiter {
public:
    using RateOf = Rate (*)(std::string_view chat);
    /// `rate_of` where chats differ.
    Limiter(Rate per_chat, Rate overall, RateOf rate_of = nullptr)
        : per_chat_(per_chat), overall_(overall), rate_of_(rate_of) {}

    /// How many messages may go out now on the route, over all chats; 0 while the platform asked
    /// for silence.
    std::size_t available(std::string_view route, SteadyTime now);
    /// Chats that must wait, for the route ("post", "edit"): no budget left beyond `reserve`, or
    /// told to pause.
    std::vector<std::string> held_back(
        std::string_view route, SteadyTime now, double reserve = 0.0
    );
    /// One message went to the chat.
    void take(const std::string& chat, SteadyTime now);
    /// 429: nothing on this route to this chat until then.
    void pause(const std::string& chat, std::string_view route, SteadyTime until);
    /// Likewise to any chat.
    void pause_all(std::string_view route, SteadyTime until);
    bool paused(const std::string& chat, std::string_view route, SteadyTime now) const;
    /// When something that is held back now may go on; `idle` from now where nothing is.
    milliseconds next(SteadyTime now, milliseconds idle);

private:
    struct Bucket {
        double tokens = 0;
        SteadyTime at{};
        /// Fills up since `at`.
        void fill(const Rate& rate, SteadyTime now);
    };
    using Pauses = std::unordered_map<std::string, SteadyTime>;  // by route
    struct Chat {
        Rate rate;
        Bucket bucket;
        Pauses paused;
        bool idle(SteadyTime now) const;
    };
    void forget(SteadyTime now);
    Chat& chat_of(const std::string& chat, SteadyTime now);
    std::size_t left(SteadyTime now);
    static bool holds(const Pauses& pauses, std::string_view route, SteadyTime now);

    const Rate per_chat_;
    const Rate overall_;
    const RateOf rate_of_;
    Bucket all_;
    Pauses paused_;
    bool begun_ = false;
    std::unordered_map<std::string, Chat> chats_;
};

}  // namespace berth::chat
