// SPDX-License-Identifier: Apache-2.0
// One bit-regrouping loop serves base64url, base64, base32 and their inverses.
#include "core/text.hpp"

#include <cstdint>

#include "core/utf8.hpp"

namespace berth {
namespace {

constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

std::string encode(std::string_view bytes, std::string_view alphabet, unsigned bits) {
    std::string out;
    std::uint32_t buffer = 0;
    unsigned held = 0;
    for (const char c : bytes) {
        buffer = (buffer << 8U) | static_cast<std::uint8_t>(c);
        held += 8;
        while (held >= bits) {
            held -= bits;
            out += alphabet[(buffer >> held) & ((1U << bits) - 1U)];
        }
    }
    if (held > 0) out += alphabet[(buffer << (bits - held)) & ((1U << bits) - 1U)];
    return out;
}

Result<std::string> decode(std::string_view text, std::string_view alphabet, unsigned bits) {
    std::string out;
    std::uint32_t buffer = 0;
    unsigned held = 0;
    for (const char c : text) {
        const auto value = alphabet.find(c);
        if (value == std::string_view::npos)
            return invalid("bad_encoding", "a character is outside the alphabet");
        buffer = (buffer << bits) | static_cast<std::uint32_t>(value);
        held += bits;
        if (held >= 8) {
            held -= 8;
            out += static_cast<char>((buffer >> held) & 0xFFU);
        }
    }
    // What is left must be padding bits: fewer than a digit, all zero.
    if (held >= bits || (buffer & ((1U << held) - 1U)) != 0)
        return invalid("bad_encoding", "the text is cut short");
    return out;
}

}  // namespace

std::string base64url(std::string_view bytes) { return encode(bytes, kBase64Url, 6); }
Result<std::string> decode_base64url(std::string_view text) { return decode(text, kBase64Url, 6); }
std::string base64(std::string_view bytes) {
    std::string out = encode(bytes, kBase64, 6);
    while (out.size() % 4 != 0) out.push_back('=');
    return out;
}
Result<std::string> decode_base64(std::string_view text) {
    if (text.size() % 4 == 0) {
        for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
    }
    return decode(text, kBase64, 6);
}
std::string base32(std::string_view bytes) { return encode(bytes, kBase32, 5); }
Result<std::string> decode_base32(std::string_view text) { return decode(text, kBase32, 5); }

std::string hex(std::string_view bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string out;
    out.reserve(bytes.size() * 2);
    for (const char c : bytes) {
        out += kDigits[static_cast<std::uint8_t>(c) >> 4U];
        out += kDigits[static_cast<std::uint8_t>(c) & 15U];
    }
    return out;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> pieces;
    std::size_t first = 0;
    for (std::size_t i = 0; i <= text.size(); ++i) {
        if (i == text.size() || text[i] == separator) {
            pieces.push_back(text.substr(first, i - first));
            first = i + 1;
        }
    }
    return pieces;
}

std::string trimmed(std::string_view text) {
    const auto is_blank = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    return std::string(text);
}

std::string clipped(std::string_view text, std::size_t most) {
    if (text.size() <= most) return std::string(text);
    constexpr std::size_t kMostFollowing = 3;  // bytes of one character behind its first
    const auto follows = [&](std::size_t at) {
        return (static_cast<std::uint8_t>(text[at]) & 0xC0U) == 0x80U;
    };
    std::size_t end = most;
    while (end > 0 && most - end < kMostFollowing && follows(end)) --end;
    return std::string(text.substr(0, follows(end) ? most : end));
}

void append_utf8(std::string& out, char32_t code) {
    const auto put = [&out](char32_t byte) { out += static_cast<char>(byte); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0U | (code >> 6U));
        put(0x80U | (code & 0x3FU));
    } else if (code < 0x10000) {
        put(0xE0U | (code >> 12U));
        put(0x80U | ((code >> 6U) & 0x3FU));
        put(0x80U | (code & 0x3FU));
    } else {
        put(0xF0U | (code >> 18U));
        put(0x80U | ((code >> 12U) & 0x3FU));
        put(0x80U | ((code >> 6U) & 0x3FU));
        put(0x80U | (code & 0x3FU));
    }
}

bool is_utf8(std::string_view text) {
    std::size_t i = 0;
    while (i < text.size()) {
        const auto lead = static_cast<std::uint8_t>(text[i]);
        const std::size_t size = lead < 0x80   ? 1
                                 : lead < 0xC2 ? 0
                                 : lead < 0xE0 ? 2
                                 : lead < 0xF0 ? 3
                                 : lead < 0xF5 ? 4
                                               : 0;
        if (size == 0 || i + size > text.size()) return false;
        for (std::size_t k = 1; k < size; ++k) {
            if ((static_cast<std::uint8_t>(text[i + k]) & 0xC0U) != 0x80U) return false;
        }
        const auto second = size > 1 ? static_cast<std::uint8_t>(text[i + 1]) : 0U;
        if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
            (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) {
            return false;
        }
        i += size;
    }
    return true;
}

}  // namespace berth
