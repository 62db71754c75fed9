// SPDX-License-Identifier: Apache-2.0
// To Discord: cards as embeds, Markdown as content, buttons, commands, files.
#include <algorithm>
#include <limits>

#include "chat/length.hpp"
#include "chat/markdown.hpp"
#include "discord/settings.hpp"
#include "discord/wire.hpp"

namespace berth::discord {
namespace {

constexpr chat::Unit kUnit = chat::Unit::kUtf16;  // never less than what Discord counts
constexpr const char* kNoWidth = "\u200b";
constexpr std::string_view kCutMark = "…";

enum ButtonKind { kSecondary = 2, kSuccess = 3, kDanger = 4 };
constexpr int kEphemeralFlag = 1 << 6;

constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

std::size_t size_of(std::string_view text) { return chat::length(text, kUnit); }
std::string cut(std::string_view text, std::size_t max) { return chat::cut(text, max, kUnit); }

int colour_of(chat::Tone tone) {
    switch (tone) {
        case chat::Tone::kNeutral: return 0x5865F2;
        case chat::Tone::kWaiting: return 0xF0B232;
        case chat::Tone::kGood: return 0x23A55A;
        case chat::Tone::kBad: return 0xDA373C;
    }
    return 0x5865F2;
}

/// The longest beginning of plain text that is at most `max` when escaped, with a mark where it is
/// cut.
std::string escaped_within(std::string_view text, std::size_t max) {
    std::string all = escape(text);
    if (size_of(all) <= max) return all;
    std::size_t low = 0;
    std::size_t high = std::min(max, size_of(text));
    while (low < high) {
        const std::size_t middle = (low + high + 1) / 2;
        const std::string_view part = text.substr(0, chat::fitting(text, middle, kUnit));
        (size_of(escape(part)) + 1 <= max ? low : high) =
            size_of(escape(part)) + 1 <= max ? middle : middle - 1;
    }
    return escape(text.substr(0, chat::fitting(text, low, kUnit))) + std::string(kCutMark);
}

/// Shown word for word: a run of three backticks would end the block.
std::string fenced(std::string_view code, std::size_t max) {
    constexpr std::size_t kFences = 8;  // two fences and two line feeds
    if (max <= kFences + 1) return {};
    std::string inside;
    for (std::size_t i = 0; i < code.size(); ++i) {
        inside += code[i];
        if (code[i] == '`' && i + 1 < code.size() && code[i + 1] == '`') inside += kNoWidth;
    }
    inside = cut(inside, max - kFences);
    return "```\n" + inside + (inside.ends_with('\n') ? "" : "\n") + "```";
}

std::string never_empty(std::string text) { return text.empty() ? kNoWidth : text; }

Json embed_of(const chat::Card& card) {
    Json embed = Json::object();
    const std::string title = escaped_within(card.title, kMaxTitle);
    const std::string footer = cut(card.footer, kMaxFooter);
    // A field's room is kept for each of them, then what is left is the description's.
    std::size_t left = kMaxEmbed - size_of(title) - size_of(footer);
    const std::size_t fields = std::min(card.fields.size(), kMaxFields);
    constexpr std::size_t kFieldRoom = 120;
    std::size_t room = std::min(kMaxDescription, left - fields * kFieldRoom);
    std::string description = escaped_within(card.text, std::min(room, kMaxDescription / 2));
    if (!card.code.empty()) {
        const std::size_t used = description.empty() ? 0 : size_of(description) + 1;
        const std::string block = fenced(card.code, room - std::min(room, used));
        if (!block.empty()) description += (description.empty() ? "" : "\n") + block;
    }
    left -= size_of(description);
    if (!title.empty()) embed.set("title", title);
    embed.set("description", title.empty() ? never_empty(description) : description);
    embed.set("color", colour_of(card.tone));
    Json list = Json::array();
    for (std::size_t i = 0; i < fields; ++i) {
        const std::size_t others = (fields - i - 1) * kFieldRoom;
        const std::size_t mine = left - others;
        const std::string name =
            never_empty(escaped_within(card.fields[i].label, std::min(kMaxFieldName, mine / 2)));
        const std::string value = never_empty(
            escaped_within(card.fields[i].value, std::min(kMaxFieldValue, mine - size_of(name)))
        );
        left -= size_of(name) + size_of(value);
        constexpr std::size_t kShort = 40;
        list.push(Json::object()
                      .set("name", name)
                      .set("value", value)
                      .set("inline", size_of(value) <= kShort));
    }
    if (fields > 0) embed.set("fields", std::move(list));
    if (!footer.empty()) embed.set("footer", Json::object().set("text", footer));
    return embed;
}

/// The buttons' ids tell, too, which message they are of: history gives them, and no nonces.
Json components_of(const std::vector<chat::Button>& buttons, const std::string& nonce) {
    Json rows = Json::array();
    Json row = Json::array();
    std::size_t in_row = 0;
    std::size_t count = 0;
    for (const auto& button : buttons) {
        if (++count > kMaxButtonsInRow * kMaxRows) break;
        const int style = button.style == chat::ButtonStyle::kGood     ? kSuccess
                          : button.style == chat::ButtonStyle::kDanger ? kDanger
                                                                       : kSecondary;
        Json item = Json::object();
        item.set("type", 2)
            .set("style", style)
            .set("label", never_empty(cut(button.label, kMaxLabel)));
        item.set(
            "custom_id",
            (button.asks_comment ? "c:" : "b:") + button.token + (nonce.empty() ? "" : ":" + nonce)
        );
        row.push(std::move(item));
        if (++in_row == kMaxButtonsInRow) {
            rows.push(
                Json::object().set("type", 1).set("components", std::exchange(row, Json::array()))
            );
            in_row = 0;
        }
    }
    if (in_row > 0) rows.push(Json::object().set("type", 1).set("components", std::move(row)));
    return rows;
}

/// A card without an embed, for when Discord refused that.
std::string card_text(const chat::Card& card) {
    std::string text = card.title;
    if (!card.text.empty()) text += "\n" + card.text;
    for (const auto& field : card.fields) text += "\n" + field.label + ": " + field.value;
    if (!card.footer.empty()) text += "\n" + card.footer;
    constexpr std::size_t kWords = 1'000;  // the rest is the code's
    std::string out = escaped_within(text, card.code.empty() ? kMaxContent : kWords);
    if (!card.code.empty()) out += "\n" + fenced(card.code, kMaxContent - size_of(out) - 1);
    return out;
}

bool shows_code(const chat::Card& card, bool plain) {
    const std::string text = plain ? card_text(card) : embed_of(card).string_or("description", "");
    return card.code.empty() || text.find(fenced(card.code, kNoLimit)) != std::string::npos;
}

/// What an embed says, without what Discord adds to it.
Json words_of(const Json* embeds) {
    Json out = Json::array();
    if (embeds == nullptr || embeds->as_array() == nullptr) return out;
    for (const Json& embed : *embeds->as_array()) {
        Json words = Json::array();
        words.push(trimmed(embed.string_or("title", "")))
            .push(trimmed(embed.string_or("description", "")));
        const Json* footer = embed.find("footer");
        words.push(footer == nullptr ? std::string() : trimmed(footer->string_or("text", "")));
        const Json* fields = embed.find("fields");
        if (fields != nullptr && fields->as_array() != nullptr) {
            for (const Json& field : *fields->as_array())
                words.push(trimmed(field.string_or("name", "")))
                    .push(trimmed(field.string_or("value", "")));
        }
        out.push(std::move(words));
    }
    return out;
}

Json names_of(const Json* attachments) {
    Json out = Json::array();
    if (attachments == nullptr || attachments->as_array() == nullptr) return out;
    for (const Json& file : *attachments->as_array()) out.push(file.string_or("filename", ""));
    return out;
}

}  // namespace

Json commands_of(const std::vector<Verb>& verbs) {
    Json options = Json::array();
    std::size_t count = 0;
    for (const auto& verb : verbs) {
        if (++count > kMaxSubcommands) break;
        Json option = Json::object();
        option.set("type", 1).set("name", verb.name);
        option.set("description", never_empty(cut(verb.description, kMaxCommandText)));
        if (!verb.arguments.empty()) {
            Json argument = Json::object();
            argument.set("type", 3).set("name", "arguments").set("required", false);
            argument.set("description", cut(verb.arguments, kMaxCommandText));
            argument.set("max_length", static_cast<std::int64_t>(kMaxOption));
            option.set("options", Json::array().push(std::move(argument)));
        }
        options.push(std::move(option));
    }
    Json command = Json::object();
    command.set("name", "berth").set("type", 1).set("description", "Machines, runs and approvals");
    command.set("options", std::move(options));
    return Json::array().push(std::move(command));
}

Json body_of(const chat::Outgoing& message) {
    const chat::Content& content = message.content;
    Json body = Json::object();
    Json embeds = Json::array();
    Json components = Json::array();
    std::string text;
    if (content.is_card) {
        const chat::Card card =
            chat::shown_card(content.card, shows_code(content.card, message.plain));
        components = components_of(card.buttons, nonce_of(message.key));
        if (message.plain) {
            text = card_text(card);
        } else {
            embeds.push(embed_of(card));
        }
    } else {
        text = markdown_text(content.markdown, message.plain);
        if (size_of(text) > kMaxContent) {  // escapes made it longer: an embed takes twice as much
            embeds.push(Json::object().set("description", cut(text, kMaxDescription)));
            text.clear();
        }
        if (text.empty() && embeds.as_array()->empty() && content.file_name.empty())
            text = kNoWidth;
    }
    body.set("content", text)
        .set("embeds", std::move(embeds))
        .set("components", std::move(components));
    body.set("allowed_mentions", Json::object().set("parse", Json::array()));
    if (!content.file_name.empty()) {
        Json file =
            Json::object().set("id", "0").set("filename", safe_file_name(content.file_name));
        body.set("attachments", Json::array().push(std::move(file)));
    }
    return body;
}

std::string nonce_of(std::string_view key) {
    // A ULID's first character changes once in a thousand years.
    return std::string(key.size() > kMaxNonce ? key.substr(key.size() - kMaxNonce) : key);
}

std::string marked_with(const Json& shown) {
    const Json* rows = shown.find("components");
    const Json* row = rows == nullptr || rows->as_array() == nullptr || rows->as_array()->empty()
                          ? nullptr
                          : rows->as_array()->front().find("components");
    if (row == nullptr || row->as_array() == nullptr || row->as_array()->empty()) return {};
    const std::string id = row->as_array()->front().string_or("custom_id", "");
    const auto mark = id.rfind(':');
    return mark == std::string::npos || mark < 2 ? std::string() : id.substr(mark + 1);
}

bool says_the_same(const Json& shown, const Json& body) {
    return trimmed(shown.string_or("content", "")) == trimmed(body.string_or("content", "")) &&
           words_of(shown.find("embeds")) == words_of(body.find("embeds")) &&
           names_of(shown.find("attachments")) == names_of(body.find("attachments"));
}

std::string safe_file_name(std::string_view name) {
    std::string out;
    for (const char c : name.substr(0, 100)) {
        const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
        out += fine ? c : '_';
    }
    return out.empty() ? "file" : out;
}

http::Form form_of(
    const Json& body, std::string_view name, std::string_view bytes, std::string boundary
) {
    http::Form form(std::move(boundary));
    form.field("payload_json", body.dump(), "application/json");
    form.file("files[0]", safe_file_name(name), bytes);
    return form;
}

std::string escape(std::string_view text) {
    const std::string clean = chat::to_text(text);
    std::string out;
    bool line_start = true;
    for (std::size_t i = 0; i < clean.size(); ++i) {
        const char c = clean[i];
        const bool always = std::string_view("\\*_~`|[]()<>").find(c) != std::string_view::npos;
        const bool at_start =
            line_start && std::string_view("#-+").find(c) != std::string_view::npos;
        const bool number = c == '.' && i > 0 && clean[i - 1] >= '0' && clean[i - 1] <= '9';
        const bool link =
            c == '/' && clean.compare(i, 2, "//") == 0 && i > 0 && clean[i - 1] == ':';
        if (always || at_start || number || link) out += '\\';
        out += c;
        if (c == '@') out += kNoWidth;  // @everyone, @here
        if (c != ' ') line_start = c == '\n';
    }
    return out;
}

std::string markdown_text(std::string_view markdown, bool plain) {
    if (plain) return escape(chat::to_plain(markdown));
    chat::Dialect dialect;
    dialect.span = [](const chat::Span& span) {
        if (span.code && span.link.empty()) {
            // Two backticks around, so that one may be inside; nothing in it is markup.
            std::string inside;
            for (const char c : span.text)
                inside += c == '`' ? std::string("`") + kNoWidth : std::string(1, c);
            return "``" + inside + "``";
        }
        std::string out = escape(span.text);
        if (!span.link.empty()) {
            std::string target;
            for (const char c : span.link) {
                if (c != '<' && c != '>' && c != ' ' && c != '\n') target += c;
            }
            if (span.text == span.link) {
                out = "<" + target + ">";
            } else {
                out = "[" + out + "](<" + target + ">)";
            }
        }
        // Marks do not open before white space: they go around the words.
        const auto first = out.find_first_not_of(" \n");
        if (first == std::string::npos) return out;
        const auto last = out.find_last_not_of(" \n");
        std::string words = out.substr(first, last - first + 1);
        if (span.strike) words = "~~" + words + "~~";
        if (span.emphasis) words = "*" + words + "*";
        if (span.strong) words = "**" + words + "**";
        return out.substr(0, first) + words + out.substr(last + 1);
    };
    dialect.code = [](const chat::Block& block) {
        std::string inside;
        const std::string text = block.spans.empty() ? std::string() : block.spans.front().text;
        for (std::size_t i = 0; i < text.size(); ++i) {
            inside += text[i];
            if (text[i] == '`' && i + 1 < text.size() && text[i + 1] == '`') inside += kNoWidth;
        }
        std::string info;
        for (const char c : block.info) {
            if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-') info += c;
        }
        return "```" + info + "\n" + inside + "\n```";
    };
    dialect.quote = [](const std::string& inner) {
        std::string out = "> ";
        for (const char c : inner) {
            out += c;
            if (c == '\n') out += "> ";
        }
        return out;
    };
    dialect.heading = [](const chat::Block& block, const std::string& text) {
        return std::string(static_cast<std::size_t>(std::clamp(block.level, 1, 3)), '#') + " " +
               text;
    };
    dialect.literal = [](const std::string& text) { return text; };
    return chat::render(chat::parse_markdown(markdown), dialect);
}

}  // namespace berth::discord
