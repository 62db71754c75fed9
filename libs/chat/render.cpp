// SPDX-License-Identifier: Apache-2.0
// Blocks into a platform's markup, plain text, and the parting of long Markdown.
#include <algorithm>

#include "chat/fence.hpp"
#include "chat/markdown.hpp"
#include "core/text.hpp"

namespace berth::chat {
namespace {

std::string spans(const Block& block, const Dialect& dialect) {
    bool strong = block.kind == BlockKind::kHeading && !dialect.heading;
    std::string text;
    for (Span span : block.spans) {
        span.strong = span.strong || strong;
        text += dialect.span(span);
    }
    return text;
}

/// Every line of an item but the first stands under its text.
std::string hang(const std::string& text, const std::string& first, const std::string& rest) {
    std::string out = first;
    for (char c : text) {
        out += c;
        if (c == '\n') out += rest;
    }
    return out;
}

std::string one(const Block& block, const Dialect& dialect) {
    std::string indent(static_cast<std::size_t>(block.indent) * 2, ' ');
    switch (block.kind) {
        case BlockKind::kCode: return dialect.code(block);
        case BlockKind::kRule: return dialect.literal("\xE2\x80\x94\xE2\x80\x94\xE2\x80\x94");
        case BlockKind::kItem:
            return hang(
                spans(block, dialect), indent + dialect.literal(block.mark) + " ", indent + "  "
            );
        case BlockKind::kHeading:
            if (dialect.heading) return dialect.heading(block, spans(block, dialect));
            break;
        case BlockKind::kParagraph: break;
    }
    return hang(spans(block, dialect), indent, indent);
}

std::string joined(const Block* from, const Block* to, const Dialect& dialect) {
    std::string text;
    for (const Block* block = from; block != to; ++block) {
        if (block != from) text += block->tight ? "\n" : "\n\n";
        text += one(*block, dialect);
    }
    return text;
}

std::string plain_span(const Span& span) {
    bool shown = span.link.empty() || span.link == span.text;
    return shown ? span.text : span.text + " (" + span.link + ")";
}

std::string prefixed(const std::string& text, const std::string& prefix) {
    return hang(text, prefix, prefix);
}

Dialect make_plain() {
    Dialect dialect;
    dialect.span = plain_span;
    dialect.code = [](const Block& block) { return block.spans.front().text; };
    dialect.quote = [](const std::string& text) { return prefixed(text, "> "); };
    dialect.heading = [](const Block&, const std::string& text) { return text; };
    dialect.literal = [](const std::string& text) { return text; };
    return dialect;
}

/// The state of split_markdown: one piece under construction.
class Splitter {
public:
    Splitter(std::size_t max, const std::function<std::size_t(std::string_view)>& measure)
        : max_(std::max(max, kMinChunk)), measure_(measure) {}

    std::vector<std::string> take(std::string_view markdown) {
        for (std::string_view line : split(markdown, '\n')) {
            if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
            add(line);
        }
        // A fence that opens at the text's end is text; one that was only opened again is nothing.
        if (!reopened_ && only_opened()) closing_.clear();
        flush(piece_.size());
        return std::move(pieces_);
    }

private:
    /// Room that a line may take now: the fence must still be closed.
    std::size_t room(std::size_t used) const {
        std::size_t closing = closing_.empty() ? 0 : measure_(closing_) + 1;
        return used + closing < max_ ? max_ - used - closing : 0;
    }

    void add(std::string_view line) {
        std::size_t size = line_size(line);
        // In a piece of its own the line may still be too long: it is cut, by words if it can.
        if (size > room(used_)) {
            flush(boundary());
            if (size > room(used_)) flush(piece_.size());
            while (line_size(line) > room(used_)) {
                std::size_t head = part(line, room(used_) - 1);
                push(line.substr(0, head));
                line.remove_prefix(head);
                if (closing_.empty() && !line.empty() && line.front() == ' ') line.remove_prefix(1);
                flush(piece_.size());
            }
        }
        track(line);
        push(line);
        if (closing_.empty() && line.find_first_not_of(" \t>") == std::string_view::npos) {
            break_ = piece_.size();
        }
    }

    /// A line too long for any piece is not measured to its end.
    std::size_t line_size(std::string_view line) const {
        return measure_(line.substr(0, kBytesPerUnit * (max_ + 1))) + 1;
    }

    void push(std::string_view line) {
        piece_.append(line).append("\n");
        used_ += measure_(line) + 1;
    }

    /// Where the piece is parted: behind the last blank line, if that leaves at least a third of
    /// it.
    std::size_t boundary() const { return break_ > piece_.size() / 3 ? break_ : piece_.size(); }

