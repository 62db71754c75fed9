// SPDX-License-Identifier: Apache-2.0
// Block Kit: what is not ours stands in plain_text and preformatted elements, which Slack does not
// read as markup.
#include <algorithm>

#include "chat/length.hpp"
#include "chat/markdown.hpp"
#include "slack/wire.hpp"

namespace berth::slack {
namespace {

using chat::cut;
using chat::Unit;

// Slack's limits (api.slack.com/reference/block-kit/blocks), in characters.
constexpr std::size_t kHeader = 150;
constexpr std::size_t kSection = 3'000;
constexpr std::size_t kPreformatted = 3'000;  // a message's blocks have 13,200 characters in all
constexpr std::size_t kFieldText = 2'000;
constexpr std::size_t kFields = 10;
constexpr std::size_t kButtonText = 75;
constexpr std::size_t kButtons = 25;
constexpr std::size_t kBlocks = 50;
constexpr std::size_t kFallback = 3'000;
constexpr std::string_view kNoWidth = "\u200b";

std::string fit(const std::string& text, std::size_t most) {
    return cut(text, most, Unit::kCodePoints);
}

Json plain_text(const std::string& text, std::size_t most) {
    return Json::object()
        .set("type", "plain_text")
        .set("text", fit(text, most))
        .set("emoji", false);
}

Json preformatted(const std::string& text) {
    Json element = Json::object();
    element.set("type", "rich_text_preformatted");
    Json texts = Json::array();
    texts.push(Json::object().set("type", "text").set("text", fit(text, kPreformatted)));
    element.set("elements", std::move(texts));
    Json elements = Json::array();
    elements.push(std::move(element));
    return Json::object().set("type", "rich_text").set("elements", std::move(elements));
}

const char* mark_of(chat::Tone tone) {
    switch (tone) {
        case chat::Tone::kWaiting: return "\u23f3 ";
        case chat::Tone::kGood: return "\u2705 ";
        case chat::Tone::kBad: return "\u274c ";
        default: return "";
    }
}

Json buttons_of(const chat::Card& card) {
    Json elements = Json::array();
    std::size_t index = 0;
    for (const auto& button : card.buttons) {
        if (index == kButtons) break;
        Json one = Json::object();
        one.set("type", "button")
            .set(
                "action_id",
                std::string(button.asks_comment ? kAsk : kPress) + std::to_string(index++)
            )
            .set("text", plain_text(button.label, kButtonText))
            .set("value", button.token);
        if (button.style == chat::ButtonStyle::kGood) one.set("style", "primary");
        if (button.style == chat::ButtonStyle::kDanger) one.set("style", "danger");
        elements.push(std::move(one));
    }
    return Json::object().set("type", "actions").set("elements", std::move(elements));
}

Json blocks_of(const chat::Card& card) {
    Json blocks = Json::array();
    if (!card.title.empty())
        blocks.push(Json::object()
                        .set("type", "header")
                        .set("text", plain_text(mark_of(card.tone) + card.title, kHeader)));
    if (!card.text.empty())
        blocks.push(
            Json::object().set("type", "section").set("text", plain_text(card.text, kSection))
        );
    if (!card.code.empty()) blocks.push(preformatted(card.code));
    if (!card.fields.empty()) {
        Json fields = Json::array();
        std::size_t count = 0;
        for (const auto& field : card.fields) {
            if (count++ == kFields) break;
            fields.push(plain_text(field.label + ": " + field.value, kFieldText));
        }
        blocks.push(Json::object().set("type", "section").set("fields", std::move(fields)));
    }
    if (!card.buttons.empty()) blocks.push(buttons_of(card));
    if (!card.footer.empty()) {
        Json elements = Json::array();
        elements.push(plain_text(card.footer, kFieldText));
        blocks.push(Json::object().set("type", "context").set("elements", std::move(elements)));
    }
    return blocks;
}

std::string wrapped(const std::string& text, const char* mark) {
    // Markup that begins or ends with a blank is none to Slack.
    const auto from = text.find_first_not_of(" \n");
    if (from == std::string::npos) return text;
    const auto to = text.find_last_not_of(" \n") + 1;
    return text.substr(0, from) + mark + text.substr(from, to - from) + mark + text.substr(to);
}

/// A block of code, which no back-ticks of its own end.
std::string block_of(const std::string& text) {
    std::string out = "```\n";
    int ticks = 0;
    for (const char c : text) {
        ticks = c == '`' ? ticks + 1 : 0;
        if (ticks == 3) {
            out += kNoWidth;
            ticks = 1;
        }
        out += c;
    }
    return out + "\n```";
}

std::string span_of(const chat::Span& span) {
    std::string text = escape(span.text);
    if (span.code) {
        // In a line Slack knows no code that holds a back-tick.
        if (text.find('`') != std::string::npos) return block_of(text);
        return text.empty() ? text : "`" + text + "`";
    }
    if (!span.link.empty()) {
        std::string link = escape(span.link);
        std::erase(link, '|');
        text = "<" + link + "|" + text + ">";
    }
    if (span.strike) text = wrapped(text, "~");
    if (span.emphasis) text = wrapped(text, "_");
    if (span.strong) text = wrapped(text, "*");
    return text;
}

const chat::Dialect& dialect() {
    static const chat::Dialect all = [] {
        chat::Dialect out;
        out.span = span_of;
        out.code = [](const chat::Block& block) {
            return block_of(block.spans.empty() ? std::string() : escape(block.spans[0].text));
        };
        out.quote = [](const std::string& text) {
            std::string quoted = "&gt; ";
            for (const char c : text) {
                quoted += c;
                if (c == '\n') quoted += "&gt; ";
            }
            return quoted;
        };
        out.literal = [](const std::string& text) { return escape(text); };
        return out;
    }();
    return all;
}

std::size_t measure(std::string_view markdown) {
    return chat::length(escape(markdown), Unit::kCodePoints) + 8;
}

}  // namespace

std::string escape(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            default: out += c;
        }
    }
    return out;
}

std::string to_mrkdwn(std::string_view markdown) {
    return chat::render(chat::parse_markdown(markdown), dialect());
}

Message to_message(const chat::Content& content, bool plain) {
    Message out;
    if (content.is_card) {
        const bool whole = chat::length(content.card.code, Unit::kCodePoints) <= kPreformatted;
        const chat::Card card = chat::shown_card(content.card, whole);
        std::string text = card.title;
        if (!card.text.empty()) text += "\n" + card.text;
        if (plain && !card.code.empty()) text += "\n" + card.code;
        out.text = escape(fit(text, kFallback));
        if (!plain) out.blocks = blocks_of(card);
        return out;
    }
    out.text = escape(fit(chat::to_plain(content.markdown), kFallback));
    if (plain) return out;
    Json blocks = Json::array();
    std::size_t count = 0;
    for (const auto& piece : chat::split_markdown(content.markdown, kSection, measure)) {
        if (count++ == kBlocks) break;
        blocks.push(Json::object()
                        .set("type", "section")
                        .set(
                            "text",
                            Json::object()
                                .set("type", "mrkdwn")
                                .set("text", fit(to_mrkdwn(piece), kSection))
                                .set("verbatim", true)
                        ));
    }
    if (count > 0) out.blocks = std::move(blocks);
    return out;
}

}  // namespace berth::slack
