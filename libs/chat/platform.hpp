// SPDX-License-Identifier: Apache-2.0
// The small interface behind which a chat platform lies: its wire and nothing else. What bridges
// share (who may act, commands, cards, order, repetition, limits) is libs/chat's bridge.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/card.hpp"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::chat {

/// A place where messages go, in the platform's own words.
struct Conversation {
    std::string chat;    ///< Slack channel, Telegram chat, Discord channel, WhatsApp number
    std::string thread;  ///< Slack thread_ts, Telegram message_thread_id; empty: the chat itself
    friend bool operator==(const Conversation&, const Conversation&) = default;
};

/// Somebody on the platform. `id` never changes and is unique on the platform as a whole
/// ("T123/U456" on Slack); `name` is for people and proves nothing.
struct Person {
    std::string id;
    std::string name;
};

enum class InboundKind {
    kMessage,  ///< text said to the bot: a mention of it, or a direct message
    kCommand,  ///< a slash command; `text` is what follows "/berth"
    kClick,    ///< a button (and, where it asked for one, a comment)
};

/// Something that came from the platform. Only what is meant for the bot: no messages of bots, its
/// own included, no edits, no chatter between people.
struct Inbound {
    std::string event_id;  ///< the platform's own, the same when it sends the event again
    InboundKind kind = InboundKind::kMessage;
    Conversation conversation;
    bool direct = false;  ///< a private chat between the person and the bot
    Person person;
    std::string text;     ///< without the mention or the command's name; UTF-8, at most kMaxText
    std::string token;    ///< kClick: the button's
    std::string comment;  ///< kClick
    std::string
        message;  ///< kClick: the message that bears the button; kMessage: the one it answers
    /// Where the platform gives a short-lived handle for an answer (Slack's response_url, Discord's
    /// interaction token, Telegram's callback query id); comes back in Outgoing::handle.
    std::string handle;
    WallTime at{};  ///< when it was said, by the platform's clock

    static constexpr std::size_t kMaxText = 32U << 10U;
};

/// A conversation in which something was said.
struct LastHeard {
    Conversation conversation;
    bool direct = false;
    std::string message;  ///< the event's id of the last kMessage that is stored; or empty
};

/// A message on its way out.
struct Outgoing {
    std::string key;  ///< a ULID, the same in every attempt: the platform's idempotency key or tag
    Conversation conversation;
    Content content;
    std::string answers;  ///< the message it answers, where the platform shows that; or empty
    std::string
        only_for;  ///< a person's id: nobody else sees it, where the platform can (else it is not)
    WallTime since{};        ///< it was not posted before
    std::string handle;      ///< of the Inbound it answers; may have ended, then it is not used
    bool plain = false;      ///< the platform refused the markup before: send plain text
    bool otherwise = false;  ///< it was Undelivered::otherwise
};

/// Why a message did not go out, or an edit was not made.
struct SendError {
    enum class Kind {
        kLater,  ///< try again after `retry_after` (429, 5xx, timeouts that prove nothing was done)
        kUnknown,       ///< it may have been done: the connection broke after the request went out
        kFailed,        ///< the platform answers that it failed (5xx), hardly ever after doing it
        kBadMarkup,     ///< the platform refuses the markup: again as plain text
        kUnchanged,     ///< an edit that changes nothing: as good as done
        kGone,          ///< the message to be edited is no longer there
        kRefused,       ///< permanently: blocked, channel gone, window closed; `reason` says what
        kUnauthorized,  ///< the credential is revoked: the bridge is unhealthy until that changes
    };
    Kind kind = Kind::kLater;
    milliseconds retry_after{0};  ///< kLater: what the platform asked; 0: the bridge's own backoff
    std::string reason;           ///< the platform's code and words, without secrets
    bool everywhere = false;      ///< `retry_after` is the route's, not only this chat's
};

/// What a successful post is known by, for edits.
struct Sent {
    std::string message;  ///< Slack ts, Telegram message_id, Discord id, WhatsApp wamid
};

/// A message that the platform took, and of which it tells later that it did not arrive.
struct Undelivered {
    std::string message;  ///< as in Sent
    std::string chat;
    std::string reason;      ///< the platform's code and words
    bool otherwise = false;  ///< it may still arrive another way (WhatsApp: as a template)
};

template <typename T>
struct SendResult {
    std::optional<T> value;
    SendError error;  ///< where there is no value
};

