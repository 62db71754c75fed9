// SPDX-License-Identifier: Apache-2.0
// Updates in: which of them are said to the bot, and what they say.
#include <algorithm>
#include <cctype>

#include "chat/length.hpp"
#include "core/text.hpp"
#include "net/http_types.hpp"
#include "telegram/wire.hpp"

namespace berth::telegram {
namespace {

/// The byte where UTF-16 offset `units` of `text` lies; Telegram counts entities so.
std::size_t byte_at(std::string_view text, std::int64_t units) {
    std::size_t at = 0;
    for (std::int64_t passed = 0; at < text.size() && passed < units;) {
        const auto lead = static_cast<unsigned char>(text[at]);
        passed += lead >= 0xF0U ? 2 : 1;
        at += lead >= 0xF0U ? 4 : lead >= 0xE0U ? 3 : lead >= 0xC0U ? 2 : 1;
    }
    return std::min(at, text.size());
}

struct Entity {
    std::string type;
    std::size_t from = 0;  ///< bytes
    std::size_t to = 0;
    std::int64_t user = 0;  ///< of a text_mention
};

std::vector<Entity> entities_of(const Json& message, std::string_view text) {
    std::vector<Entity> found;
    const Json* list = message.find("entities");
    if (list == nullptr || list->as_array() == nullptr) return found;
    for (const Json& item : *list->as_array()) {
        const std::int64_t offset = item.int_or("offset", -1);
        const std::int64_t size = item.int_or("length", 0);
        constexpr std::int64_t kFar = 1 << 20;  // beyond any message: no overflow below
        if (offset < 0 || size <= 0 || offset > kFar || size > kFar) continue;
        Entity entity{
            item.string_or("type", ""), byte_at(text, offset), byte_at(text, offset + size), 0};
        if (const Json* user = item.find("user")) entity.user = user->int_or("id", 0);
        found.push_back(std::move(entity));
    }
    return found;
}

chat::Person person_of(const Json& user) {
    std::string name = user.string_or("username", "");
    if (name.empty()) {
        name = user.string_or("first_name", "");
        const std::string last = user.string_or("last_name", "");
        if (!last.empty()) name += " " + last;
    }
    return {std::to_string(user.int_or("id", 0)), chat::to_text(name)};
}

/// A topic counts only where the message lies in one: elsewhere the number is a reply chain's.
chat::Conversation conversation_of(const Json& message) {
    const Json* chat = message.find("chat");
    chat::Conversation where;
    where.chat = chat == nullptr ? "" : std::to_string(chat->int_or("id", 0));
    const std::int64_t topic = message.int_or("message_thread_id", 0);
    if (message.bool_or("is_topic_message", false) && topic > 0)
        where.thread = std::to_string(topic);
    return where;
}

bool is_direct(const Json& message) {
    const Json* chat = message.find("chat");
    return chat != nullptr && chat->string_or("type", "") == "private";
}

/// Said by a person, here and now.
bool is_own_words(const Json& message) {
    const Json* from = message.find("from");
    const Json* chat = message.find("chat");
    if (from == nullptr || from->int_or("id", 0) <= 0 || from->bool_or("is_bot", false))
        return false;
    if (chat == nullptr || chat->int_or("id", 0) == 0) return false;
    const std::string type = chat->string_or("type", "");
    if (type != "private" && type != "group" && type != "supergroup") return false;
    // A forwarded "/berth approve" is somebody else's sentence, an inline bot's is a bot's, and a
    // sender_chat is a channel or an anonymous administrator: no person to hold to it.
    for (const char* foreign :
         {"forward_origin", "forward_date", "via_bot", "sender_chat", "business_connection_id"}) {
        if (message.find(foreign) != nullptr) return false;
    }
    return true;
}

/// "/run@our_bot x" read as far as it is ours.
struct Command {
    bool ours = false;
    std::string text;
};

Command command_of(
    std::string_view text,
    const Entity& entity,
    const Bot& bot,
    const std::vector<MenuCommand>& menu,
    bool direct
) {
    std::string_view word = text.substr(entity.from, entity.to - entity.from);
    word.remove_prefix(1);  // the slash
    const std::size_t at = word.find('@');
    const bool named = at != std::string_view::npos;
    if (named && !net::equal_no_case(word.substr(at + 1), bot.username)) return {};
    std::string name(word.substr(0, at));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
        return static_cast<char>(std::tolower(c));
    });
    const std::string rest = trimmed(text.substr(entity.to));
    if (name == "berth") return {true, rest};
    // The button that opens a chat with a bot; behind it the word of a t.me link: a code.
    if (name == "start") return {direct || named, rest.empty() ? "help" : "pair " + rest};
    const bool known =
        std::any_of(menu.begin(), menu.end(), [&](const MenuCommand& c) { return c.name == name; });
    // An unknown command in a group may be another bot's; addressed to this one it gets the usage.
    return {known || direct || named, rest.empty() ? name : name + " " + rest};
}

