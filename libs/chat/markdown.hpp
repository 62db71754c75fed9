// SPDX-License-Identifier: Apache-2.0
// Markdown for chats: a small CommonMark reader giving blocks of styled spans, which each platform
// writes in its own markup, and the chunker that parts long Markdown into messages.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/length.hpp"

namespace berth::chat {

/// A run of text in one style. A line feed in `text` is a line break.
struct Span {
    std::string text;
    bool strong = false;
    bool emphasis = false;
    bool strike = false;
    bool code = false;
    std::string link;  ///< http:, https: or mailto: target, or empty
    friend bool operator==(const Span&, const Span&) = default;
};

enum class BlockKind { kParagraph, kHeading, kCode, kItem, kRule };

struct Block {
    BlockKind kind = BlockKind::kParagraph;
    int level = 0;            ///< kHeading: 1 to 6
    int indent = 0;           ///< lists it lies in (an item of the outermost list: 0)
    int quote = 0;            ///< block quotes around it
    bool tight = false;       ///< no blank line before it
    std::string mark;         ///< kItem: "•", "3."
    std::string info;         ///< kCode: the fence's first word
    std::vector<Span> spans;  ///< kCode: one, without the last line feed; kRule: none
};

/// Reads paragraphs, headings, emphasis, strong, strike, code, fences, indented code, lists, links,
/// images (as links), autolinks, quotes and rules. Everything else, HTML and tables too, is text.
/// Never fails; linear in the text but for nesting, which is cut at kMaxNesting.
std::vector<Block> parse_markdown(std::string_view markdown);
constexpr int kMaxNesting = 12;

/// How a platform writes what was read. Every function returns finished, escaped markup.
struct Dialect {
    std::function<std::string(const Span&)> span;
    std::function<std::string(const Block&)> code;  ///< a whole kCode block
    /// Around the joined blocks of an outermost quote (nested quotes are flat).
    std::function<std::string(const std::string&)> quote;
    /// The spans of a heading, already written; where it is empty a heading is strong text.
    std::function<std::string(const Block&, const std::string&)> heading;
    /// An item's mark and the text between blocks, escaped where the platform needs it.
    std::function<std::string(const std::string&)> literal;
};

std::string render(const std::vector<Block>& blocks, const Dialect& dialect);

/// For platforms that refused the markup, and for those that have none: no marks, "text (link)".
const Dialect& plain_dialect();
std::string to_plain(std::string_view markdown);

/// Parts Markdown into pieces of at most `max` each, in the unit of `measure`, which must be
/// additive (the sum of parts is never less than the whole). Parts between blocks if it can, else
/// between lines, else words, else characters; a fence that is cut is closed and opened again with
/// its info string. No piece is blank. `max` is at least kMinChunk.
std::vector<std::string> split_markdown(
    std::string_view markdown,
    std::size_t max,
    const std::function<std::size_t(std::string_view)>& measure
);
std::vector<std::string> split_markdown(std::string_view markdown, std::size_t max, Unit unit);
constexpr std::size_t kMinChunk = 400;

}  // namespace berth::chat
