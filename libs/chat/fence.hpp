// SPDX-License-Identifier: Apache-2.0
// Where code begins and ends: the reader and the chunker must not disagree. Private to libs/chat.
#pragma once

#include <optional>
#include <string_view>

namespace berth::chat {

struct Fence {
    static constexpr std::size_t kMaxCount = 16;  // longer runs are text: a fence must fit a piece
    char mark = 0;
    std::size_t count = 0;
    std::string_view info;
};

/// What the line opens, or closes; blanks around it are left out.
std::optional<Fence> fence_of(std::string_view line);
bool closes(std::string_view line, const Fence& open);

}  // namespace berth::chat
