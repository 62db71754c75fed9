// SPDX-License-Identifier: Apache-2.0
// Private to libs/policy: characters of UTF-8, and which of them must never be shown as they are.
#pragma once

#include <cstddef>
#include <string_view>

namespace berth::policy::detail {

struct Character {
    char32_t point = 0;
    std::size_t bytes = 1;  ///< never 0
    bool valid = false;     ///< false: one byte that is no part of well-formed UTF-8
};

/// The character that begins at `at`, which is below text.size().
Character character_at(std::string_view text, std::size_t at);

/// True for what is invisible, moves what stands beside it, or draws over it: control characters,
/// bidirectional marks, zero-width and other blank characters but the space, combining marks,
/// private use, tags.
bool is_unsafe(char32_t point);

}  // namespace berth::policy::detail
