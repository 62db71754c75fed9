// SPDX-License-Identifier: Apache-2.0
// From Discord: messages, commands, clicks and modals.
#include <algorithm>
#include <charconv>

#include "chat/length.hpp"
#include "core/text.hpp"
#include "discord/settings.hpp"
#include "discord/wire.hpp"

namespace berth::discord {
namespace {

constexpr long long kEpochMillis = 1'420'070'400'000;  // 2015-01-01, Discord's first second
constexpr int kTimeShift = 22;

enum ChannelKind { kDirect = 1, kAnnouncementThread = 10, kPublicThread = 11, kPrivateThread = 12 };
enum MessageKind { kSaid = 0, kReply = 19 };
enum InteractionKind { kPing = 1, kCommand = 2, kComponent = 3, kModal = 5 };
enum AnswerKind { kPong = 1, kDeferMessage = 5, kDeferUpdate = 6, kShowModal = 9 };
enum OptionKind { kSubcommand = 1, kString = 3 };
constexpr int kButton = 2;
constexpr int kWithBot = 1;  // an interaction's context

bool is_thread(std::int64_t kind) {
    return kind == kAnnouncementThread || kind == kPublicThread || kind == kPrivateThread;
}

std::string id_in(const Json* object, std::string_view key) {
    if (object == nullptr) return {};
    std::string id = object->string_or(key, "");
    return is_id(id) ? id : std::string();
}

chat::Person person_of(const Json& user) {
    chat::Person person;
    person.id = id_in(&user, "id");
    person.name = user.string_or("global_name", "");
    if (person.name.empty()) person.name = user.string_or("username", "");
    return person;
}

bool mentions(const Json& data, std::string_view id) {
    const Json* list = data.find("mentions");
    if (list == nullptr || list->as_array() == nullptr) return false;
    const auto& users = *list->as_array();
    return std::any_of(users.begin(), users.end(), [&](const Json& user) {
        return user.string_or("id", "") == id;
    });
}

/// Without the mention it begins with; one in the middle belongs to what is said.
std::string without_mention(std::string_view content, const std::string& id) {
    std::string text = trimmed(content);
    for (const std::string& mark : {"<@" + id + ">", "<@!" + id + ">"}) {
        if (text.starts_with(mark)) return trimmed(std::string_view(text).substr(mark.size()));
    }
    return text;
}

std::string limited(std::string text) {
    if (text.size() > chat::Inbound::kMaxText)
        text.resize(chat::fitting(text, chat::Inbound::kMaxText / 4, chat::Unit::kCodePoints));
    return text;
}

/// The verb and what follows it.
std::string command_text(const Json& data) {
    std::string text;
    const Json* options = data.find("options");
    for (int depth = 0; depth < 3 && options != nullptr && options->as_array() != nullptr;
         ++depth) {
        const Json* inner = nullptr;
        for (const Json& option : *options->as_array()) {
            if (option.int_or("type", 0) == kString) {
                text += (text.empty() ? "" : " ") + option.string_or("value", "");
            } else {
                text += (text.empty() ? "" : " ") + option.string_or("name", "");
                inner = option.find("options");
            }
        }
        options = inner;
    }
    return trimmed(text);
}

/// The first text of a modal, whichever of its two forms it came in.
std::string comment_of(const Json& data) {
    const Json* rows = data.find("components");
    if (rows == nullptr || rows->as_array() == nullptr) return {};
    for (const Json& row : *rows->as_array()) {
        if (const Json* one = row.find("component"); one != nullptr)
            return trimmed(one->string_or("value", ""));
        const Json* items = row.find("components");
        if (items == nullptr || items->as_array() == nullptr) continue;
        for (const Json& item : *items->as_array()) return trimmed(item.string_or("value", ""));
    }
    return {};
}

std::string label_of(const Json& data, std::string_view custom_id) {
    const Json* message = data.find("message");
    const Json* rows = message == nullptr ? nullptr : message->find("components");
    if (rows == nullptr || rows->as_array() == nullptr) return {};
    for (const Json& row : *rows->as_array()) {
        const Json* items = row.find("components");
        if (items == nullptr || items->as_array() == nullptr) continue;
        for (const Json& item : *items->as_array()) {
            if (item.string_or("custom_id", "") == custom_id) return item.string_or("label", "");
        }
    }
    return {};
}

Json modal_of(const std::string& token, std::string label) {
    if (label.empty()) label = "Comment";
    Json input = Json::object();
    input.set("type", 4).set("custom_id", "comment").set("label", "Comment").set("style", 2);
    input.set("required", true)
        .set("min_length", 1)
        .set("max_length", static_cast<std::int64_t>(kMaxComment));
    Json row = Json::object();
    row.set("type", 1).set("components", Json::array().push(std::move(input)));
    Json data = Json::object();
    data.set("custom_id", "m:" + token);
    data.set("title", chat::cut(label, kMaxModalTitle, chat::Unit::kUtf16));
    data.set("components", Json::array().push(std::move(row)));
    return Json::object().set("type", kShowModal).set("data", std::move(data));
}

bool is_token(std::string_view text) {
    return !text.empty() && text.size() <= chat::Button::kMaxToken &&
           std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_';
           });
}