    /// Bytes of `line` that fit `room`, behind a space if there is one in its second half.
    std::size_t part(std::string_view line, std::size_t room) const {
        std::size_t low = 1;
        std::size_t high = std::min(line.size(), kBytesPerUnit * max_);
        while (low < high) {  // the longest beginning that fits
            std::size_t middle = (low + high + 1) / 2;
            if (measure_(line.substr(0, middle)) <= room) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        std::string_view head = line.substr(0, low);
        std::size_t space = closing_.empty() ? head.rfind(' ') : std::string_view::npos;
        if (space != std::string_view::npos && space > head.size() / 2) return space;
        std::size_t whole = fitting(line, length(head, Unit::kCodePoints), Unit::kCodePoints);
        while (whole > low) {
            whole = fitting(
                line, length(line.substr(0, whole), Unit::kCodePoints) - 1, Unit::kCodePoints
            );
        }
        return std::max<std::size_t>(whole, 1);
    }

    /// Nothing stands behind the open fence yet.
    bool only_opened() const {
        return !closing_.empty() && piece_.size() == fence_at_ + opening_size_ + 1;
    }

    /// Ends the piece at byte `end`; what is behind it, and an open fence, begin the next.
    void flush(std::size_t end) {
        std::string rest = piece_.substr(end);
        std::string done = piece_.substr(0, end);
        bool cut_fence = !closing_.empty() && fence_at_ < end;
        bool moves = cut_fence && end == piece_.size() && only_opened();
        if (moves) done.resize(fence_at_);  // a fence with nothing in it yet moves on whole
        if (cut_fence && !moves) done += closing_;
        reopened_ = cut_fence && (!moves || reopened_);
        while (!done.empty() && done.back() == '\n') done.pop_back();
        if (done.find_first_not_of(" \t\n") != std::string::npos)
            pieces_.push_back(std::move(done));
        piece_ = cut_fence ? opening_ + "\n" + rest : rest;
        if (cut_fence) opening_size_ = opening_.size();
        fence_at_ = cut_fence ? 0 : fence_at_ - std::min(fence_at_, end);
        used_ = measure_(piece_);
        break_ = 0;
    }

    /// Follows fences, in lists and quotes too.
    void track(std::string_view line) {
        // In code that is in no quote, > is code.
        const bool quotes = closing_.empty() || closing_.find('>') != std::string::npos;
        const std::size_t first =
            std::min(line.find_first_not_of(quotes ? " \t>" : " \t"), line.size());
        const std::string_view rest = line.substr(first);
        if (!closing_.empty()) {
            if (closes(rest, fence_)) closing_.clear();
            return;
        }
        const auto fence = fence_of(rest);
        if (!fence || first + fence->count > kMaxOpening) return;
        fence_ = {fence->mark, fence->count, {}};
        closing_ = std::string(line.substr(0, first + fence->count));
        opening_ = line.size() > kMaxOpening ? closing_ : std::string(line);
        opening_size_ = line.size();
        fence_at_ = piece_.size();
        reopened_ = false;
    }

    static constexpr std::size_t kBytesPerUnit = 4;  // of UTF-8 per code point, at most
    static constexpr std::size_t kMaxOpening = 32;   // a longer one is opened again without words

    std::size_t max_;
    const std::function<std::size_t(std::string_view)>& measure_;
    std::vector<std::string> pieces_;
    std::string piece_;
    std::size_t used_ = 0;
    std::size_t break_ = 0;  ///< bytes of piece_ up to behind its last blank line
    Fence fence_;
    std::string closing_;           ///< what closes the open fence, or empty
    std::string opening_;           ///< what opens it again
    std::size_t opening_size_ = 0;  ///< bytes of its first line
    bool reopened_ = false;         ///< the open fence is one that a cut closed
    std::size_t fence_at_ = 0;      ///< where that stands in piece_
};

}  // namespace

std::string render(const std::vector<Block>& blocks, const Dialect& dialect) {
    std::string text;
    const Block* end = blocks.data() + blocks.size();
    for (const Block* at = blocks.data(); at != end;) {
        bool quoted = at->quote > 0;
        const Block* next =
            std::find_if(at, end, [&](const Block& b) { return (b.quote > 0) != quoted; });
        if (at != blocks.data()) text += at->tight ? "\n" : "\n\n";
        std::string part = joined(at, next, dialect);
        text += quoted ? dialect.quote(part) : part;
        at = next;
    }
    return text;
}

const Dialect& plain_dialect() {
    static const Dialect dialect = make_plain();
    return dialect;
}

std::string to_plain(std::string_view markdown) {
    return render(parse_markdown(markdown), plain_dialect());
}

std::vector<std::string> split_markdown(
    std::string_view markdown,
    std::size_t max,
    const std::function<std::size_t(std::string_view)>& measure
) {
    return Splitter(max, measure).take(markdown);
}

std::vector<std::string> split_markdown(std::string_view markdown, std::size_t max, Unit unit) {
    return split_markdown(markdown, max, [unit](std::string_view text) {
        return length(text, unit);
    });
}

}  // namespace berth::chat
