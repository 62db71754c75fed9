// SPDX-License-Identifier: Apache-2.0
// Messages as Telegram shows them: HTML of its own small kind, or plain text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "chat/card.hpp"

/// Pure functions.
namespace berth::telegram {

/// UTF-16 code units of one message after its entities are parsed.
inline constexpr std::size_t kMaxText = 4'096;
inline constexpr std::size_t kMaxCaption = 1'024;

/// A message's text: parse_mode HTML, or none where `plain`. What is longer than `max` when shown
/// is cut with a mark.
std::string markdown_text(std::string_view markdown, bool plain, std::size_t max = kMaxText);
/// The card with the buttons that its text allows.
chat::Card card_shown(const chat::Card& card, bool plain);
std::string card_text(const chat::Card& card, bool plain);

/// `<`, `>`, `&` and quotes as entities.
std::string escape(std::string_view text);

/// Text that mentions nobody: an @ that would begin a user name is parted from it by U+2060, which
/// has no width.
std::string unmention(std::string_view text);

}  // namespace berth::telegram