/// Who, where and when; false where Discord did not say.
bool place(const Json& data, chat::Inbound& inbound) {
    const Json* member = data.find("member");
    const Json* user = member != nullptr ? member->find("user") : data.find("user");
    if (user == nullptr || user->bool_or("bot", false)) return false;
    inbound.person = person_of(*user);
    inbound.event_id = id_in(&data, "id");
    const Json* channel = data.find("channel");
    std::string id = id_in(channel, "id");
    if (id.empty()) id = id_in(&data, "channel_id");
    if (inbound.person.id.empty() || inbound.event_id.empty() || id.empty()) return false;
    inbound.at = time_of(inbound.event_id);
    inbound.conversation.chat = id;
    const std::int64_t kind = channel == nullptr ? -1 : channel->int_or("type", -1);
    // Installed by a person, the bot is also asked in that person's chats with others.
    inbound.direct = kind == kDirect && data.int_or("context", kWithBot) == kWithBot;
    if (const std::string parent = id_in(channel, "parent_id"); is_thread(kind) && !parent.empty())
        inbound.conversation = {parent, id};
    return true;
}

void fill_click(const Json& data, std::string_view token, Told& told) {
    told.inbound->kind = chat::InboundKind::kClick;
    told.inbound->token = std::string(token);
    told.inbound->message = id_in(data.find("message"), "id");
    told.answer = Json::object().set("type", kDeferUpdate);
}

}  // namespace

bool is_id(std::string_view text) {
    return !text.empty() && text.size() <= 20 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

WallTime time_of(std::string_view id) {
    std::uint64_t number = 0;
    const auto read = std::from_chars(id.data(), id.data() + id.size(), number);
    if (read.ec != std::errc{} || read.ptr != id.data() + id.size()) return WallTime{};
    return WallTime{milliseconds{static_cast<long long>(number >> kTimeShift) + kEpochMillis}};
}

std::string id_at(WallTime time) {
    const auto since = std::chrono::floor<milliseconds>(time.time_since_epoch()).count();
    return std::to_string(static_cast<std::uint64_t>(since - kEpochMillis) << kTimeShift);
}

bool is_before(std::string_view a, std::string_view b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
}

std::string Handle::text() const {
    return std::string(kind == Kind::kCommand ? "c" : "u") + "/" + application + "/" + person +
           "/" + interaction + "/" + token;
}

std::optional<Handle> Handle::parse(std::string_view text) {
    const auto parts = split(text, '/');
    if (parts.size() != 5 || (parts[0] != "c" && parts[0] != "u") || !is_id(parts[1]) ||
        !is_id(parts[2]) || !is_id(parts[3]) || parts[4].empty())
        return std::nullopt;
    return Handle{
        parts[0] == "c" ? Kind::kCommand : Kind::kClick,
        std::string(parts[1]),
        std::string(parts[2]),
        std::string(parts[3]),
        std::string(parts[4])};
}

bool Handle::alive(WallTime now) const { return now - time_of(interaction) < kTokenLife; }

Told message_of(const Json& data, const Bot& bot) {
    Told told;
    const Json* author = data.find("author");
    const std::int64_t type = data.int_or("type", -1);
    if (author == nullptr || author->bool_or("bot", false) || author->bool_or("system", false) ||
        data.find("webhook_id") != nullptr || (type != kSaid && type != kReply))
        return told;
    chat::Inbound inbound;
    inbound.event_id = id_in(&data, "id");
    inbound.person = person_of(*author);
    inbound.conversation.chat = id_in(&data, "channel_id");
    if (inbound.event_id.empty() || inbound.person.id.empty() || inbound.conversation.chat.empty())
        return told;
    const bool in_guild = !id_in(&data, "guild_id").empty();
    const std::int64_t kind = data.int_or("channel_type", in_guild ? -1 : kDirect);
    inbound.direct = kind == kDirect;
    if (!inbound.direct && !mentions(data, bot.id)) return told;
    inbound.kind = chat::InboundKind::kMessage;
    inbound.text = limited(without_mention(data.string_or("content", ""), bot.id));
    inbound.message = id_in(data.find("message_reference"), "message_id");
    inbound.at = time_of(inbound.event_id);
    told.needs_parent = in_guild && (kind == -1 || is_thread(kind));
    told.inbound = std::move(inbound);
    return told;
}

Told interaction_of(const Json& data) {
    Told told;
    told.interaction = id_in(&data, "id");
    told.token = data.string_or("token", "");
    const std::int64_t kind = data.int_or("type", 0);
    if (kind == kPing) {
        told.answer = Json::object().set("type", kPong);
        return told;
    }
    chat::Inbound inbound;
    const Json* inner = data.find("data");
    const std::string application = id_in(&data, "application_id");
    if (inner == nullptr || application.empty() || told.interaction.empty() || told.token.empty() ||
        told.token.find('/') != std::string::npos || !place(data, inbound))
        return told;
    told.inbound = std::move(inbound);
    Handle handle{
        Handle::Kind::kClick, application, told.inbound->person.id, told.interaction, told.token};
    const std::string custom_id = inner->string_or("custom_id", "");
    const std::string token =
        custom_id.size() > 2 ? custom_id.substr(2, custom_id.find(':', 2) - 2) : std::string();
    if (kind == kCommand && inner->string_or("name", "") == "berth") {
        handle.kind = Handle::Kind::kCommand;
        told.inbound->kind = chat::InboundKind::kCommand;
        told.inbound->text = limited(command_text(*inner));
        told.answer = Json::object().set("type", kDeferMessage);
    } else if (kind == kComponent && inner->int_or("component_type", 0) == kButton && is_token(token) &&
               custom_id.starts_with("c:")) {
        told.answer = modal_of(token, label_of(data, custom_id));
        told.inbound.reset();
    } else if (kind == kComponent && inner->int_or("component_type", 0) == kButton && is_token(token) &&
               custom_id.starts_with("b:")) {
        fill_click(data, token, told);
    } else if (kind == kModal && is_token(token) && custom_id.starts_with("m:")) {
        fill_click(data, token, told);
        told.inbound->comment = limited(comment_of(*inner));
    } else {
        told.inbound.reset();
    }
    if (told.inbound) told.inbound->handle = handle.text();
    return told;
}

}  // namespace berth::discord
