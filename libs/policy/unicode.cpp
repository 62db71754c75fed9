// SPDX-License-Identifier: Apache-2.0
// Decoding of UTF-8 by RFC 3629 and the table of characters that can deceive.
#include "policy/unicode.hpp"

#include <algorithm>
#include <iterator>

namespace berth::policy::detail {
namespace {

struct Range {
    char32_t first;
    char32_t last;
};

// In order. From Unicode's categories Cc, Cf, Co, Cs, Mn, Me, Zl, Zp, Zs and its "default
// ignorable" property, as far as a character of them is used outside of one script's own writing.
constexpr Range kUnsafe[] = {
    {0x0000, 0x001F},    {0x007F, 0x00A0},   {0x00AD, 0x00AD},   {0x0300, 0x036F},
    {0x0483, 0x0489},    {0x0600, 0x0605},   {0x061C, 0x061C},   {0x06DD, 0x06DD},
    {0x070F, 0x070F},    {0x0890, 0x0891},   {0x08E2, 0x08E2},   {0x115F, 0x1160},
    {0x1680, 0x1680},    {0x17B4, 0x17B5},   {0x180B, 0x180F},   {0x1AB0, 0x1AFF},
    {0x1DC0, 0x1DFF},    {0x2000, 0x200F},   {0x2028, 0x202F},   {0x205F, 0x206F},
    {0x20D0, 0x20FF},    {0x2800, 0x2800},   {0x3000, 0x3000},   {0x302A, 0x302F},
    {0x3099, 0x309A},    {0x3164, 0x3164},   {0xD800, 0xF8FF},   {0xFDD0, 0xFDEF},
    {0xFE00, 0xFE0F},    {0xFE20, 0xFE2F},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},
    {0xFFF0, 0xFFFF},    {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x13430, 0x1345F},
    {0x1BCA0, 0x1BCA3},  {0x1D159, 0x1D182}, {0x1FFFE, 0x1FFFF}, {0x2FFFE, 0x2FFFF},
    {0x3FFFE, 0x10FFFF},
};

}  // namespace

Character character_at(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(at);
    if (lead < 0x80) return {lead, 1, true};
    std::size_t size = 0;
    char32_t point = 0;
    char32_t least = 0;
    if ((lead & 0xE0U) == 0xC0) {
        size = 2, point = lead & 0x1FU, least = 0x80;
    } else if ((lead & 0xF0U) == 0xE0) {
        size = 3, point = lead & 0x0FU, least = 0x800;
    } else if ((lead & 0xF8U) == 0xF0) {
        size = 4, point = lead & 0x07U, least = 0x10000;
    }
    if (size == 0 || size > text.size() - at) return {lead, 1, false};
    for (std::size_t i = 1; i < size; ++i) {
        if ((byte(at + i) & 0xC0U) != 0x80) return {lead, 1, false};
        point = (point << 6U) | (byte(at + i) & 0x3FU);
    }
    const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
    if (point < least || point > 0x10FFFF || surrogate) return {lead, 1, false};
    return {point, size, true};
}

bool is_unsafe(char32_t point) {
    const auto* after = std::upper_bound(
        std::begin(kUnsafe),
        std::end(kUnsafe),
        point,
        [](char32_t value, const Range& range) { return value < range.first; }
    );
    return after != std::begin(kUnsafe) && point <= std::prev(after)->last;
}

}  // namespace berth::policy::detail