/// True where the message calls the bot by name; the first mention is taken out of `text`.
bool take_mention(std::string& text, const std::vector<Entity>& entities, const Bot& bot) {
    for (const Entity& entity : entities) {
        const std::string_view word =
            std::string_view(text).substr(entity.from, entity.to - entity.from);
        const bool by_name = entity.type == "mention" && word.size() > 1 &&
                             net::equal_no_case(word.substr(1), bot.username);
        if (by_name || (entity.type == "text_mention" && entity.user == bot.id)) {
            text.erase(entity.from, entity.to - entity.from);
            return true;
        }
    }
    return false;
}

std::optional<chat::Inbound> message_of(
    const Json& message, const Bot& bot, const std::vector<MenuCommand>& menu
) {
    if (!is_own_words(message)) return std::nullopt;
    const Json* body = message.find("text");
    if (body == nullptr || body->as_string() == nullptr) return std::nullopt;
    std::string text = *body->as_string();
    const std::vector<Entity> entities = entities_of(message, text);
    chat::Inbound inbound;
    inbound.direct = is_direct(message);
    inbound.conversation = conversation_of(message);
    inbound.person = person_of(*message.find("from"));
    inbound.at = from_unix_micros(message.int_or("date", 0) * 1'000'000);
    const Json* answered = message.find("reply_to_message");
    const Json* author = answered == nullptr ? nullptr : answered->find("from");
    const bool to_bot = author != nullptr && author->int_or("id", 0) == bot.id;
    if (to_bot) inbound.message = std::to_string(answered->int_or("message_id", 0));
    if (!entities.empty() && entities.front().type == "bot_command" && entities.front().from == 0) {
        Command command = command_of(text, entities.front(), bot, menu, inbound.direct);
        if (!command.ours) return std::nullopt;
        inbound.kind = chat::InboundKind::kCommand;
        inbound.text = std::move(command.text);
    } else {
        const bool called = take_mention(text, entities, bot);
        if (!inbound.direct && !called && !to_bot) return std::nullopt;
        inbound.text = trimmed(text);
        if (inbound.text.empty()) return std::nullopt;
    }
    inbound.text.resize(std::min(
        inbound.text.size(),
        chat::fitting(inbound.text, chat::Inbound::kMaxText / 4, chat::Unit::kUtf16)
    ));
    return inbound;
}

std::optional<chat::Inbound> click_of(const Json& query, WallTime now) {
    const Json* from = query.find("from");
    const Json* message = query.find("message");
    const std::string token = query.string_or("data", "");
    if (from == nullptr || from->int_or("id", 0) <= 0 || from->bool_or("is_bot", false))
        return std::nullopt;
    if (message == nullptr || message->find("chat") == nullptr || token.empty())
        return std::nullopt;
    if (token.size() > chat::Button::kMaxToken) return std::nullopt;
    chat::Inbound inbound;
    inbound.kind = chat::InboundKind::kClick;
    inbound.direct = is_direct(*message);
    inbound.conversation = conversation_of(*message);
    inbound.person = person_of(*from);
    inbound.token = token;
    inbound.message = std::to_string(message->int_or("message_id", 0));
    inbound.handle = query.string_or("id", "");
    inbound.at = now;
    return inbound;
}

}  // namespace

std::optional<Bot> bot_of(const Json& user) {
    Bot bot{user.int_or("id", 0), user.string_or("username", "")};
    if (bot.id <= 0 || bot.username.empty() || !user.bool_or("is_bot", false)) return std::nullopt;
    return bot;
}

std::optional<chat::Inbound> inbound_of(
    const Json& update, const Bot& bot, const std::vector<MenuCommand>& menu, WallTime now
) {
    const std::int64_t id = update.int_or("update_id", -1);
    if (id < 0) return std::nullopt;
    std::optional<chat::Inbound> inbound;
    if (const Json* message = update.find("message")) inbound = message_of(*message, bot, menu);
    if (const Json* query = update.find("callback_query")) inbound = click_of(*query, now);
    // With the bot's id: another bot counts its updates for itself.
    if (inbound) inbound->event_id = std::to_string(bot.id) + "/" + std::to_string(id);
    return inbound;
}

}  // namespace berth::telegram
