// SPDX-License-Identifier: Apache-2.0
// HTML rather than MarkdownV2: three characters to escape instead of eighteen.
#include "telegram/markup.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "chat/length.hpp"
#include "chat/markdown.hpp"

namespace berth::telegram {
namespace {

using chat::Unit;

constexpr std::string_view kJoiner = "\xE2\x81\xA0";
constexpr std::size_t kMaxTitle = 256;
constexpr std::size_t kMaxFieldLabel = 64;
constexpr std::size_t kMaxValue = 700;
constexpr std::size_t kMaxBody = 1'200;
constexpr std::size_t kMaxFooter = 256;
constexpr std::size_t kCodeShare = 1'500;  // a card's code keeps this much, whatever else it says

bool word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

std::string tag(std::string_view name, const std::string& inner) {
    return std::string("<").append(name).append(">").append(inner).append("</").append(name).append(
        ">"
    );
}

/// Code and preformatted text may lie in no other entity and hold none.
std::string html_span(const chat::Span& span) {
    if (span.code) return tag("code", escape(span.text));
    std::string text = escape(unmention(span.text));
    if (span.strike) text = tag("s", text);
    if (span.emphasis) text = tag("i", text);
    if (span.strong) text = tag("b", text);
    if (span.link.empty()) return text;
    return "<a href=\"" + escape(span.link) + "\">" + text + "</a>";
}

std::string html_code(const chat::Block& block) {
    const std::string text = escape(block.spans.front().text);
    if (text.empty()) return {};
    const bool named =
        !block.info.empty() && std::all_of(block.info.begin(), block.info.end(), [](char c) {
            return word(c) || c == '-' || c == '+' || c == '#' || c == '.';
        });
    if (!named) return tag("pre", text);
    return "<pre><code class=\"language-" + block.info + "\">" + text + "</code></pre>";
}

chat::Dialect make_html() {
    chat::Dialect dialect;
    dialect.span = html_span;
    dialect.code = html_code;
    dialect.quote = [](const std::string& text) { return tag("blockquote", text); };
    dialect.literal = escape;
    return dialect;
}

/// What is shown of html(): the same text without its tags.
chat::Dialect make_shown() {
    chat::Dialect dialect = chat::plain_dialect();
    dialect.span = [](const chat::Span& span) {
        return span.code ? span.text : unmention(span.text);
    };
    dialect.quote = [](const std::string& text) { return text; };
    return dialect;
}

std::string_view mark(chat::Tone tone) {
    switch (tone) {
        case chat::Tone::kWaiting: return "\xE2\x8F\xB3 ";  // hourglass
        case chat::Tone::kGood: return "\xE2\x9C\x85 ";     // check mark
        case chat::Tone::kBad: return "\xE2\x9D\x8C ";      // cross mark
        case chat::Tone::kNeutral: break;
    }
    return "";
}

/// Gathers a card's lines and counts what they show.
class Lines {
public:
    Lines(bool plain, std::size_t budget) : plain_(plain), left_(budget) {}

    /// A line of at most `max` of `text`, as far as there is room, in the tag `name` (or in none).
    void add(std::string_view text, std::size_t max, std::string_view name = {}) {
        const std::string shown = take_room(text, max, 0, name == "pre");
        if (shown.empty()) return;
        begin();
        text_ += name.empty() ? written(shown) : tagged(name, shown);
    }
    /// "label: value".
    void add_field(const std::string& label, std::string_view value, std::size_t max) {
        const std::string shown = take_room(value, max, chat::length(label, Unit::kUtf16), false);
        if (shown.empty()) return;
        begin();
        text_ += tagged("b", label) + written(shown);
    }
    std::size_t left() const { return left_; }
    /// Keeps room for what comes later; release() gives it back.
    std::size_t reserve(std::size_t units) {
        const std::size_t kept = std::min(left_, units);
        left_ -= kept;
        return kept;
    }
    void release(std::size_t units) { left_ += units; }
    std::string take() { return std::move(text_); }

private:
    std::string take_room(std::string_view text, std::size_t max, std::size_t before, bool raw) {
        const std::size_t used = before + (text_.empty() ? 0U : 1U);
        if (text.empty() || left_ <= used) return {};
        const std::string words = raw ? chat::to_text(text) : unmention(chat::to_text(text));
        const std::string shown = chat::cut(words, std::min(max, left_ - used), Unit::kUtf16);
        if (!shown.empty()) left_ -= used + chat::length(shown, Unit::kUtf16);
        return shown;
    }
    void begin() {
        if (!text_.empty()) text_ += '\n';
    }
    std::string written(const std::string& text) const { return plain_ ? text : escape(text); }
    std::string tagged(std::string_view name, const std::string& text) const {
        return plain_ ? text : tag(name, escape(text));
    }
    bool plain_;
    std::size_t left_;
    std::string text_;
};

}  // namespace

std::string escape(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        switch (c) {
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '&': out += "&amp;"; break;
            case '"': out += "&quot;"; break;
            default: out += c;
        }
    }
    return out;
}

std::string unmention(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        out += text[i];
        const bool begins = text[i] == '@' && (i == 0 || !word(text[i - 1]));
        if (begins && i + 1 < text.size() && word(text[i + 1])) out += kJoiner;
    }
    return out;
}

std::string markdown_text(std::string_view markdown, bool plain, std::size_t max) {
    static const chat::Dialect html = make_html();
    static const chat::Dialect shown = make_shown();
    const auto blocks = chat::parse_markdown(chat::to_text(markdown));
    const std::string seen = plain ? unmention(chat::render(blocks, chat::plain_dialect()))
                                   : chat::render(blocks, shown);
    const bool fits = chat::length(seen, Unit::kUtf16) <= max;
    if (plain) return chat::cut(seen, max, Unit::kUtf16);
    // A cut in the midst of tags would break them: too long text goes without any.
    return fits ? chat::render(blocks, html) : escape(chat::cut(seen, max, Unit::kUtf16));
}

chat::Card card_shown(const chat::Card& card, bool plain) {
    const std::string code = chat::to_text(card.code);
    const std::string text = card_text(card, plain);
    return chat::shown_card(card, text.find(plain ? code : escape(code)) != std::string::npos);
}

std::string card_text(const chat::Card& card, bool plain) {
    Lines lines(plain, kMaxText);
    lines.add(std::string(mark(card.tone)) + card.title, kMaxTitle, "b");
    const std::size_t footer = lines.reserve(card.footer.empty() ? 0 : kMaxFooter + 1);
    const std::size_t code =
        lines.reserve(std::min(chat::length(card.code, Unit::kUtf16), kCodeShare) + 1);
    lines.add(card.text, kMaxBody);
    for (const chat::Field& field : card.fields) {
        const std::string label =
            chat::cut(chat::to_text(field.label), kMaxFieldLabel, Unit::kUtf16);
        lines.add_field(label + ": ", field.value, kMaxValue);
    }
    lines.release(code);
    lines.add(card.code, lines.left(), "pre");
    lines.release(footer);
    lines.add(card.footer, kMaxFooter, "i");
    return lines.take();
}

}  // namespace berth::telegram
