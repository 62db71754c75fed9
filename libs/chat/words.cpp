// SPDX-License-Identifier: Apache-2.0
// One pass over the line.
#include "chat/words.hpp"

#include <algorithm>
#include <array>

#include "core/utf8.hpp"
#include "policy/plan.hpp"

namespace berth::chat {
namespace {

constexpr std::string_view kBlank = " \t\r\n\v\f";
constexpr std::string_view kNoBreakSpace = "\u00a0";
constexpr std::string_view kEmDash = "\u2014";
/// What stands around a name that was copied or said in a sentence.
constexpr std::array<std::string_view, 24> kAround{
    "`", "'", "\"", "(", ")", "[", "]",      "{",      "}",      "<",      ">",      "*",
    ".", ",", ":",  ";", "!", "?", "\u2018", "\u2019", "\u201a", "\u201c", "\u201d", "\u201e"};

bool starts(std::string_view text, std::string_view with) {
    return text.substr(0, with.size()) == with;
}

/// The straight form of a typographic quote that `text` begins with, and how long that is; 0: none.
std::size_t quote_at(std::string_view text, char& out) {
    if (text.empty()) return 0;
    if (text[0] == '\'' || text[0] == '"') {
        out = text[0];
        return 1;
    }
    for (const std::string_view each : {"\u2018", "\u2019", "\u201a", "\u201b"}) {
        if (starts(text, each)) {
            out = '\'';
            return each.size();
        }
    }
    for (const std::string_view each : {"\u201c", "\u201d", "\u201e", "\u201f"}) {
        if (starts(text, each)) {
            out = '"';
            return each.size();
        }
    }
    return 0;
}

Error unclosed(char quote) {
    return invalid("unclosed_quote", std::string("a ") + quote + " is opened and never closed");
}

std::size_t blank_at(std::string_view text) {
    if (text.empty()) return 0;
    if (kBlank.find(text[0]) != std::string_view::npos) return 1;
    return starts(text, kNoBreakSpace) ? kNoBreakSpace.size() : 0;
}

/// A character without a shape of its own, which clients put around what is copied: a soft hyphen,
/// zero-width ones, marks of direction, a byte order mark.
std::size_t format_at(std::string_view text) {
    for (const std::string_view each : {"\u00ad", "\u061c", "\ufeff"}) {
        if (starts(text, each)) return each.size();
    }
    const std::string_view one = text.substr(0, 3);
    const auto between = [&one](std::string_view first, std::string_view last) {
        return one >= first && one <= last;
    };
    return between("\u200b", "\u200f") || between("\u202a", "\u202e") || between("\u2060", "\u206f")
               ? one.size()
               : 0;
}

/// Without such characters, and in lower case.
std::string folded(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const std::size_t format = format_at(text);
        const char c = text[0];
        if (format == 0) out += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        text.remove_prefix(std::max<std::size_t>(format, 1));
    }
    return out;
}

/// Without what nobody sees in front of it.
std::string_view from_first_seen(std::string_view text) {
    while (const std::size_t unseen = blank_at(text) + format_at(text)) text.remove_prefix(unseen);
    return text;
}

std::size_t line_end_at(std::string_view text) {
    return starts(text, "\r\n") ? 2 : starts(text, "\n") ? 1 : 0;
}

/// What a backslash takes its meaning from, in "…".
constexpr std::string_view kEscapedInQuotes = "\"\\$`";

constexpr int kNoDigit = 16;

int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return kNoDigit;
}

/// Takes the number that `text` begins with, of `most` digits at most.
Result<char32_t> take_number(std::string_view& text, int base, int most) {
    char32_t number = 0;
    int taken = 0;
    for (; taken < most && !text.empty() && digit_of(text[0]) < base; ++taken) {
        number = number * static_cast<unsigned>(base) + static_cast<unsigned>(digit_of(text[0]));
        text.remove_prefix(1);
    }
    if (taken == 0 || number == 0 || (base == 8 && number > 0xFF))
        return invalid("bad_escape", "an escape in $'...' names no character");
    return number;
}

