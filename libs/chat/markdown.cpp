// SPDX-License-Identifier: Apache-2.0
// The block half of the Markdown reader: lines into paragraphs, headings, lists, quotes and code.
#include "chat/markdown.hpp"

#include <algorithm>
#include <optional>

#include "chat/fence.hpp"
#include "chat/inlines.hpp"
#include "core/text.hpp"

namespace berth::chat {
namespace {

using Lines = std::vector<std::string_view>;

bool blank(std::string_view line) {
    return line.find_first_not_of(" \t") == std::string_view::npos;
}

std::size_t indent_of(std::string_view line) {
    std::size_t first = line.find_first_not_of(' ');
    return first == std::string_view::npos ? line.size() : first;
}

std::string_view trim(std::string_view text) {
    std::size_t from = text.find_first_not_of(" \t");
    if (from == std::string_view::npos) return {};
    return text.substr(from, text.find_last_not_of(" \t") - from + 1);
}

bool rule(std::string_view line) {
    std::string_view rest = trim(line);
    if (rest.size() < 3 || (rest[0] != '-' && rest[0] != '*' && rest[0] != '_')) return false;
    auto marks = std::count(rest.begin(), rest.end(), rest[0]);
    auto spaces = std::count(rest.begin(), rest.end(), ' ');
    return marks >= 3 && static_cast<std::size_t>(marks + spaces) == rest.size();
}

int heading(std::string_view line) {
    std::string_view rest = trim(line);
    std::size_t level = std::min(rest.find_first_not_of('#'), rest.size());
    bool ends = level == rest.size() || rest[level] == ' ';
    return level >= 1 && level <= 6 && ends ? static_cast<int>(level) : 0;
}

struct Marker {
    std::string mark;         ///< as shown
    std::size_t content = 0;  ///< column of the item's text
};

std::optional<Marker> marker(std::string_view line) {
    std::size_t at = indent_of(line);
    if (at >= line.size() || rule(line)) return std::nullopt;
    std::size_t end = at;
    Marker found;
    if (line[at] == '-' || line[at] == '*' || line[at] == '+') {
        end = at + 1;
        found.mark = "\xE2\x80\xA2";
    } else {
        while (end < line.size() && end - at < 9 && line[end] >= '0' && line[end] <= '9') ++end;
        if (end == at || end >= line.size() || (line[end] != '.' && line[end] != ')'))
            return std::nullopt;
        ++end;
        found.mark = std::string(line.substr(at, end - at));
    }
    if (end < line.size() && line[end] != ' ') return std::nullopt;
    std::size_t spaces = end < line.size() ? indent_of(line.substr(end)) : 1;
    if (end + spaces >= line.size() || spaces > 4) spaces = 1;
    found.content = end + spaces;
    return found;
}

class Blocks {
public:
    std::vector<Block> take(const Lines& lines) {
        read(lines, 0, 0, 0);
        return std::move(blocks_);
    }

private:
    /// What a block knows of where it lies.
    struct Place {
        int indent;
        int quote;
        int depth;
    };

    void read(const Lines& lines, int indent, int quote, int depth) {
        Place place{indent, quote, depth};
        for (std::size_t at = 0; at < lines.size();) {
            if (blank(lines[at])) {
                tight_ = false;
                ++at;
            } else {
                at = block(lines, at, place);
            }
        }
    }

    std::size_t block(const Lines& lines, std::size_t at, const Place& place) {
        std::string_view line = lines[at];
        if (indent_of(line) >= 4) return indented(lines, at, place);
        if (auto fence = fence_of(line)) return fenced(lines, at, *fence, place);
        if (int level = heading(line)) {
            std::string_view text = trim(trim(line).substr(static_cast<std::size_t>(level)));
            std::size_t last = text.find_last_not_of('#');
            bool closed =
                last != std::string_view::npos && last + 1 < text.size() && text[last] == ' ';
            add(BlockKind::kHeading, place).spans =
                parse_inlines(closed ? trim(text.substr(0, last)) : text);
            blocks_.back().level = level;
            return at + 1;
        }
        if (rule(line)) {
            add(BlockKind::kRule, place);
            return at + 1;
        }
        if (place.depth < kMaxNesting) {
            if (trim(line).front() == '>') return quoted(lines, at, place);
            if (auto mark = marker(line)) return item(lines, at, *mark, place);
        }
        return paragraph(lines, at, place);
    }

