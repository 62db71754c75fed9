// SPDX-License-Identifier: Apache-2.0
// Messages in WhatsApp's markup, which has no escapes: what must not be read as markup is parted by
// a character of no width.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "chat/card.hpp"

/// Pure functions.
namespace berth::whatsapp {

inline constexpr std::size_t kMaxText = 4'096;
inline constexpr std::size_t kMaxBody = 1'024;  ///< of a message with buttons, and of a caption

/// At most `max` units; with no markup where `plain`.
std::string markdown_text(std::string_view markdown, bool plain, std::size_t max = kMaxText);
std::string card_text(const chat::Card& card, bool plain, std::size_t max);
/// True where that text holds the card's code whole.
bool shows_code(const chat::Card& card, bool plain, std::size_t max);

/// Text in which *, _, ~ and ` mark nothing.
std::string literal(std::string_view text);

}  // namespace berth::whatsapp
