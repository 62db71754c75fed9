// SPDX-License-Identifier: Apache-2.0
// The inline half of the Markdown reader: emphasis, code, links. Used by markdown.cpp alone.
#pragma once

#include <string_view>
#include <vector>

#include "chat/markdown.hpp"

namespace berth::chat {

/// The spans of a paragraph's text (its lines joined by line feeds).
std::vector<Span> parse_inlines(std::string_view text);

/// True for the schemes a message may link to.
bool linkable(std::string_view target);

}  // namespace berth::chat
