// SPDX-License-Identifier: Apache-2.0
// Telegram's updates as inbound things, and messages as requests of its Bot API (10.1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/platform.hpp"
#include "core/json.hpp"
#include "http/form.hpp"

/// Pure functions.
namespace berth::telegram {

/// The bot itself, as getMe tells it.
struct Bot {
    std::int64_t id = 0;
    std::string username;  ///< without the @
};
std::optional<Bot> bot_of(const Json& user);

/// A line of the commands menu. Every verb is a command of its own ("/run …") beside "/berth …".
struct MenuCommand {
    std::string name;         ///< [a-z0-9_]{1,32}
    std::string description;  ///< at most 256 characters
};

/// One update; nothing where it is not meant for the bot: edits, channels, other bots, forwarded
/// messages, chatter in groups. `now` dates a click, which Telegram does not.
std::optional<chat::Inbound> inbound_of(
    const Json& update, const Bot& bot, const std::vector<MenuCommand>& menu, WallTime now
);

/// A method of the API and its parameters.
struct Call {
    std::string method;
    Json parameters = Json::object();
    /// sendDocument: the parameters and the file travel as multipart/form-data.
    std::string file_name;
    std::string file_bytes;
};
/// Where the conversation's names are none of Telegram's: nothing.
std::optional<Call> post_call(const chat::Outgoing& message);
std::optional<Call> edit_call(
    const chat::Conversation& conversation,
    const std::string& message,
    const chat::Outgoing& content
);
/// Ends the waiting sign on a button; `text` (at most kMaxNotice are shown) appears to its presser
/// alone.
Call answer_call(const std::string& query, const std::string& text);
inline constexpr std::size_t kMaxNotice = 200;

Call menu_call(const std::vector<MenuCommand>& menu);

/// A call with a file.
http::Form form_of(const Call& call, std::string boundary = http::make_boundary());

/// What Telegram's refusal means. `status` is HTTP's; `body` null where the answer was no JSON.
chat::SendError error_of(int status, const Json& body);
/// The new id of a chat that became a supergroup, or empty.
std::string migrated_to(const Json& body);

}  // namespace berth::telegram
