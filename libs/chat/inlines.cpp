// SPDX-License-Identifier: Apache-2.0
// CommonMark's inline rules by a list of pieces: first code, links and delimiter runs are found in
// one walk, then delimiters are paired, then equal neighbours are joined.
#include "chat/inlines.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace berth::chat {
namespace {

constexpr std::size_t kMaxLookBack = 64;  // delimiters tried for one closer: keeps pairing linear
constexpr std::size_t kMaxTicks = 32;     // longer runs of ` are text
constexpr std::size_t kMaxLabel = 2'000;  // bytes between [ and ]: further is no link
constexpr int kMaxLinkNesting = 4;        // [ in [ that are tried

struct Piece {
    Span span;
    char delimiter = 0;  ///< '*', '_' or '~' where the piece is a run that may still pair
    bool opens = false;
    bool closes = false;
};

bool punctuation(char c) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
}
bool blank(char c) { return c == ' ' || c == '\n' || c == '\t'; }

class Reader {
public:
    Reader(std::string_view text, int depth) : text_(text), depth_(depth) { last_ticks_.fill(0); }

    std::vector<Piece> read() {
        count_ticks();
        while (at_ < text_.size()) step();
        flush();
        return std::move(pieces_);
    }

private:
    void step() {
        char c = text_[at_];
        if (c == '\\' && at_ + 1 < text_.size() && punctuation(text_[at_ + 1])) {
            word_ += text_[at_ + 1];
            at_ += 2;
        } else if (c == '`') {
            ticks();
        } else if (c == '*' || c == '_' || c == '~') {
            delimiters(c);
        } else if (c == '<' && autolink()) {
            return;
        } else if ((c == '[' || (c == '!' && next() == '[')) && link(c == '!')) {
            return;
        } else {
            word_ += c;
            ++at_;
        }
    }

    char next() const { return at_ + 1 < text_.size() ? text_[at_ + 1] : '\0'; }

    void flush() {
        if (word_.empty()) return;
        Piece piece;
        piece.span.text = std::move(word_);
        pieces_.push_back(std::move(piece));
        word_.clear();
    }

    std::size_t run(std::size_t from, char c) const {
        std::size_t end = from;
        while (end < text_.size() && text_[end] == c) ++end;
        return end - from;
    }

    /// Where the last run of each length begins: a run with nothing behind it is no code.
    void count_ticks() {
        for (std::size_t at = 0; at < text_.size();) {
            std::size_t count = run(at, '`');
            if (count > 0 && count < last_ticks_.size()) last_ticks_[count] = at;
            at += std::max<std::size_t>(count, 1);
        }
    }

    void ticks() {
        std::size_t count = run(at_, '`');
        if (count >= last_ticks_.size() || last_ticks_[count] <= at_) {
            word_.append(count, '`');
            at_ += count;
            return;
        }
        std::size_t from = at_ + count;
        std::size_t end = from;
        while (true) {
            end = text_.find('`', end);
            std::size_t found = run(end, '`');
            if (found == count) break;
            end += found;
        }
        flush();
        Piece piece;
        piece.span.code = true;
        piece.span.text = std::string(text_.substr(from, end - from));
        std::string& code = piece.span.text;
        bool padded = code.size() > 2 && code.front() == ' ' && code.back() == ' ';
        if (padded && code.find_first_not_of(' ') != std::string::npos)
            code = code.substr(1, code.size() - 2);
        pieces_.push_back(std::move(piece));
        at_ = end + count;
    }

    void delimiters(char c) {
        std::size_t count = run(at_, c);
        char before = at_ == 0 ? ' ' : text_[at_ - 1];
        char after = at_ + count < text_.size() ? text_[at_ + count] : ' ';
        bool left = !blank(after) && (!punctuation(after) || blank(before) || punctuation(before));
        bool right = !blank(before) && (!punctuation(before) || blank(after) || punctuation(after));
        Piece piece;
        piece.span.text.assign(count, c);
        piece.opens = c == '_' ? left && (!right || punctuation(before)) : left;
        piece.closes = c == '_' ? right && (!left || punctuation(after)) : right;
        bool possible = c != '~' || count == 2;  // one ~ is a home folder
        at_ += count;
        if (!possible || (!piece.opens && !piece.closes)) {
            word_ += piece.span.text;
            return;
        }
        flush();
        piece.delimiter = c;
        pieces_.push_back(std::move(piece));
    }

    bool autolink() {
        std::size_t end = text_.find_first_of("<> \n", at_ + 1);
        if (end == std::string_view::npos || text_[end] != '>') return false;
        std::string_view target = text_.substr(at_ + 1, end - at_ - 1);
        if (!linkable(target)) return false;
        flush();
        Piece piece;
        piece.span.text = std::string(target);
        piece.span.link = std::string(target);
        pieces_.push_back(std::move(piece));
        at_ = end + 1;
        return true;
    }

    /// The place of the ] that closes the [ at `open`, if it is near.
    std::optional<std::size_t> closing(std::size_t open) const {
        int nested = 0;
        std::size_t limit = std::min(text_.size(), open + kMaxLabel);
        for (std::size_t at = open + 1; at < limit; ++at) {
            if (text_[at] == '\\') {
                ++at;
            } else if (text_[at] == '[') {
                ++nested;
            } else if (text_[at] == ']' && nested-- == 0) {
                return at;
            }
        }
        return std::nullopt;
    }

