// SPDX-License-Identifier: Apache-2.0
// Discord's events as inbound things, and messages as bodies of its API (v10).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/platform.hpp"
#include "core/json.hpp"
#include "http/form.hpp"

/// Pure functions.
namespace berth::discord {

/// The bot itself.
struct Bot {
    std::string id;
    std::string application;
};

/// True for a snowflake's text.
bool is_id(std::string_view text);
/// When a snowflake was made. An id that is none is the epoch.
WallTime time_of(std::string_view id);
/// The first snowflake of a moment after 2015.
std::string id_at(WallTime time);
/// True where snowflake `a` was made before `b`.
bool is_before(std::string_view a, std::string_view b);

/// What an interaction's answer needs; travels as Inbound::handle.
struct Handle {
    enum class Kind {
        kCommand,  ///< deferred with a message of its own that waits to be filled
        kClick,    ///< deferred with nothing to fill
    };
    Kind kind = Kind::kCommand;
    std::string application;
    std::string person;
    std::string interaction;
    std::string token;

    std::string text() const;
    static std::optional<Handle> parse(std::string_view text);
    /// False once Discord takes no answer for it any more.
    bool alive(WallTime now) const;
};

/// What came.
struct Told {
    /// Nothing where it is not meant for the bot, or where it is no event yet (a modal is asked).
    std::optional<chat::Inbound> inbound;
    /// It was said in a thread of which the parent is not told: conversation.chat is the thread's.
    bool needs_parent = false;
    /// Of an interaction: the first answer (type 1, 5, 6 or 9), else null. Where there is an
    /// inbound it must be stored before.
    Json answer;
    std::string interaction;
    std::string token;
};
/// MESSAGE_CREATE's data.
Told message_of(const Json& data, const Bot& bot);
/// INTERACTION_CREATE's data, or the body of the interactions endpoint.
Told interaction_of(const Json& data);

/// A verb of /berth.
struct Verb {
    std::string name;         ///< [-_a-z0-9]{1,32}
    std::string description;  ///< at most 100 characters are shown
    std::string arguments;    ///< what may follow, for people; empty: nothing
};
/// The body of PUT /applications/{id}/commands.
Json commands_of(const std::vector<Verb>& verbs);

/// A message's body: content, embeds, components, allowed_mentions, attachments; the same for posts
/// and edits.
Json body_of(const chat::Outgoing& message);
/// A text of at most 25 characters that is another for each key.
std::string nonce_of(std::string_view key);
/// The nonce of the message that its buttons bear; empty for none.
std::string marked_with(const Json& shown);
/// True where `shown` (a message as Discord tells it) says what `body` (by body_of) says.
bool says_the_same(const Json& shown, const Json& body);
/// A body and its file.
http::Form form_of(
    const Json& body,
    std::string_view name,
    std::string_view bytes,
    std::string boundary = http::make_boundary()
);
/// The file's name as Discord shows it.
std::string safe_file_name(std::string_view name);

/// Markdown of others as Discord's. `plain`: without any mark.
std::string markdown_text(std::string_view markdown, bool plain);
/// Plain text in which nothing is markup, a mention or a link.
std::string escape(std::string_view text);

/// What a refusal means. `body` is null where the answer was no JSON.
chat::SendError error_of(int status, const Json& body, std::string_view retry_after);

}  // namespace berth::discord
