// SPDX-License-Identifier: Apache-2.0
// Slack's payloads to what libs/chat means and back; pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "chat/platform.hpp"
#include "core/json.hpp"

namespace berth::slack {

/// Prefixes of a button's action_id: an ordinary one, and one that asks for a comment in a modal
/// before it counts.
inline constexpr std::string_view kPress = "berth_press_";
inline constexpr std::string_view kAsk = "berth_ask_";
/// callback_id of that modal.
inline constexpr std::string_view kCommentView = "berth_comment";

/// A button that wants its modal: what views.open needs.
struct Modal {
    std::string trigger;
    std::string view;  ///< JSON
};

/// What one payload holds: nothing of ours, something said or clicked, or a modal to be opened.
struct Heard {
    std::optional<chat::Inbound> inbound;
    std::optional<Modal> modal;
};

/// `payload` of the kinds that Slack calls events_api ("event_callback"), slash_commands and
/// interactive; foreign bytes of any shape are nothing. Messages of bots, edits and messages in
/// channels that do not name the bot are nothing too.
Heard hear_event(const Json& payload, WallTime now);
Heard hear_command(const Json& payload, WallTime now);
Heard hear_interaction(const Json& payload, WallTime now);

/// "<@U1> run <http://a.b|a.b> &amp; x" as it was typed.
std::string to_typed(std::string_view text);

/// The fields "text" and "blocks" of a message.
struct Message {
    std::string text;  ///< what notifications show, and all there is where there are no blocks
    Json blocks;       ///< null: none
};
Message to_message(const chat::Content& content, bool plain);
/// Slack's own markup of Markdown.
std::string to_mrkdwn(std::string_view markdown);
/// & < > as entities.
std::string escape(std::string_view text);

/// "v0=<hex>" of a request's body at `timestamp`, by the signing secret.
std::string signature(std::string_view secret, std::string_view timestamp, std::string_view body);
/// Why a request is not taken as Slack's: another signature, or a right one that is older than 5
/// minutes. Empty: it is genuine. Constant time in the signature.
std::string_view forgery(
    std::string_view secret,
    std::string_view timestamp,
    std::string_view signature,
    std::string_view body,
    WallTime now
);
/// The fields of application/x-www-form-urlencoded as a JSON object of strings; null where it is
/// none.
Json form_fields(std::string_view body);

}  // namespace berth::slack
