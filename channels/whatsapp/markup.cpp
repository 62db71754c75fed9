// SPDX-License-Identifier: Apache-2.0
// *bold*, _italic_, ~struck~, `code`, ```block```, > quote.
#include "whatsapp/markup.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "chat/length.hpp"
#include "chat/markdown.hpp"
#include "core/text.hpp"

namespace berth::whatsapp {
namespace {

using chat::Unit;

constexpr std::string_view kJoiner = "\xE2\x81\xA0";  // U+2060
constexpr std::size_t kMaxTitle = 200;
constexpr std::size_t kMaxFieldLabel = 40;
constexpr std::size_t kMaxValue = 300;
constexpr std::size_t kMaxFooter = 100;
constexpr std::size_t kFence = 8;  // "```\n" twice

bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           static_cast<unsigned char>(c) >= 0x80U;
}

/// Each line of `text` between two marks, blanks outside: "*a *" would show its stars.
std::string marked(const std::string& text, std::string_view mark) {
    std::string out;
    bool first = true;
    for (const std::string_view line : split(text, '\n')) {
        if (!std::exchange(first, false)) out += '\n';
        const std::size_t from = line.find_first_not_of(' ');
        if (from == std::string_view::npos) {
            out.append(line);
            continue;
        }
        const std::size_t to = line.find_last_not_of(' ') + 1;
        out.append(line.substr(0, from)).append(mark).append(line.substr(from, to - from));
        out.append(mark).append(line.substr(to));
    }
    return out;
}

/// Code whose own back-ticks do not end it.
std::string ticked(std::string_view code) {
    std::string out;
    for (const char c : code) {
        out += c;
        if (c == '`') out += kJoiner;
    }
    return out;
}

std::string block(const std::string& code) { return "```\n" + ticked(code) + "\n```"; }

std::string span_text(const chat::Span& span) {
    const bool shown = span.link.empty() || span.link == span.text;
    std::string text;
    if (span.code) {
        text = "`" + ticked(span.text) + "`";
    } else {
        text = shown && !span.link.empty() ? span.text : literal(span.text);
        if (span.strike) text = marked(text, "~");
        if (span.emphasis) text = marked(text, "_");
        if (span.strong) text = marked(text, "*");
    }
    return shown ? text : text + " (" + span.link + ")";
}

chat::Dialect make_dialect() {
    chat::Dialect dialect = chat::plain_dialect();
    dialect.span = span_text;
    dialect.heading = nullptr;
    dialect.code = [](const chat::Block& code) { return block(code.spans.front().text); };
    return dialect;
}

std::string_view mark(chat::Tone tone) {
    switch (tone) {
        case chat::Tone::kWaiting: return "\xE2\x8F\xB3 ";
        case chat::Tone::kGood: return "\xE2\x9C\x85 ";
        case chat::Tone::kBad: return "\xE2\x9D\x8C ";
        case chat::Tone::kNeutral: break;
    }
    return "";
}

std::string clean(std::string_view text, std::size_t max) {
    return chat::cut(chat::to_text(text), max, Unit::kUtf16);
}

/// The lines before a card's code.
std::string head_of(const chat::Card& card, bool plain, std::size_t value) {
    const auto say = [&](const std::string& text) { return plain ? text : literal(text); };
    std::string head =
        std::string(mark(card.tone)) +
        (plain ? clean(card.title, kMaxTitle) : marked(say(clean(card.title, kMaxTitle)), "*"));
    if (!card.text.empty()) head += "\n" + say(clean(card.text, value * 2));
    for (const chat::Field& field : card.fields) {
        const std::string label = clean(field.label, kMaxFieldLabel) + ":";
        head +=
            "\n" + (plain ? label : marked(say(label), "*")) + " " + say(clean(field.value, value));
    }
    return head;
}

}  // namespace

std::string literal(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        out += text[i];
        const bool mark = text[i] == '*' || text[i] == '_' || text[i] == '~' || text[i] == '`';
        const bool inside =
            i > 0 && i + 1 < text.size() && is_word(text[i - 1]) && is_word(text[i + 1]);
        const bool quote = text[i] == '>' && (i == 0 || text[i - 1] == '\n');
        if ((mark && !inside) || quote) out += kJoiner;
    }
    return out;
}

std::string markdown_text(std::string_view markdown, bool plain, std::size_t max) {
    static const chat::Dialect dialect = make_dialect();
    const auto blocks = chat::parse_markdown(chat::to_text(markdown));
    const std::string text = chat::render(blocks, plain ? chat::plain_dialect() : dialect);
    if (chat::length(text, Unit::kUtf16) <= max) return text;
    return chat::cut(chat::render(blocks, chat::plain_dialect()), max, Unit::kUtf16);
}

std::string card_text(const chat::Card& card, bool plain, std::size_t max) {
    const std::string foot =
        card.footer.empty() ? ""
                            : "\n" + (plain ? clean(card.footer, kMaxFooter)
                                            : marked(literal(clean(card.footer, kMaxFooter)), "_"));
    const std::size_t ends = chat::length(foot, Unit::kUtf16);
    const std::string code = chat::to_text(card.code);
    const std::size_t wanted =
        code.empty() ? 0 : std::min(chat::length(code, Unit::kUtf16), max / 2) + kFence + 1;
    // Values get shorter until there is room for the code.
    std::string head;
    for (std::size_t value = kMaxValue; value >= 20; value /= 2) {
        head = head_of(card, plain, value);
        if (chat::length(head, Unit::kUtf16) + ends + wanted <= max) break;
    }
    head = chat::cut(head, max - ends - wanted, Unit::kUtf16);
    if (code.empty()) return head + foot;
    const std::size_t used = chat::length(head, Unit::kUtf16) + ends + kFence + 1;
    // A joiner behind each back-tick: they are rare, and the cut is by what is shown.
    const std::string shown = chat::cut(plain ? code : ticked(code), max - used, Unit::kUtf16);
    return head + "\n" + (plain ? shown : "```\n" + shown + "\n```") + foot;
}

bool shows_code(const chat::Card& card, bool plain, std::size_t max) {
    const std::string code = chat::to_text(card.code);
    return card_text(card, plain, max).find(plain ? code : ticked(code)) != std::string::npos;
}

}  // namespace berth::whatsapp
