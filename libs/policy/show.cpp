// SPDX-License-Identifier: Apache-2.0
// Plans as text for people: nothing in it can pretend to be something else.
#include <deque>

#include "policy/plan.hpp"
#include "policy/unicode.hpp"

namespace berth::policy {
namespace {

// Marks what was left out. The character is escaped wherever it comes from a plan, so that no
// argument can imitate the mark.
constexpr std::string_view kEllipsis = "\u2026";
constexpr char32_t kEllipsisPoint = 0x2026;
// "…[18446744073709551615 bytes left out]…"
constexpr std::size_t kMarkBytes = 48;

/// Keeps the beginning and the end of what is written, whole units only (a character or an escape).
class Cut {
public:
    explicit Cut(std::size_t most)
        : head_limit_(most > kMarkBytes ? (most - kMarkBytes) / 2 : 0),
          tail_limit_(most > kMarkBytes ? most - kMarkBytes - head_limit_ : 0),
          most_(most) {}

    void add(std::string_view unit) {
        total_ += unit.size();
        if (total_ <= most_) whole_ += unit;
        if (!head_full_ && head_.size() + unit.size() <= head_limit_) {
            head_ += unit;
            return;
        }
        head_full_ = true;
        tail_.emplace_back(unit);
        tail_bytes_ += unit.size();
        while (tail_bytes_ > tail_limit_) {
            tail_bytes_ -= tail_.front().size();
            tail_.pop_front();
        }
    }

    std::string text() const {
        if (total_ <= most_) return whole_;
        std::string out = head_;
        out += kEllipsis;
        out += "[" + std::to_string(total_ - head_.size() - tail_bytes_) + " bytes left out]";
        out += kEllipsis;
        for (const auto& unit : tail_) out += unit;
        return out;
    }

private:
    std::size_t head_limit_;
    std::size_t tail_limit_;
    std::size_t most_;
    std::size_t total_ = 0;
    std::size_t tail_bytes_ = 0;
    bool head_full_ = false;
    std::string whole_;
    std::string head_;
    std::deque<std::string> tail_;
};

std::string hex_escape(const char* prefix, char32_t value, int digits) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string out = prefix;
    for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4)
        out += kDigits[(value >> static_cast<unsigned>(shift)) & 0xFU];
    return out;
}

bool needs_escape(const detail::Character& one) {
    return !one.valid || one.point == kEllipsisPoint || detail::is_unsafe(one.point);
}

std::string escape(const detail::Character& one, std::string_view bytes) {
    if (!one.valid) return hex_escape("\\x", static_cast<unsigned char>(bytes[0]), 2);
    switch (one.point) {
        case '\n': return "\\n";
        case '\t': return "\\t";
        case '\r': return "\\r";
        default: break;
    }
    if (one.point < 0x80) return hex_escape("\\x", one.point, 2);
    if (one.point < 0x10000) return hex_escape("\\u", one.point, 4);
    return hex_escape("\\U", one.point, 8);
}

enum class Quoting { kNone, kPlain, kEscaped };

bool is_bare(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_@%+=:,./-").find(static_cast<char>(c)) != std::string_view::npos;
}

Quoting quoting_of(std::string_view text) {
    Quoting quoting = text.empty() ? Quoting::kPlain : Quoting::kNone;
    for (std::size_t at = 0; at < text.size();) {
        const auto one = detail::character_at(text, at);
        if (needs_escape(one)) return Quoting::kEscaped;
        if (one.bytes > 1 || !is_bare(static_cast<unsigned char>(text[at])))
            quoting = Quoting::kPlain;
        at += one.bytes;
    }
    return quoting;
}

void quote(Cut& out, std::string_view text) {
    const Quoting quoting = quoting_of(text);
    if (quoting != Quoting::kNone) out.add(quoting == Quoting::kPlain ? "'" : "$'");
    for (std::size_t at = 0; at < text.size();) {
        const auto one = detail::character_at(text, at);
        const std::string_view bytes = text.substr(at, one.bytes);
        if (quoting == Quoting::kEscaped) {
            if (needs_escape(one)) {
                out.add(escape(one, bytes));
            } else if (bytes == "'" || bytes == "\\") {
                out.add("\\" + std::string(bytes));
            } else {
                out.add(bytes);
            }
        } else {
            out.add(quoting == Quoting::kPlain && bytes == "'" ? std::string_view("'\\''") : bytes);
        }
        at += one.bytes;
    }
    if (quoting != Quoting::kNone) out.add("'");
}

std::string lines_of_env(const Plan& plan, std::size_t most) {
    // Many changes must not hide one: each gets its share, and what did not fit is counted.
    constexpr std::size_t kMostOfOne = 160;
    std::string out;
    std::size_t left_out = 0;
    for (const auto& change : plan.env) {
        std::string line = "environment: " + show_text(change.name, kMostOfOne);
        if (change.removed) {
            line += " removed";
        } else if (is_secret_name(change.name)) {
            line += "=***";
        } else {
            line += "=" + show_text(mask(change.value), kMostOfOne);
        }
        if (out.size() + line.size() > most) {
            ++left_out;
        } else {
            out += line + "\n";
        }
    }
    if (left_out > 0)
        out +=
            "environment: " + std::string(kEllipsis) + std::to_string(left_out) + " more changes\n";
    return out;
}

std::string line_of_file(std::string_view name, const File& file, std::size_t most) {
    std::string out = std::string(name) + ": " + show_text(file.path, most);
    if (!file.sha256.empty()) out += " (sha256 " + show_text(file.sha256, 80) + ")";
    return out + "\n";
}

}  // namespace

std::string show_text(std::string_view text, std::size_t most) {
    Cut out(most);
    quote(out, text);
    return out.text();
}

std::string show_plain(std::string_view text, std::size_t most) {
    const bool fits = text.size() <= most && quoting_of(text) != Quoting::kEscaped;
    return fits ? std::string(text) : show_text(text, most);
}

std::string show_argv(const std::vector<std::string>& argv, std::size_t most) {
    Cut out(most);
    bool first = true;
    for (const auto& argument : argv) {
        if (!first) out.add(" ");
        first = false;
        quote(out, argument);
    }
    return out.text();
}

std::string show_plan(const Plan& plan, std::size_t most) {
    const std::size_t share = most / 6;
    std::string out = line_of_file("executable", plan.executable, share);
    out += "arguments: " + show_masked_argv(plan.argv, most / 3) + "\n";
    out += "folder: " + show_text(plan.cwd, share / 2) + "\n";
    out += lines_of_env(plan, share);
    if (!plan.script.path.empty()) out += line_of_file("script", plan.script, share / 2);
    if (!plan.parent.empty()) out += "asked by: " + show_text(plan.parent, share / 2) + "\n";
    return out;
}

}  // namespace berth::policy
