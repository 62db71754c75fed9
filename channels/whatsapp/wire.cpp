// SPDX-License-Identifier: Apache-2.0
// The shapes of Meta's Graph API, version 23.
#include "whatsapp/wire.hpp"

#include <algorithm>
#include <charconv>

#include "chat/length.hpp"
#include "chat/markdown.hpp"
#include "core/text.hpp"
#include "whatsapp/markup.hpp"

namespace berth::whatsapp {
namespace {

using chat::Unit;

constexpr std::size_t kMaxButtons = 3;
constexpr std::size_t kMaxButton = 20;
constexpr std::size_t kMaxRows = 10;
constexpr std::size_t kMaxRowLabel = 24;
constexpr std::size_t kMaxRowWords = 72;
const std::string kLineEnd = "\xE2\x8F\x8E";     // ⏎: a template's text is one line
constexpr std::size_t kMaxTemplateText = 1'000;  // Meta allows 1,024 with the template's own words

bool is_number(std::string_view text) {
    return text.size() >= 5 && text.size() <= 20 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

const Json::Array& items(const Json& json, std::string_view key) {
    static const Json::Array none;
    const Json* found = json.find(key);
    return found != nullptr && found->as_array() != nullptr ? *found->as_array() : none;
}

std::string name_of(const Json& value, const std::string& person) {
    for (const Json& contact : items(value, "contacts")) {
        const Json* profile = contact.find("profile");
        if (contact.string_or("wa_id", "") == person && profile != nullptr)
            return chat::to_text(profile->string_or("name", ""));
    }
    return {};
}

/// The pressed button: of a message with buttons, of a list, or of a template.
std::string token_of(const Json& message) {
    const Json* pressed = message.find("interactive");
    const Json* button = message.find("button");
    if (pressed != nullptr) {
        for (const char* kind : {"button_reply", "list_reply"}) {
            if (const Json* reply = pressed->find(kind)) return reply->string_or("id", "");
        }
    }
    return button == nullptr ? std::string() : button->string_or("payload", "");
}

WallTime time_of(const Json& message) {
    const std::string text = message.string_or("timestamp", "");
    std::int64_t seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    constexpr std::int64_t kFar = 1LL << 40U;
    const bool good =
        error == std::errc() && end == text.data() + text.size() && seconds >= 0 && seconds < kFar;
    return from_unix_micros(good ? seconds * 1'000'000 : 0);
}

std::optional<chat::Inbound> message_of(const Json& message, const Json& value) {
    chat::Inbound inbound;
    inbound.event_id = message.string_or("id", "");
    inbound.person.id = message.string_or("from", "");
    if (inbound.event_id.empty() || !is_number(inbound.person.id) ||
        message.find("group_id") != nullptr)
        return std::nullopt;
    inbound.person.name = name_of(value, inbound.person.id);
    inbound.conversation.chat = inbound.person.id;
    inbound.direct = true;
    inbound.at = time_of(message);
    if (const Json* context = message.find("context")) {
        // Somebody else's words that were passed on order nothing.
        if (context->bool_or("forwarded", false) || context->bool_or("frequently_forwarded", false))
            return std::nullopt;
        inbound.message = context->string_or("id", "");
    }
    const std::string type = message.string_or("type", "");
    const Json* text = message.find("text");
    if (type == "text" && text != nullptr) {
        inbound.text = trimmed(text->string_or("body", ""));
        inbound.text.resize(chat::fitting(inbound.text, chat::Inbound::kMaxText / 4, Unit::kUtf16));
        return inbound.text.empty() ? std::nullopt : std::optional(inbound);
    }
    if (type != "interactive" && type != "button") return std::nullopt;
    inbound.kind = chat::InboundKind::kClick;
    inbound.token = token_of(message);
    const bool ours = !inbound.token.empty() && inbound.token.size() <= chat::Button::kMaxToken;
    return ours ? std::optional(inbound) : std::nullopt;
}

std::optional<Json> envelope(const chat::Outgoing& message, std::string_view type) {
    if (!is_number(message.conversation.chat) || !message.conversation.thread.empty())
        return std::nullopt;
    Json body = Json::object();
    body.set("messaging_product", "whatsapp")
        .set("recipient_type", "individual")
        .set("to", message.conversation.chat);
    body.set("type", type);
    if (!message.answers.empty())
        body.set("context", Json::object().set("message_id", message.answers));
    return body;
}

/// Labels of one message must differ.
std::string label_of(
    const chat::Button& button,
    std::size_t place,
    std::size_t max,
    const std::vector<std::string>& used
) {
    std::string label = chat::cut(chat::to_text(button.label), max, Unit::kUtf16);
    const bool taken = label.empty() || std::find(used.begin(), used.end(), label) != used.end();
    if (!taken) return label;
    const std::string number = " " + std::to_string(place + 1);
    return chat::cut(label, max - number.size(), Unit::kUtf16) + number;
}

Json reply_buttons(const std::vector<chat::Button>& buttons) {
    Json list = Json::array();
    std::vector<std::string> used;
    for (std::size_t i = 0; i < buttons.size(); ++i) {
        used.push_back(label_of(buttons[i], i, kMaxButton, used));
        Json reply = Json::object();
        reply.set("id", buttons[i].token).set("title", used.back());
        list.push(Json::object().set("type", "reply").set("reply", std::move(reply)));
    }
    return Json::object().set("buttons", std::move(list));
}

/// More buttons than three are a list, which is a tap further away.
Json list_rows(const std::vector<chat::Button>& buttons) {
    Json rows = Json::array();
    std::vector<std::string> used;
    for (std::size_t i = 0; i < std::min(buttons.size(), kMaxRows); ++i) {
        used.push_back(label_of(buttons[i], i, kMaxRowLabel, used));
        Json row = Json::object();
        row.set("id", buttons[i].token).set("title", used.back());
        if (chat::length(buttons[i].label, Unit::kUtf16) > kMaxRowLabel) {
            row.set(
                "description",
                chat::cut(chat::to_text(buttons[i].label), kMaxRowWords, Unit::kUtf16)
            );
        }
        rows.push(std::move(row));
    }
    Json sections = Json::array();
    sections.push(Json::object().set("rows", std::move(rows)));
    return Json::object().set("button", "Choose").set("sections", std::move(sections));
}

std::optional<Json> card_body(const chat::Outgoing& message) {
    const chat::Card card = chat::shown_card(
        message.content.card, shows_code(message.content.card, message.plain, kMaxText)
    );
    auto body = envelope(message, "interactive");
    if (!body) return body;
    const bool few = card.buttons.size() <= kMaxButtons;
    Json interactive = Json::object();
    interactive.set("type", few ? "button" : "list");
    interactive.set("body", Json::object().set("text", card_text(card, message.plain, kMaxBody)));
    interactive.set("action", few ? reply_buttons(card.buttons) : list_rows(card.buttons));
    body->set("interactive", std::move(interactive));
    return body;
}

/// A template's text is one line.
std::string one_line(std::string_view text) {
    std::string line;
    for (const char c : text) {
        const bool space = c == '\n' || c == '\t' || c == ' ';
        if (!space) {
            line += c;
        } else if (!line.empty() && line.back() != ' ') {
            line += ' ';
        }
    }
    return chat::cut(line, kMaxTemplateText, Unit::kUtf16);
}

const Json* error_in(const Json& body) { return body.find("error"); }

bool is_closed(const Json& error) { return error.int_or("code", 0) == 131'047; }

/// Meta's code and words, of which a status has them in another place.
std::string reason_of(const Json& error) {
    const std::int64_t code = error.int_or("code", -1);
    const Json* data = error.find("error_data");
    std::string words = error.string_or("message", error.string_or("title", "no words"));
    const std::string details = data == nullptr ? "" : data->string_or("details", "");
    if (!details.empty() && details != words) words += ": " + details;
    const std::string why = (code < 0 ? "" : std::to_string(code) + " ") +
                            chat::cut(chat::to_text(words), 300, Unit::kCodePoints);
    return is_closed(error) ? "the 24-hour window is closed (" + why + ")" : why;
}

/// What a webhook has about the number.
std::vector<const Json*> values_of(const Json& payload, std::string_view phone_id) {
    std::vector<const Json*> values;
    if (payload.string_or("object", "") != "whatsapp_business_account") return values;
    for (const Json& entry : items(payload, "entry")) {
        for (const Json& change : items(entry, "changes")) {
            const Json* value = change.find("value");
            if (change.string_or("field", "") != "messages" || value == nullptr) continue;
            const Json* number = value->find("metadata");
            if (number == nullptr || number->string_or("phone_number_id", "") != phone_id) continue;
            values.push_back(value);
        }
    }
    return values;
}

/// A template whose body has one text.
std::optional<Json> filled(
    const chat::Outgoing& message,
    const Template& shape,
    const std::string& text,
    const std::vector<chat::Button>& buttons
) {
    auto body = envelope(message, "template");
    if (!body) return body;
    Json parameters = Json::array();
    parameters.push(Json::object().set("type", "text").set("text", text));
    Json components = Json::array();
    components.push(Json::object().set("type", "body").set("parameters", std::move(parameters)));
    for (std::size_t i = 0; i < buttons.size(); ++i) {
        Json pressed = Json::array();
        pressed.push(Json::object().set("type", "payload").set("payload", buttons[i].token));
        Json button = Json::object();
        button.set("type", "button").set("sub_type", "quick_reply").set("index", std::to_string(i));
        components.push(std::move(button.set("parameters", std::move(pressed))));
    }
    Json inside = Json::object();
    inside.set("name", shape.name);
    inside.set(
        "language", Json::object().set("policy", "deterministic").set("code", shape.language)
    );
    inside.set("components", std::move(components));
    body->set("template", std::move(inside));
    return body;
}

}  // namespace

std::vector<chat::Inbound> inbound_of(const Json& payload, std::string_view phone_id) {
    std::vector<chat::Inbound> events;
    for (const Json* value : values_of(payload, phone_id)) {
        for (const Json& message : items(*value, "messages")) {
            if (auto event = message_of(message, *value)) events.push_back(std::move(*event));
        }
    }
    return events;
}

std::vector<chat::Undelivered> undelivered_of(const Json& payload, std::string_view phone_id) {
    std::vector<chat::Undelivered> out;
    for (const Json* value : values_of(payload, phone_id)) {
        for (const Json& status : items(*value, "statuses")) {
            chat::Undelivered told;
            told.message = status.string_or("id", "");
            told.chat = status.string_or("recipient_id", "");
            if (status.string_or("status", "") != "failed" || told.message.empty()) continue;
            const Json::Array& errors = items(status, "errors");
            const Json error = errors.empty() ? Json::object() : errors.front();
            told.reason = reason_of(error);
            told.otherwise = is_closed(error);
            out.push_back(std::move(told));
        }
    }
    return out;
}

std::optional<Json> plan_body(const chat::Outgoing& message) {
    const chat::Content& content = message.content;
    if (!content.is_card || content.card.buttons.empty() ||
        shows_code(content.card, message.plain, kMaxBody) ||
        !shows_code(content.card, message.plain, kMaxText))
        return std::nullopt;
    chat::Outgoing plan = message;
    plan.content.card.buttons.clear();
    return message_body(plan, "");
}

std::optional<Json> message_body(const chat::Outgoing& message, std::string_view media) {
    const chat::Content& content = message.content;
    if (content.is_card && !content.card.buttons.empty()) return card_body(message);
    const bool file = !content.is_card && !content.file_name.empty();
    auto body = envelope(message, file ? "document" : "text");
    if (!body) return body;
    if (file) {
        Json document = Json::object();
        document.set("id", media).set("filename", chat::file_name(content.file_name));
        const std::string caption = markdown_text(content.markdown, message.plain, kMaxBody);
        if (!caption.empty()) document.set("caption", caption);
        body->set("document", std::move(document));
        return body;
    }
    const std::string text = content.is_card ? card_text(content.card, message.plain, kMaxText)
                                             : markdown_text(content.markdown, message.plain);
    body->set("text", Json::object().set("body", text).set("preview_url", false));
    return body;
}

std::optional<Json> template_body(const chat::Outgoing& message, const Template& shape) {
    const chat::Content& content = message.content;
    const std::string text = content.is_card ? card_text(content.card, true, kMaxText)
                                             : chat::to_plain(content.markdown);
    return filled(message, shape, one_line(text), {});
}

std::optional<Json> approval_body(const chat::Outgoing& message, const Template& shape) {
    chat::Card card = message.content.card;
    const bool decides =
        message.content.is_card &&
        std::any_of(card.buttons.begin(), card.buttons.end(), [](const chat::Button& button) {
            return button.needs_code;
        });
    const std::string code = chat::to_text(card.code);
    if (!decides || code.find(kLineEnd) != std::string::npos) return std::nullopt;
    card.code.clear();
    for (const char c : code) card.code += c == '\n' ? kLineEnd + " " : std::string(1, c);
    const std::string text = one_line(card_text(card, true, kMaxTemplateText));
    if (text.find(card.code) == std::string::npos) return std::nullopt;
    return filled(message, shape, text, card.buttons);
}

http::Form form_of(const chat::Content& file, std::string boundary) {
    http::Form form(std::move(boundary));
    form.field("messaging_product", "whatsapp");
    form.field("type", "text/plain");
    form.file("file", chat::file_name(file.file_name), file.file_bytes, "text/plain");
    return form;
}

bool window_closed(const Json& body) {
    const Json* error = error_in(body);
    return error != nullptr && is_closed(*error);
}

chat::SendError error_of(int status, const Json& body) {
    using Kind = chat::SendError::Kind;
    const Json* error = error_in(body);
    const std::int64_t code = error == nullptr ? -1 : error->int_or("code", -1);
    const std::string words =
        error == nullptr ? "no words" : error->string_or("message", "no words");
    const std::string why = std::to_string(status) + (code < 0 ? "" : " " + std::to_string(code)) +
                            " " + chat::cut(chat::to_text(words), 300, Unit::kCodePoints);
    if (window_closed(body))
        return {Kind::kRefused, {}, "the 24-hour window is closed (" + why + ")"};
    // Rates: of the app, the account, the number, and of one person.
    for (const int rate : {4, 80'007, 130'429, 131'048, 131'056, 133'016}) {
        if (code == rate) return {Kind::kLater, {}, why};
    }
    if (status == 429) return {Kind::kLater, {}, why};
    if (code == 190 || code == 0 || status == 401) return {Kind::kUnauthorized, {}, why};
    if (code == 3 || code == 10 || (code >= 200 && code < 300))
        return {Kind::kUnauthorized, {}, why};
    // Said before anything was done; another 5xx may come after the message was sent.
    if (status == 502 || status == 503 || code == 131'016 || code == 2)
        return {Kind::kLater, {}, why};
    if (status >= 500 || code == 131'000) return {Kind::kFailed, {}, why};
    if (status < 400) return {Kind::kUnknown, {}, why};
    return {Kind::kRefused, {}, why};
}

}  // namespace berth::whatsapp
