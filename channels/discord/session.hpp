// SPDX-License-Identifier: Apache-2.0
// A session of the Gateway: what resumes it, what its ends mean, and how it outlives the process.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "chat/platform.hpp"
#include "core/json.hpp"
#include "core/secret.hpp"

namespace berth::discord {

struct Session {
    std::string id;
    std::string url;       ///< where it is resumed
    std::int64_t seq = 0;  ///< the last event that was stored
    bool empty() const { return id.empty(); }
};

/// What follows a close of the Gateway.
enum class Next {
    kResume,
    kIdentify,
    kRefused,  ///< the token is refused
    kStop,     ///< a mistake that trying again does not mend
};
struct CloseMeaning {
    Next next = Next::kResume;
    std::string reason;
};
CloseMeaning meaning_of(int code, std::string_view words);

/// The payloads of op 2 and op 6.
Json identify_of(const Secret& token);
Json resume_of(const Secret& token, const Session& session);

/// Holds the session, and leaves it to the next process, also where this one is killed: what is
/// remembered may be a second old, and the events since then come again and are known. Thread-safe.
class SessionKeeper {
public:
    /// Takes up what was remembered.
    Result<void> open(chat::Sink& sink);

    Session session() const;
    void start(Session session);
    void forget();
    /// Events up to `seq` of session `id` are stored.
    void advance(const std::string& id, std::int64_t seq);
    /// Remembers what has changed, once in kRememberEvery, or at once.
    void remember(bool at_once);
    /// Remembers, where that is possible, and lets go of what open() was given.
    void close();

private:
    mutable std::mutex mutex_;
    chat::Sink* sink_ = nullptr;
    Session session_;  // by mutex_, down to remembered_at_
    bool changed_ = false;
    SteadyTime remembered_at_{};
    std::mutex write_mutex_;  // so that an older text never replaces a newer one
};

/// As it is remembered. Empty for a session that is none or too long; reading what is none gives an
/// empty session.
std::string session_text(const Session& session);
Session session_of(std::string_view text);

}  // namespace berth::discord