    struct Target {
        std::string url;
        std::size_t end = 0;  ///< behind the )
    };

    /// Reads (url "title") from its opening parenthesis.
    std::optional<Target> target(std::size_t at) const {
        if (at >= text_.size() || text_[at] != '(') return std::nullopt;
        Target found;
        std::size_t p = at + 1;
        std::size_t limit = std::min(text_.size(), at + kMaxLabel);
        bool angle = p < limit && text_[p] == '<';
        if (angle) ++p;
        int nested = 0;
        for (; p < limit; ++p) {
            char c = text_[p];
            if (c == '\\' && p + 1 < limit && punctuation(text_[p + 1])) {
                found.url += text_[++p];
                continue;
            }
            if (angle ? c == '>' || c == '\n' : blank(c) || (c == ')' && nested == 0)) break;
            nested += c == '(' ? 1 : c == ')' ? -1 : 0;
            found.url += c;
        }
        if (angle && p < limit && text_[p] == '>') ++p;
        while (p < limit && blank(text_[p])) ++p;
        if (p < limit && (text_[p] == '"' || text_[p] == '\'')) {
            std::size_t end = text_.find(text_[p], p + 1);
            if (end == std::string_view::npos || end > limit) return std::nullopt;
            p = end + 1;
            while (p < limit && blank(text_[p])) ++p;
        }
        if (p >= limit || text_[p] != ')' || !linkable(found.url)) return std::nullopt;
        found.end = p + 1;
        return found;
    }

    bool link(bool image) {
        if (depth_ >= kMaxLinkNesting) return false;
        std::size_t open = at_ + (image ? 1 : 0);
        auto close = closing(open);
        if (!close) return false;
        auto where = target(*close + 1);
        if (!where) return false;
        flush();
        std::string_view label = text_.substr(open + 1, *close - open - 1);
        std::vector<Span> shown =
            parse_nested(label.empty() ? std::string_view(where->url) : label);
        for (Span& span : shown) {
            Piece piece;
            piece.span = std::move(span);
            piece.span.link = where->url;
            pieces_.push_back(std::move(piece));
        }
        at_ = where->end;
        return true;
    }

    std::vector<Span> parse_nested(std::string_view label) const;

    std::string_view text_;
    int depth_;
    std::size_t at_ = 0;
    std::string word_;
    std::vector<Piece> pieces_;
    std::array<std::size_t, kMaxTicks> last_ticks_{};
};

void style(
    std::vector<Piece>& pieces, std::size_t from, std::size_t to, char c, std::size_t count
) {
    for (std::size_t i = from; i < to; ++i) {
        Span& span = pieces[i].span;
        (c == '~' ? span.strike : count == 2 ? span.strong : span.emphasis) = true;
    }
}

/// The multiple-of-three rule of CommonMark, and that there is something left to pair.
bool pairs(const Piece& opener, const Piece& closer) {
    if (opener.delimiter != closer.delimiter || !opener.opens || opener.span.text.empty())
        return false;
    if (!opener.closes && !closer.opens) return true;
    std::size_t a = opener.span.text.size();
    std::size_t b = closer.span.text.size();
    return (a + b) % 3 != 0 || (a % 3 == 0 && b % 3 == 0);
}

/// Pairs delimiter runs from the left, as CommonMark's stack does. `open` holds the openers that
/// are still to be had.
void pair(std::vector<Piece>& pieces) {
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        if (pieces[i].delimiter == 0) continue;
        while (pieces[i].closes && !pieces[i].span.text.empty()) {
            std::size_t lowest = open.size() > kMaxLookBack ? open.size() - kMaxLookBack : 0;
            std::size_t at = open.size();
            while (at > lowest && !pairs(pieces[open[at - 1]], pieces[i])) --at;
            if (at == lowest) break;
            open.resize(at);  // what was opened inside and not closed is text
            std::string& from = pieces[open.back()].span.text;
            std::string& to = pieces[i].span.text;
            std::size_t count = from.size() >= 2 && to.size() >= 2 ? 2 : 1;
            style(pieces, open.back() + 1, i, pieces[i].delimiter, count);
            from.resize(from.size() - count);
            to.resize(to.size() - count);
            if (from.empty()) open.pop_back();
        }
        if (pieces[i].opens && !pieces[i].span.text.empty()) open.push_back(i);
    }
}

std::vector<Span> finish(std::vector<Piece> pieces) {
    pair(pieces);
    std::vector<Span> spans;
    for (Piece& piece : pieces) {
        if (piece.span.text.empty()) continue;
        Span probe = piece.span;
        if (!spans.empty() && !probe.code) {
            probe.text = spans.back().text;
            if (probe == spans.back()) {
                spans.back().text += piece.span.text;
                continue;
            }
        }
        spans.push_back(std::move(piece.span));
    }
    return spans;
}

std::vector<Span> Reader::parse_nested(std::string_view label) const {
    return finish(Reader(label, depth_ + 1).read());
}

}  // namespace

bool linkable(std::string_view target) {
    bool known = target.starts_with("https://") || target.starts_with("http://") ||
                 target.starts_with("mailto:");
    return known && std::none_of(target.begin(), target.end(), [](char c) {
               return static_cast<unsigned char>(c) <= 0x20U || c == '<' || c == '>' || c == '"' ||
                      c == '|';
           });
}

std::vector<Span> parse_inlines(std::string_view text) { return finish(Reader(text, 0).read()); }

}  // namespace berth::chat
