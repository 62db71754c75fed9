// SPDX-License-Identifier: Apache-2.0
// Walks UTF-8 by code point; what is malformed is walked byte by byte.
#include "chat/length.hpp"

#include <algorithm>
#include <cstdint>

namespace berth::chat {
namespace {

constexpr std::string_view kEllipsis = "\xE2\x80\xA6";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr std::size_t kMaxFileName = 200;
constexpr int kGlueSteps = 16;  // the longest emoji sequences in use have about ten code points

struct Point {
    std::uint32_t value = 0;
    std::size_t bytes = 1;
    bool valid = false;
};

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

Point decode(std::string_view text, std::size_t at) {
    auto lead = static_cast<unsigned char>(text[at]);
    if (lead < 0x80U) return {lead, 1, true};
    std::size_t bytes = lead >= 0xF0U ? 4 : lead >= 0xE0U ? 3 : 2;
    if (lead < 0xC2U || lead > 0xF4U || at + bytes > text.size()) return {lead, 1, false};
    std::uint32_t value = lead & (0xFFU >> (bytes + 1));
    for (std::size_t i = 1; i < bytes; ++i) {
        if (!continues(text[at + i])) return {lead, 1, false};
        value = (value << 6U) | (static_cast<unsigned char>(text[at + i]) & 0x3FU);
    }
    bool overlong = (bytes == 3 && value < 0x800U) || (bytes == 4 && value < 0x10000U);
    bool surrogate = value >= 0xD800U && value <= 0xDFFFU;
    if (overlong || surrogate || value > 0x10FFFFU) return {lead, 1, false};
    return {value, bytes, true};
}

std::size_t units(const Point& point, Unit unit) {
    return unit == Unit::kUtf16 && point.valid && point.value > 0xFFFFU ? 2 : 1;
}

/// Code points that belong to the one before them.
bool extends(std::uint32_t point) {
    return (point >= 0x300U && point <= 0x36FU) || (point >= 0xFE00U && point <= 0xFE0FU) ||
           (point >= 0x1F3FBU && point <= 0x1F3FFU) || point == 0x200DU || point == 0x20E3U;
}

std::size_t previous(std::string_view text, std::size_t at) {
    std::size_t back = at - 1;
    while (back > 0 && at - back < 4 && continues(text[back])) --back;
    return back + decode(text, back).bytes == at ? back : at - 1;
}

/// True where a cut at `at` would part one visible character.
bool glued(std::string_view text, std::size_t at) {
    if (at == 0 || at >= text.size()) return false;
    if (extends(decode(text, at).value)) return true;
    return decode(text, previous(text, at)).value == 0x200DU;
}

}  // namespace

std::size_t length(std::string_view text, Unit unit) {
    std::size_t sum = 0;
    for (std::size_t at = 0; at < text.size();) {
        Point point = decode(text, at);
        sum += units(point, unit);
        at += point.bytes;
    }
    return sum;
}

std::size_t fitting(std::string_view text, std::size_t max, Unit unit) {
    std::size_t at = 0;
    for (std::size_t sum = 0; at < text.size();) {
        Point point = decode(text, at);
        sum += units(point, unit);
        if (sum > max) break;
        at += point.bytes;
    }
    std::size_t whole = at;
    for (int step = 0; step < kGlueSteps && glued(text, whole); ++step) {
        whole = previous(text, whole);
    }
    return whole > 0 && !glued(text, whole) ? whole : at;
}

std::string cut(std::string_view text, std::size_t max, Unit unit) {
    if (length(text, unit) <= max) return std::string(text);
    if (max == 0) return {};
    return std::string(text.substr(0, fitting(text, max - 1, unit))).append(kEllipsis);
}

std::string cut_front(std::string_view text, std::size_t max, Unit unit) {
    std::size_t all = length(text, unit);
    if (all <= max) return std::string(text);
    if (max == 0) return {};
    std::size_t at = 0;
    while (at < text.size() && (all > max - 1 || glued(text, at))) {
        Point point = decode(text, at);
        all -= units(point, unit);
        at += point.bytes;
    }
    return std::string(kEllipsis).append(text.substr(at));
}

std::string to_text(std::string_view bytes) {
    std::string text;
    text.reserve(bytes.size());
    for (std::size_t at = 0; at < bytes.size();) {
        Point point = decode(bytes, at);
        bool newline = point.value == '\r' && at + 1 < bytes.size() && bytes[at + 1] == '\n';
        bool control =
            point.valid && (point.value < 0x20U || (point.value >= 0x7FU && point.value < 0xA0U));
        if (!point.valid) {
            text.append(kReplacement);
        } else if (!newline && (!control || point.value == '\n' || point.value == '\t')) {
            text.append(bytes.substr(at, point.bytes));
        }
        at += point.bytes;
    }
    return text;
}

std::string file_name(std::string_view name) {
    std::string safe = cut(to_text(name), kMaxFileName, Unit::kUtf16);
    for (char& c : safe) {
        if (static_cast<unsigned char>(c) < 0x20U || c == '"' || c == '\\' || c == '/') c = '_';
    }
    return safe;
}

}  // namespace berth::chat
