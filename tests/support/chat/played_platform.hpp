// SPDX-License-Identifier: Apache-2.0
// A chat platform that the test plays: what stands in its chats can be read, and it fails as told.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "chat/platform.hpp"

namespace berth::testing {

/// A message as it stands in a chat.
struct Shown {
    std::string id;
    std::string key;
    chat::Conversation conversation;
    chat::Content content;
    std::string only_for;
    std::string handle;
    bool plain = false;
    int edits = 0;
    /// The card's button with that label; throws where there is none.
    const chat::Button& button(const std::string& label) const;
};
/// Of its card.
inline const std::string& title(const Shown& shown) { return shown.content.card.title; }

/// The chats behind every PlayedPlatform of a test; outlives them. Thread-safe.
class PlayedChat {
public:
    /// How an attempt goes wrong: the error, and whether the message was posted nevertheless.
    struct Fault {
        chat::SendError error;
        bool posted = false;
    };
    using Plan = std::function<std::optional<Fault>(const chat::Outgoing&)>;

    PlayedChat();
    chat::Traits traits;  ///< set before the bridge starts

    /// Asked before each post; nothing: it goes well.
    void on_post(Plan plan);
    void on_edit(Plan plan);
    void on_find(std::function<std::optional<chat::SendError>()> plan);
    void set_health(chat::Health health);

    /// Tells the bridge, as the platform would; an error: it was not taken, and has to be told
    /// again.
    Result<void> tell(const std::vector<chat::Inbound>& events);
    /// Until it is taken.
    void tell_surely(const chat::Inbound& event);

    std::vector<Shown> shown() const;
    std::vector<Shown> in(const std::string& chat) const;
    int posts() const;  ///< calls of post, failed ones too
    int starts() const;
    /// Waits for a message that is right.
    std::optional<Shown> wait_for(
        const std::function<bool(const Shown&)>& right, milliseconds patience = seconds{20}
    ) const;
    bool wait_until(
        const std::function<bool(const std::vector<Shown>&)>& right,
        milliseconds patience = seconds{20}
    ) const;

    chat::SendResult<chat::Sent> post(const chat::Outgoing& message);
    chat::SendResult<chat::Sent> edit(const std::string& message, const chat::Outgoing& content);
    chat::SendResult<std::optional<chat::Sent>> find(const std::string& key);
    void attach(chat::Sink* sink);

private:
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    chat::Sink* sink_ = nullptr;  // by mutex_, all of them
    int telling_ = 0;
    std::vector<Shown> shown_;
    Plan post_plan_;
    Plan edit_plan_;
    std::function<std::optional<chat::SendError>()> find_plan_;
    int posts_ = 0;
    int starts_ = 0;
    chat::Health health_{true, {}};
};

/// The Platform of one term of the bridge.
std::unique_ptr<chat::Platform> make_played_platform(PlayedChat& chat);

/// Something said, with a new event's id.
chat::Inbound said(
    const std::string& text, const std::string& person = "U1", const std::string& chat = "C1"
);
chat::Inbound clicked(
    const Shown& message, const std::string& label, const std::string& person = "U1"
);

}  // namespace berth::testing