    Block& add(BlockKind kind, const Place& place) {
        if (mark_) kind = kind == BlockKind::kParagraph ? BlockKind::kItem : kind;
        if (mark_ && kind != BlockKind::kItem) flush_mark();
        Block& made = blocks_.emplace_back();
        made.kind = kind;
        made.indent = place.indent;
        made.quote = place.quote;
        made.tight = tight_ && blocks_.size() > 1;
        if (kind == BlockKind::kItem && mark_) {
            made.mark = *mark_;
            made.indent = place.indent - 1;
        }
        mark_.reset();
        tight_ = true;
        return made;
    }

    /// An item that begins with something else than text: its mark alone.
    void flush_mark() {
        std::string mark = *std::move(mark_);
        mark_.reset();
        Block& made = add(BlockKind::kItem, {mark_indent_, mark_quote_, 0});
        made.mark = std::move(mark);
    }

    std::size_t indented(const Lines& lines, std::size_t at, const Place& place) {
        std::string code;
        std::string blanks;
        for (; at < lines.size() && (blank(lines[at]) || indent_of(lines[at]) >= 4); ++at) {
            if (blank(lines[at])) {
                blanks += '\n';
                continue;
            }
            code.append(code.empty() ? "" : "\n").append(blanks).append(lines[at].substr(4));
            blanks.clear();
        }
        add(BlockKind::kCode, place).spans.emplace_back().text = std::move(code);
        tight_ = blanks.empty();
        return at;
    }

    std::size_t fenced(const Lines& lines, std::size_t at, const Fence& fence, const Place& place) {
        std::size_t offset = indent_of(lines[at]);
        std::string code;
        bool first = true;
        std::size_t next = at + 1;
        for (; next < lines.size() && !closes(lines[next], fence); ++next) {
            std::string_view line = lines[next];
            code.append(first ? "" : "\n").append(line.substr(std::min(offset, indent_of(line))));
            first = false;
        }
        Block& made = add(BlockKind::kCode, place);
        made.info = std::string(fence.info);
        made.spans.emplace_back().text = std::move(code);
        return next < lines.size() ? next + 1 : next;
    }

    std::size_t quoted(const Lines& lines, std::size_t at, const Place& place) {
        Lines inner;
        for (; at < lines.size(); ++at) {
            std::string_view line = lines[at];
            bool marked = !blank(line) && indent_of(line) < 4 && trim(line).front() == '>';
            if (!marked && (inner.empty() || !lazy(inner.back(), line))) break;
            if (marked) {
                line.remove_prefix(indent_of(line) + 1);
                if (!line.empty() && line.front() == ' ') line.remove_prefix(1);
            }
            inner.push_back(line);
        }
        if (mark_) flush_mark();
        read(inner, place.indent, place.quote + 1, place.depth + 1);
        tight_ = true;
        return at;
    }

    std::size_t item(const Lines& lines, std::size_t at, const Marker& mark, const Place& place) {
        Lines inner{lines[at].substr(std::min(mark.content, lines[at].size()))};
        std::size_t next = at + 1;
        for (; next < lines.size(); ++next) {
            std::string_view line = lines[next];
            if (blank(line)) {
                inner.emplace_back();
            } else if (indent_of(line) >= mark.content) {
                inner.push_back(line.substr(mark.content));
            } else if (lazy(inner.back(), line)) {
                inner.push_back(trim(line));
            } else {
                break;
            }
        }
        std::size_t blanks = 0;
        while (inner.size() > 1 && blank(inner.back())) {
            inner.pop_back();
            ++blanks;
        }
        if (mark_) flush_mark();
        mark_ = mark.mark;
        mark_indent_ = place.indent;
        mark_quote_ = place.quote;
        bool tight = tight_;
        read(inner, place.indent + 1, place.quote, place.depth + 1);
        if (mark_) {
            tight_ = tight;
            flush_mark();
        }
        tight_ = blanks == 0;
        return next;
    }

