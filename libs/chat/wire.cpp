// SPDX-License-Identifier: Apache-2.0
// Fields by name; what is absent is empty.
#include "chat/wire.hpp"

#include "core/json.hpp"
#include "core/text.hpp"

namespace berth::chat {
namespace {

constexpr Json::Limits kLimits{16U << 20U, 16};

/// Text that any database and any JSON reader takes.
std::string well_formed(const std::string& text) {
    if (is_utf8(text)) return text;
    std::string out;
    for (const char c : text) out += static_cast<unsigned char>(c) < 0x80 ? c : '?';
    return out;
}

void put(Json& out, std::string_view key, const std::string& value) {
    if (!value.empty()) out.set(key, well_formed(value));
}

Json to_value(const Card& card) {
    Json out = Json::object();
    put(out, "title", card.title);
    out.set("tone", static_cast<int>(card.tone));
    put(out, "text", card.text);
    put(out, "code", card.code);
    put(out, "footer", card.footer);
    Json fields = Json::array();
    for (const auto& field : card.fields) {
        Json one = Json::object();
        put(one, "label", field.label);
        put(one, "value", field.value);
        fields.push(std::move(one));
    }
    out.set("fields", std::move(fields));
    Json buttons = Json::array();
    for (const auto& button : card.buttons) {
        Json one = Json::object();
        put(one, "token", button.token);
        put(one, "label", button.label);
        one.set("style", static_cast<int>(button.style));
        one.set("asks_comment", button.asks_comment);
        one.set("needs_code", button.needs_code);
        buttons.push(std::move(one));
    }
    out.set("buttons", std::move(buttons));
    return out;
}

template <typename Enum>
Enum enum_of(const Json& json, std::string_view key, Enum last) {
    const auto value = json.int_or(key, 0);
    return value < 0 || value > static_cast<std::int64_t>(last) ? Enum{} : static_cast<Enum>(value);
}

Card card_of(const Json& json) {
    Card card;
    card.title = json.string_or("title", "");
    card.tone = enum_of(json, "tone", Tone::kBad);
    card.text = json.string_or("text", "");
    card.code = json.string_or("code", "");
    card.footer = json.string_or("footer", "");
    const auto each = [&](std::string_view key, const auto& take) {
        const Json* list = json.find(key);
        if (list == nullptr || list->as_array() == nullptr) return;
        for (const Json& one : *list->as_array()) take(one);
    };
    each("fields", [&](const Json& one) {
        card.fields.push_back({one.string_or("label", ""), one.string_or("value", "")});
    });
    each("buttons", [&](const Json& one) {
        card.buttons.push_back(
            {one.string_or("token", ""),
             one.string_or("label", ""),
             enum_of(one, "style", ButtonStyle::kDanger),
             one.bool_or("asks_comment", false),
             one.bool_or("needs_code", false)}
        );
    });
    return card;
}

}  // namespace

std::string to_json(const Inbound& inbound) {
    Json out = Json::object();
    put(out, "event_id", inbound.event_id);
    out.set("kind", static_cast<int>(inbound.kind));
    put(out, "chat", inbound.conversation.chat);
    put(out, "thread", inbound.conversation.thread);
    out.set("direct", inbound.direct);
    put(out, "person", inbound.person.id);
    put(out, "person_name", inbound.person.name);
    put(out, "text", clipped(inbound.text, Inbound::kMaxText));
    put(out, "token", inbound.token.substr(0, Button::kMaxToken));
    put(out, "comment", clipped(inbound.comment, Inbound::kMaxText));
    put(out, "message", inbound.message);
    put(out, "handle", inbound.handle);
    out.set("at", static_cast<std::int64_t>(to_unix_micros(inbound.at)));
    return out.dump();
}

Result<Inbound> inbound_from_json(std::string_view text) {
    BERTH_ASSIGN(const Json json, Json::parse(text, kLimits));
    Inbound out;
    out.event_id = json.string_or("event_id", "");
    out.kind = enum_of(json, "kind", InboundKind::kClick);
    out.conversation = {json.string_or("chat", ""), json.string_or("thread", "")};
    out.direct = json.bool_or("direct", false);
    out.person = {json.string_or("person", ""), json.string_or("person_name", "")};
    out.text = json.string_or("text", "");
    out.token = json.string_or("token", "");
    out.comment = json.string_or("comment", "");
    out.message = json.string_or("message", "");
    out.handle = json.string_or("handle", "");
    out.at = from_unix_micros(json.int_or("at", 0));
    return out;
}

std::string to_json(const Content& content) {
    Json out = Json::object();
    put(out, "markdown", content.markdown);
    put(out, "file_name", content.file_name);
    if (content.is_card) out.set("card", to_value(content.card));
    return out.dump();
}

Result<Content> content_from_json(std::string_view text) {
    BERTH_ASSIGN(const Json json, Json::parse(text, kLimits));
    Content out;
    out.markdown = json.string_or("markdown", "");
    out.file_name = json.string_or("file_name", "");
    if (const Json* card = json.find("card")) {
        out.is_card = true;
        out.card = card_of(*card);
    }
    return out;
}

}  // namespace berth::chat
