// SPDX-License-Identifier: Apache-2.0
// A session of the Gateway: what resumes it, what its ends mean, and where it is kept over a crash.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "core/fd.hpp"
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

/// Holds the session, and in a file (where one is named) what a process killed at any moment leaves
/// to the next. Thread-safe.
class SessionKeeper {
public:
    /// Reads what the file holds; a file that cannot be read or written is told by usable().
    explicit SessionKeeper(std::string path);
    std::string problem() const;

    Session session() const;
    void start(Session session);
    void forget();
    /// Events up to `seq` of session `id` are stored.
    void advance(const std::string& id, std::int64_t seq);

private:
    void write();

    mutable std::mutex mutex_;
    Session session_;
    Fd file_;
    std::string problem_;
};

/// The file's text: one line of fixed length, so that one write replaces it whole. Empty for a
/// session too long for it; an empty session for text that is none.
std::string session_text(const Session& session);
Session session_of(std::string_view text);

}  // namespace berth::discord