/// One budget of the platform: at most `per_second` on average, `burst` at once.
struct Rate {
    double per_second = 1.0;
    double burst = 1.0;
};

/// What the platform is like. Constant.
struct Traits {
    std::string name;              ///< "slack": the service's token
    std::size_t max_text = 4'000;  ///< of one message, in the platform's own unit, after rendering
    bool counts_utf16 = false;     ///< that unit: UTF-16 code units, else Unicode code points
    /// Messages can be changed in place. Else the steps of a card that still has buttons are not
    /// shown, and what it came to is said anew.
    bool edits = true;
    bool threads = true;
    bool modals = false;  ///< a button may ask for a comment before its click arrives
    bool files = true;
    /// find() can say whether a message was posted, or the platform drops a repeated key.
    bool can_find = false;
    Rate per_conversation;
    /// Of posts in one chat, where chats differ; else per_conversation.
    Rate (*rate_of)(std::string_view chat) = nullptr;
    /// Of changes in one conversation; 0 a second: they count among per_conversation.
    Rate edits_per_conversation{0.0, 0.0};
    Rate overall;
    /// How a command is written in ordinary messages there: "/berth " or "".
    std::string command_prefix = "/berth ";
};

/// Health of the platform's connection, as /readyz, `berth status` and metrics tell it.
struct Health {
    bool ready = false;
    std::string reason;  ///< why not, for people, without secrets
};

/// Takes inbound things. Thread-safe.
class Sink {
public:
    virtual ~Sink() = default;
    /// Returns after all of them are stored durably (repetitions are known and dropped): only then
    /// may the platform be told that they arrived. On an error nothing is stored: do not
    /// acknowledge.
    virtual Result<void> accept(const std::vector<Inbound>& events) = 0;
    /// It goes out once more where it may arrive otherwise, or is given up; told again, or of a
    /// message that is none of ours, nothing happens. On an error do not acknowledge: nothing was
    /// done, or the message is just going out.
    virtual Result<void> undelivered(const Undelivered& told) = 0;
    /// At most `most` conversations of the last day, those heard last first: for a platform that
    /// can be asked what was said while nobody listened.
    virtual Result<std::vector<LastHeard>> last_heard(std::int64_t most) = 0;
    /// The connection's state changed. Cheap; repetitions are welcome.
    virtual void health(Health health) = 0;
    /// A short text that the platform's next term finds again, in whichever process: where its
    /// connection goes on. Stored like events are; at most kMaxNote bytes.
    virtual Result<void> remember(const std::string& note) = 0;
    /// What was remembered last; empty for nothing.
    virtual Result<std::string> recall() = 0;
    static constexpr std::size_t kMaxNote = 2'048;
};

/// An HTTP request to the bridge's public listener (webhook mode), and its answer.
struct WebRequest {
    std::string method;
    std::string path;
    std::string query;
    std::vector<std::pair<std::string, std::string>> headers;  ///< names lower-cased
    std::string body;       ///< at most 1 MiB; more was answered 413
    std::string peer = {};  ///< the address that it came from
};
struct WebResponse {
    int status = 200;
    std::string content_type = "application/json";
    std::string body;
    /// Why it was turned away as nobody's, one of a few fixed texts: the audit has it. Else empty.
    std::string refused = {};
};

/// A chat platform. start() and stop() are called once, in this order; post, edit, find and web are
/// called from several threads at once. Each makes one attempt and waits at most 30 s.
class Platform {
public:
    virtual ~Platform() = default;
    virtual const Traits& traits() const = 0;
    /// Begins to receive, with threads of its own that reconnect by themselves (backoff with
    /// jitter, for ever) and tell the sink how they are.
    virtual Result<void> start(Sink& sink) = 0;
    virtual void stop() = 0;

    virtual SendResult<Sent> post(const Outgoing& message) = 0;
    /// Replaces what `message` says; without Traits::edits it posts, in answer to `message`.
    virtual SendResult<Sent> edit(
        const Conversation& conversation, const std::string& message, const Outgoing& content
    ) = 0;
    /// After a crash between post and its answer: the message with this key, none if it was never
    /// posted. Only where Traits::can_find.
    virtual SendResult<std::optional<Sent>> find(const Outgoing& message) = 0;
    /// A request to the public listener (webhook mode): signature first, then Sink::accept, then
    /// the answer. 401 for a forged or old signature, 403 for a challenge that is not the
    /// platform's, both with WebResponse::refused.
    virtual WebResponse web(const WebRequest& request) = 0;
};

}  // namespace berth::chat