    /// A line without its container's mark that goes on with the paragraph in it.
    static bool lazy(std::string_view before, std::string_view line) {
        return !blank(before) && !blank(line) && !interrupts(line) && !fence_of(before);
    }

    static bool interrupts(std::string_view line) {
        if (indent_of(line) >= 4) return false;
        return fence_of(line) || heading(line) != 0 || rule(line) || trim(line).front() == '>' ||
               marker(line);
    }

    /// A list may interrupt a paragraph only by a bullet or by "1.", else "I was born in\n1968." is
    /// one.
    static bool ends_paragraph(std::string_view line) {
        if (blank(line) || !interrupts(line)) return blank(line);
        auto mark = marker(line);
        if (!mark) return true;
        bool number = mark->mark[0] >= '0' && mark->mark[0] <= '9';
        return mark->content < line.size() &&
               (!number || mark->mark.substr(0, mark->mark.size() - 1) == "1");
    }

    static int underline(std::string_view line) {
        std::string_view rest = trim(line);
        if (rest.empty() || indent_of(line) >= 4) return 0;
        bool same = rest.find_first_not_of(rest[0]) == std::string_view::npos;
        return same && rest[0] == '=' ? 1 : same && rest[0] == '-' ? 2 : 0;
    }

    std::size_t paragraph(const Lines& lines, std::size_t at, const Place& place) {
        std::string text(trim(lines[at]));
        std::size_t next = at + 1;
        int level = 0;
        for (; next < lines.size(); ++next) {
            level = underline(lines[next]);
            if (level != 0 || ends_paragraph(lines[next])) break;
            std::string_view line = trim(lines[next]);
            if (text.back() == '\\') text.pop_back();  // a hard break: every break is one here
            text.append("\n").append(line);
        }
        Block& made = add(level != 0 ? BlockKind::kHeading : BlockKind::kParagraph, place);
        made.level = level;
        made.spans = parse_inlines(text);
        return level != 0 ? next + 1 : next;
    }

    std::vector<Block> blocks_;
    bool tight_ = false;
    std::optional<std::string> mark_;  ///< of an item whose first block is still to come
    int mark_indent_ = 0;
    int mark_quote_ = 0;
};

/// Tabs at the beginning of a line are four spaces; carriage returns go.
std::string normal(std::string_view markdown) {
    std::string text;
    text.reserve(markdown.size());
    bool start = true;
    for (char c : markdown) {
        if (c == '\r') continue;
        if (c == '\t' && start) {
            text += "    ";
            continue;
        }
        start = c == '\n' || (start && (c == ' ' || c == '>'));
        text += c;
    }
    return text;
}

}  // namespace

std::optional<Fence> fence_of(std::string_view line) {
    std::string_view rest = trim(line);
    if (rest.empty() || (rest[0] != '`' && rest[0] != '~')) return std::nullopt;
    std::size_t count = std::min(rest.find_first_not_of(rest[0]), rest.size());
    std::string_view info = trim(rest.substr(count));
    if (count < 3 || count > Fence::kMaxCount ||
        (rest[0] == '`' && info.find('`') != std::string_view::npos))
        return std::nullopt;
    return Fence{rest[0], count, info.substr(0, info.find_first_of(" \t"))};
}

bool closes(std::string_view line, const Fence& open) {
    auto fence = fence_of(line);
    return fence && fence->mark == open.mark && fence->count >= open.count && fence->info.empty();
}

std::vector<Block> parse_markdown(std::string_view markdown) {
    std::string text = normal(markdown);
    return Blocks().take(split(text, '\n'));
}

}  // namespace berth::chat
