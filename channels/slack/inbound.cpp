// SPDX-License-Identifier: Apache-2.0
// What Slack sends, read with suspicion: everything may be missing or of another type.
#include <charconv>
#include <cstdlib>

#include "core/secret.hpp"
#include "core/text.hpp"
#include "identity/token.hpp"
#include "net/http_types.hpp"
#include "slack/wire.hpp"

namespace berth::slack {
namespace {

using chat::Inbound;
using chat::InboundKind;

constexpr std::chrono::minutes kSignatureAge{5};  // Slack's own advice
constexpr std::size_t kMaxComment = 2'000;

std::string text_of(const Json& json, std::string_view key) { return json.string_or(key, ""); }

const Json& member(const Json& json, std::string_view key) {
    static const Json nothing;
    const Json* found = json.find(key);
    return found == nullptr ? nothing : *found;
}

/// Of the workspace and the person: ids of persons repeat between workspaces.
std::string person_id(const std::string& team, const std::string& user) {
    return user.empty() ? std::string() : team + "/" + user;
}

/// "1700000000.000200" as a time.
WallTime time_of(const std::string& ts, WallTime otherwise) {
    long long seconds_part = 0;
    const auto [end, error] = std::from_chars(ts.data(), ts.data() + ts.size(), seconds_part);
    if (error != std::errc{} || seconds_part <= 0 || seconds_part > 32'503'680'000)
        return otherwise;
    return from_unix_micros(seconds_part * 1'000'000);
}

std::string without_leading_mentions(std::string_view text) {
    for (;;) {
        while (!text.empty() && (text.front() == ' ' || text.front() == '\n'))
            text.remove_prefix(1);
        if (text.substr(0, 2) != "<@") return std::string(text);
        const auto end = text.find('>');
        if (end == std::string_view::npos) return std::string(text);
        text.remove_prefix(end + 1);
    }
}

/// "<...>" that Slack made of a mention or a link. Any other one was typed: Slack escapes that, but
/// where it does not nothing of it may be lost.
bool is_slacks_own(std::string_view text) {
    if (text.empty() || text[0] != '<') return false;
    text.remove_prefix(1);
    for (const std::string_view each :
         {"@", "#", "!", "http://", "https://", "mailto:", "tel:", "ftp://", "slack://"}) {
        if (text.starts_with(each)) return true;
    }
    return false;
}

bool is_direct(const std::string& channel) { return !channel.empty() && channel[0] == 'D'; }

}  // namespace

std::string to_typed(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const auto end = is_slacks_own(text) ? text.find('>') : std::string_view::npos;
        if (end != std::string_view::npos) {
            const std::string_view inside = text.substr(1, end - 1);
            const auto bar = inside.find('|');
            // Behind the bar it stands as it was typed.
            out += to_typed(bar == std::string_view::npos ? inside : inside.substr(bar + 1));
            text.remove_prefix(end + 1);
            continue;
        }
        bool entity = false;
        for (const auto& [name, plain] :
             {std::pair<std::string_view, char>("&lt;", '<'), {"&gt;", '>'}, {"&amp;", '&'}}) {
            if (text.substr(0, name.size()) != name) continue;
            out += plain;
            text.remove_prefix(name.size());
            entity = true;
            break;
        }
        if (entity) continue;
        out += text[0];
        text.remove_prefix(1);
    }
    return out;
}

Heard hear_event(const Json& payload, WallTime now) {
    Heard out;
    const Json& event = member(payload, "event");
    const std::string type = text_of(event, "type");
    const std::string channel = text_of(event, "channel");
    const bool direct = is_direct(channel);
    // A mention in a private chat would come as both.
    if (!(type == "app_mention" && !direct) && !(type == "message" && direct)) return out;
    if (!text_of(event, "subtype").empty() || !text_of(event, "bot_id").empty() ||
        event.find("edited") != nullptr)
        return out;
    std::string team = text_of(event, "user_team");
    if (team.empty()) team = text_of(event, "team");
    if (team.empty()) team = text_of(payload, "team_id");
    Inbound inbound;
    inbound.event_id = text_of(payload, "event_id");
    inbound.kind = InboundKind::kMessage;
    inbound.conversation = {channel, text_of(event, "thread_ts")};
    inbound.direct = direct;
    inbound.person = {person_id(team, text_of(event, "user")), text_of(event, "user")};
    inbound.text = to_typed(without_leading_mentions(text_of(event, "text")));
    inbound.at = time_of(text_of(event, "ts"), now);
    if (inbound.event_id.empty() || channel.empty() || inbound.person.id.empty()) return out;
    out.inbound = std::move(inbound);
    return out;
}

Heard hear_command(const Json& payload, WallTime now) {
    Heard out;
    Inbound inbound;
    // A trigger is made anew for each command that is typed.
    inbound.event_id = "slash:" + text_of(payload, "trigger_id");
    inbound.kind = InboundKind::kCommand;
    inbound.conversation.chat = text_of(payload, "channel_id");
    inbound.direct = is_direct(inbound.conversation.chat);
    inbound.person = {
        person_id(text_of(payload, "team_id"), text_of(payload, "user_id")),
        text_of(payload, "user_name")};
    inbound.text = to_typed(text_of(payload, "text"));
    inbound.handle = text_of(payload, "response_url");
    inbound.at = now;
    if (text_of(payload, "trigger_id").empty() || inbound.conversation.chat.empty() ||
        inbound.person.id.empty())
        return out;
    out.inbound = std::move(inbound);
    return out;
}

namespace {

Inbound click_of(const Json& payload, WallTime now) {
    Inbound inbound;
    inbound.kind = InboundKind::kClick;
    const Json& user = member(payload, "user");
    std::string team = text_of(user, "team_id");
    if (team.empty()) team = text_of(member(payload, "team"), "id");
    std::string name = text_of(user, "username");
    if (name.empty()) name = text_of(user, "name");
    inbound.person = {person_id(team, text_of(user, "id")), name};
    inbound.at = now;
    return inbound;
}

Modal modal_of(const Json& payload, const Inbound& click) {
    Json meta = Json::object();
    meta.set("token", click.token)
        .set("chat", click.conversation.chat)
        .set("thread", click.conversation.thread)
        .set("message", click.message);
    const auto plain = [](const char* text) {
        return Json::object().set("type", "plain_text").set("text", text);
    };
    Json input = Json::object();
    input.set("type", "input")
        .set("block_id", "comment")
        .set("label", plain("Comment"))
        .set(
            "element",
            Json::object()
                .set("type", "plain_text_input")
                .set("action_id", "comment")
                .set("multiline", true)
                .set("max_length", static_cast<std::int64_t>(kMaxComment))
        );
    Json blocks = Json::array();
    blocks.push(std::move(input));
    Json view = Json::object();
    view.set("type", "modal")
        .set("callback_id", kCommentView)
        .set("private_metadata", meta.dump())
        .set("title", plain("Deny"))
        .set("submit", plain("Deny"))
        .set("close", plain("Cancel"))
        .set("blocks", std::move(blocks));
    return {text_of(payload, "trigger_id"), view.dump()};
}

Heard hear_actions(const Json& payload, WallTime now) {
    Heard out;
    const Json& actions = member(payload, "actions");
    if (actions.as_array() == nullptr || actions.as_array()->empty()) return out;
    const Json& action = actions.as_array()->front();
    const std::string id = text_of(action, "action_id");
    const bool asks = id.rfind(kAsk, 0) == 0;
    if (!asks && id.rfind(kPress, 0) != 0) return out;
    Inbound click = click_of(payload, now);
    const Json& message = member(payload, "message");
    const Json& container = member(payload, "container");
    click.event_id = "click:" + text_of(payload, "trigger_id");
    click.conversation.chat = text_of(member(payload, "channel"), "id");
    if (click.conversation.chat.empty()) click.conversation.chat = text_of(container, "channel_id");
    click.conversation.thread = text_of(message, "thread_ts");
    click.direct = is_direct(click.conversation.chat);
    click.token = text_of(action, "value");
    click.message = text_of(message, "ts");
    if (click.message.empty()) click.message = text_of(container, "message_ts");
    click.handle = text_of(payload, "response_url");
    if (text_of(payload, "trigger_id").empty() || click.conversation.chat.empty() ||
        click.person.id.empty())
        return out;
    if (asks) {
        out.modal = modal_of(payload, click);
    } else {
        out.inbound = std::move(click);
    }
    return out;
}

Heard hear_submission(const Json& payload, WallTime now) {
    Heard out;
    const Json& view = member(payload, "view");
    if (text_of(view, "callback_id") != kCommentView) return out;
    const auto meta = Json::parse(text_of(view, "private_metadata"));
    if (!meta) return out;
    Inbound click = click_of(payload, now);
    click.event_id = "view:" + text_of(view, "id");
    click.conversation = {text_of(*meta, "chat"), text_of(*meta, "thread")};
    click.direct = is_direct(click.conversation.chat);
    click.token = text_of(*meta, "token");
    click.message = text_of(*meta, "message");
    const Json& values = member(member(view, "state"), "values");
    click.comment = text_of(member(member(values, "comment"), "comment"), "value");
    if (text_of(view, "id").empty() || click.conversation.chat.empty() || click.person.id.empty())
        return out;
    out.inbound = std::move(click);
    return out;
}

}  // namespace

Heard hear_interaction(const Json& payload, WallTime now) {
    const std::string type = text_of(payload, "type");
    if (type == "block_actions") return hear_actions(payload, now);
    if (type == "view_submission") return hear_submission(payload, now);
    return {};
}

std::string signature(std::string_view secret, std::string_view timestamp, std::string_view body) {
    const std::string base = "v0:" + std::string(timestamp) + ":" + std::string(body);
    return "v0=" + hex(identity::hmac_sha256(secret, base));
}

std::string_view forgery(
    std::string_view secret,
    std::string_view timestamp,
    std::string_view given,
    std::string_view body,
    WallTime now
) {
    if (secret.empty() || !equal_constant_time(signature(secret, timestamp, body), given))
        return "the signature is not Slack's";
    long long at = 0;
    const auto [end, error] =
        std::from_chars(timestamp.data(), timestamp.data() + timestamp.size(), at);
    const long long current = to_unix_micros(now) / 1'000'000;
    const long long most = std::chrono::seconds(kSignatureAge).count();
    const bool read = error == std::errc{} && end == timestamp.data() + timestamp.size();
    if (!read || at < current - most || at > current + most)
        return "the signature is not of the last five minutes";
    return {};
}

Json form_fields(std::string_view body) {
    const auto query = net::parse_query(body);
    if (!query) return {};
    Json out = Json::object();
    for (const auto& [name, value] : query->values()) {
        if (is_utf8(name) && is_utf8(value)) out.set(name, value);
    }
    return out;
}

}  // namespace berth::slack
