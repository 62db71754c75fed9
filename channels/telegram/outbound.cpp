// SPDX-License-Identifier: Apache-2.0
// Messages out: requests of the Bot API, and what its refusals mean.
#include <algorithm>
#include <charconv>

#include "chat/length.hpp"
#include "telegram/markup.hpp"
#include "telegram/wire.hpp"

namespace berth::telegram {
namespace {

constexpr std::size_t kMaxButton = 64;  // of a button: more does not fit a telephone
constexpr std::size_t kRowUnits = 24;   // labels of one row together
constexpr std::size_t kMaxButtons = 20;
constexpr std::int64_t kMostSeconds = 3'600;  // a longer retry_after is asked for again

std::optional<std::int64_t> number(std::string_view text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || text.empty())
        return std::nullopt;
    return value;
}

/// chat_id and, where there is one, message_thread_id.
bool address(Json& parameters, const chat::Conversation& where) {
    const auto chat = number(where.chat);
    if (!chat || *chat == 0) return false;
    parameters.set("chat_id", *chat);
    if (where.thread.empty()) return true;
    const auto thread = number(where.thread);
    if (!thread) return false;
    parameters.set("message_thread_id", *thread);
    return true;
}

Json keyboard(const std::vector<chat::Button>& buttons) {
    Json rows = Json::array();
    Json row = Json::array();
    std::size_t used = 0;
    const std::size_t count = std::min(buttons.size(), kMaxButtons);
    for (std::size_t i = 0; i < count; ++i) {
        const chat::Button& button = buttons[i];
        const std::string label =
            chat::cut(chat::to_text(button.label), kMaxButton, chat::Unit::kUtf16);
        const std::size_t size = chat::length(label, chat::Unit::kUtf16);
        if (used > 0 && used + size > kRowUnits) {
            rows.push(std::exchange(row, Json::array()));
            used = 0;
        }
        Json shown = Json::object();
        shown.set("text", label).set("callback_data", button.token);
        if (button.style == chat::ButtonStyle::kGood) shown.set("style", "success");
        if (button.style == chat::ButtonStyle::kDanger) shown.set("style", "danger");
        row.push(std::move(shown));
        used += size;
    }
    if (used > 0) rows.push(std::move(row));
    return Json::object().set("inline_keyboard", std::move(rows));
}

/// Text and buttons.
void say(Json& parameters, const chat::Outgoing& message) {
    const chat::Content& content = message.content;
    if (content.is_card) {
        const chat::Card card = card_shown(content.card, message.plain);
        parameters.set("text", card_text(card, message.plain));
        if (!card.buttons.empty()) parameters.set("reply_markup", keyboard(card.buttons));
    } else {
        parameters.set("text", markdown_text(content.markdown, message.plain));
    }
    if (!message.plain) parameters.set("parse_mode", "HTML");
    parameters.set("link_preview_options", Json::object().set("is_disabled", true));
}

chat::SendError refused_with(int status, const std::string& why) {
    using Kind = chat::SendError::Kind;
    const auto says = [&](std::string_view words) { return why.find(words) != std::string::npos; };
    if (says("message is not modified")) return {Kind::kUnchanged, {}, why};
    if (says("can't parse") || says("can't find end of")) return {Kind::kBadMarkup, {}, why};
    const bool gone = says("message to edit not found") || says("message can't be edited") ||
                      says("MESSAGE_ID_INVALID");
    if (gone) return {Kind::kGone, {}, why};
    // 404 is what a token that never was one gets.
    if (status == 401 || status == 404) return {Kind::kUnauthorized, {}, why};
    return {Kind::kRefused, {}, why};
}

}  // namespace

std::optional<Call> post_call(const chat::Outgoing& message) {
    Call call{"sendMessage", Json::object(), {}, {}};
    if (!address(call.parameters, message.conversation)) return std::nullopt;
    if (const auto answered = number(message.answers)) {
        Json reply = Json::object();
        reply.set("message_id", *answered).set("allow_sending_without_reply", true);
        call.parameters.set("reply_parameters", std::move(reply));
    }
    const chat::Content& content = message.content;
    if (!content.is_card && !content.file_name.empty()) {
        call.method = "sendDocument";
        call.file_name = chat::file_name(content.file_name);
        call.file_bytes = content.file_bytes;
        const std::string caption = markdown_text(content.markdown, message.plain, kMaxCaption);
        if (caption.empty()) return call;
        call.parameters.set("caption", caption);
        if (!message.plain) call.parameters.set("parse_mode", "HTML");
        return call;
    }
    say(call.parameters, message);
    return call;
}

std::optional<Call> edit_call(
    const chat::Conversation& conversation,
    const std::string& message,
    const chat::Outgoing& content
) {
    Call call{"editMessageText", Json::object(), {}, {}};
    const auto id = number(message);
    if (!id || !address(call.parameters, {conversation.chat, {}})) return std::nullopt;
    call.parameters.set("message_id", *id);
    say(call.parameters, content);  // buttons that are not sent are taken away
    return call;
}

Call answer_call(const std::string& query, const std::string& text) {
    Call call{"answerCallbackQuery", Json::object(), {}, {}};
    call.parameters.set("callback_query_id", query);
    if (!text.empty()) {
        call.parameters.set("text", chat::cut(text, kMaxNotice, chat::Unit::kUtf16))
            .set("show_alert", true);
    }
    return call;
}

Call menu_call(const std::vector<MenuCommand>& menu) {
    Call call{"setMyCommands", Json::object(), {}, {}};
    Json commands = Json::array();
    for (const MenuCommand& command : menu) {
        Json line = Json::object();
        line.set("command", command.name);
        line.set("description", chat::cut(command.description, 256, chat::Unit::kUtf16));
        commands.push(std::move(line));
    }
    call.parameters.set("commands", std::move(commands));
    return call;
}

http::Form form_of(const Call& call, std::string boundary) {
    http::Form form(std::move(boundary));
    for (const auto& [name, value] : *call.parameters.as_object())
        form.field(name, value.as_string() != nullptr ? *value.as_string() : value.dump());
    form.file("document", call.file_name, call.file_bytes);
    return form;
}

chat::SendError error_of(int status, const Json& body) {
    using Kind = chat::SendError::Kind;
    const std::string words = body.string_or("description", "no words");
    const std::string why = std::to_string(status) + " " +
                            chat::cut(chat::to_text(words), 300, chat::Unit::kCodePoints);
    if (status == 429) {
        const Json* parameters = body.find("parameters");
        const std::int64_t after = parameters == nullptr ? 0 : parameters->int_or("retry_after", 0);
        return {Kind::kLater, seconds{std::clamp<std::int64_t>(after, 0, kMostSeconds)}, why};
    }
    // 502 and 503 are said by what stands before the service: it was not reached. Another 5xx may
    // come after the message was sent.
    if (status == 502 || status == 503 || status == 409) return {Kind::kLater, {}, why};
    if (status >= 500) return {Kind::kFailed, {}, why};
    if (status < 400) return {Kind::kUnknown, {}, why};
    return refused_with(status, why);
}

std::string migrated_to(const Json& body) {
    const Json* parameters = body.find("parameters");
    const std::int64_t chat =
        parameters == nullptr ? 0 : parameters->int_or("migrate_to_chat_id", 0);
    return chat == 0 ? std::string() : std::to_string(chat);
}

}  // namespace berth::telegram
