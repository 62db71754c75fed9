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
    Limiter(Rate per_chat, Rate overall) : per_chat_(per_chat), overall_(overall) {}

    /// How many messages may go out now, over all chats; 0 while the platform asked for silence.
    std::size_t available(SteadyTime now);
    /// Chats that must wait, for the route ("post", "edit"): no budget left beyond `reserve`, or
    /// told to pause.
    std::vector<std::string> held_back(
        std::string_view route, SteadyTime now, double reserve = 0.0
    );
    /// One message went to the chat.
    void take(const std::string& chat, SteadyTime now);
    /// 429: nothing on this route to this chat until then.
    void pause(const std::string& chat, std::string_view route, SteadyTime until);
    /// When something that is held back now may go on; `idle` from now where nothing is.
    milliseconds next(SteadyTime now, milliseconds idle);

private:
    struct Bucket {
        double tokens = 0;
        SteadyTime at{};
        /// Fills up since `at`.
        void fill(const Rate& rate, SteadyTime now);
    };
    struct Chat {
        Bucket bucket;
        std::unordered_map<std::string, SteadyTime> paused;  // by route
        bool idle(const Rate& rate, SteadyTime now) const;
    };
    void forget(SteadyTime now);

    const Rate per_chat_;
    const Rate overall_;
    Bucket all_;
    bool begun_ = false;
    std::unordered_map<std::string, Chat> chats_;
};

}  // namespace berth::chat