/// Takes what follows a backslash in $'…' and adds what it stands for.
Result<void> take_escape(std::string_view& text, bool typographic, std::string& out) {
    static constexpr std::string_view kFrom = "abeEfnrtv\\'\"?";
    static constexpr std::string_view kTo = "\a\b\x1b\x1b\f\n\r\t\v\\'\"?";
    if (text.empty()) return {};  // and the quote is not closed
    char straight = 0;
    const char c = text[0];
    if (const auto simple = kFrom.find(c); simple != std::string_view::npos) {
        out += kTo[simple];
        text.remove_prefix(1);
        return {};
    }
    if (const auto quote = quote_at(text, straight); quote > 0 && typographic) {
        out += straight;
        text.remove_prefix(quote);
        return {};
    }
    if (digit_of(c) < 8) {
        BERTH_ASSIGN(const auto byte, take_number(text, 8, 3));
        out += static_cast<char>(byte);
        return {};
    }
    if (c != 'x' && c != 'u' && c != 'U')
        return invalid(
            "bad_escape", "$'...' has an escape that is not known; a backslash itself is \\\\"
        );
    text.remove_prefix(1);
    BERTH_ASSIGN(const auto number, take_number(text, 16, c == 'x' ? 2 : c == 'u' ? 4 : 8));
    if (c == 'x') {
        out += static_cast<char>(number);
        return {};
    }
    if (number > 0x10FFFF || (number >= 0xD800 && number <= 0xDFFF))
        return invalid("bad_escape", "an escape in $'...' names no character");
    append_utf8(out, number);
    return {};
}

/// Takes $'…' at the start of `text`, as bash does, and adds what it stands for. Only what opened
/// it in a client's way is closed so: in what Berth shows, a typographic quote is a character of
/// it.
Result<bool> take_escaped(std::string_view& text, std::string& out) {
    char straight = 0;
    const std::size_t opened = starts(text, "$") ? quote_at(text.substr(1), straight) : 0;
    if (opened == 0 || straight != '\'') return false;
    text.remove_prefix(1 + opened);
    while (!text.empty()) {
        const std::size_t quote = quote_at(text, straight);
        if (quote > 0 && straight == '\'' && (opened > 1 || quote == 1)) {
            text.remove_prefix(quote);
            return true;
        }
        const bool escape = text[0] == '\\';
        if (!escape) out += text[0];
        text.remove_prefix(1);
        if (escape) BERTH_TRY(take_escape(text, opened > 1, out));
    }
    return unclosed('\'');
}

/// Neither a shell nor split_words sees more in it than a word.
bool is_plain(std::string_view word) {
    if (word.empty() || starts(word, kEmDash)) return false;
    for (const char c : word) {
        const auto u = static_cast<unsigned char>(c);
        if (u < 0x21 || u == 0x7f ||
            std::string_view("'\"\\$`!*?[]{}()<>|&;#~").find(c) != std::string_view::npos)
            return false;
    }
    for (char straight = 0; !word.empty(); word.remove_prefix(1)) {
        if (blank_at(word) > 0 || quote_at(word, straight) > 0) return false;
    }
    return true;
}

/// In '…', where a shell takes everything as it is. split_words does so, too, but for what it reads
/// as the end: that stands outside of them.
std::string in_quotes(std::string_view word) {
    std::string out = "'";
    while (!word.empty()) {
        char straight = 0;
        const std::size_t quote = quote_at(word, straight);
        const std::string_view piece = word.substr(0, std::max<std::size_t>(quote, 1));
        if (quote == 0 || straight == '"') {
            out += piece;
        } else if (quote == 1) {
            out += "'\\''";
        } else {
            out.append("'\"").append(piece).append("\"'");
        }
        word.remove_prefix(piece.size());
    }
    return out + "'";
}

}  // namespace

Result<std::vector<std::string>> split_words(std::string_view text) {
    std::vector<std::string> words;
    std::string word;
    bool in_word = false;
    bool line_ended = false;
    char quote = 0;
    const auto add = [&](std::string_view piece) {
        word += piece;
        in_word = true;
    };
    while (!text.empty()) {
        char found = 0;
        const std::size_t quoted = quote_at(text, found);
        const std::size_t blank = blank_at(text);
        const std::size_t continued =
            text[0] == '\\' && quote != '\'' ? line_end_at(text.substr(1)) : 0;
        if (continued > 0) {
            text.remove_prefix(1 + continued);
            continue;
        }
        if (quote == 0 && blank > 0) {
            if (in_word) words.push_back(std::move(word));
            word.clear();
            in_word = false;
            line_ended = line_ended || (text[0] == '\n' && !words.empty());
            text.remove_prefix(blank);
            continue;
        }
        const bool escapes =
            text[0] == '\\' && quote != '\'' && text.size() > 1 &&
            (quote == 0 || kEscapedInQuotes.find(text[1]) != std::string_view::npos);
        if (line_ended)
            return invalid(
                "several_lines",
                "a line ends between the words; several lines go into quotes, as in `sh -c '...'`"
            );
        if (quote == 0) {
            BERTH_ASSIGN(const bool taken, take_escaped(text, word));
            in_word = in_word || taken;
            if (taken) continue;
        }
        if (quoted > 0 && (quote == 0 || quote == found)) {
            quote = quote == 0 ? found : '\0';
            add({});
            text.remove_prefix(quoted);
        } else if (escapes) {
            add(text.substr(1, 1));
            text.remove_prefix(2);
        } else if (!in_word && starts(text, kEmDash)) {
            add("--");
            text.remove_prefix(kEmDash.size());
        } else {
            add(text.substr(0, 1));
            text.remove_prefix(1);
        }
    }
    if (quote != 0) return unclosed(quote);
    if (in_word) words.push_back(std::move(word));
    return words;
}

std::string join_words(const std::vector<std::string>& words) {
    std::string out;
    for (const auto& word : words) {
        if (!out.empty()) out += ' ';
        out += is_plain(word) ? word : in_quotes(word);
    }
    return out;
}

std::string shown_words(const std::vector<std::string>& words) {
    std::string out;
    for (const auto& word : words) {
        if (!out.empty()) out += ' ';
        const std::string plain = policy::show_plain(word, std::string::npos);
        out += plain == word ? join_words({word}) : plain;
    }
    return out;
}

FirstWord first_word(std::string_view text) {
    text = from_first_seen(text);
    std::size_t end = 0;
    while (end < text.size() && blank_at(text.substr(end)) == 0) ++end;
    FirstWord out;
    out.word = folded(text.substr(0, end));
    text.remove_prefix(end);
    while (const std::size_t blank = blank_at(text)) text.remove_prefix(blank);
    out.rest = std::string(text);
    return out;
}

Command command_in(std::string_view text) {
    text = from_first_seen(text);
    const bool slash = starts(text, "/");
    if (slash) text.remove_prefix(1);
    const FirstWord first = first_word(text);
    std::string_view name = first.word;
    if (starts(name, "@")) name.remove_prefix(1);
    if (name.ends_with(',') || name.ends_with(':')) name.remove_suffix(1);
    if (name == "berth") return {true, first.rest};
    return {slash, std::string(text)};
}

std::string name_of(std::string_view word) {
    const std::string seen = folded(word);
    std::string_view name = seen;
    const auto stripped = [&name] {
        for (const std::string_view each : kAround) {
            if (starts(name, each)) {
                name.remove_prefix(each.size());
                return true;
            }
            if (name.ends_with(each)) {
                name.remove_suffix(each.size());
                return true;
            }
        }
        return false;
    };
    while (stripped()) {
    }
    return first_word(name).word;
}

std::vector<std::string> names_in(std::string_view text) {
    std::vector<std::string> out;
    bool in_name = false;
    for (const char c : folded(text)) {
        const bool of_name =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '@';
        if (of_name && !in_name) out.emplace_back();
        if (of_name) out.back() += c;
        in_name = of_name;
    }
    return out;
}

bool is_id(std::string_view name, std::string_view kind) {
    const auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
    return name.size() > 3 && letter(name[0]) && letter(name[1]) && name[2] == '_' &&
           (kind.empty() || name.substr(0, 2) == kind);
}

}  // namespace berth::chat
