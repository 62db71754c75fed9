// SPDX-License-Identifier: Apache-2.0
// Text as chat platforms measure it: lengths in their unit, cuts that leave whole characters, and
// bytes of programs made into text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace berth::chat {

/// What a platform counts.
enum class Unit { kCodePoints, kUtf16 };

/// The length of well-formed UTF-8 in that unit. A malformed byte counts as one.
std::size_t length(std::string_view text, Unit unit);

/// The longest beginning of `text` of at most `max` units, in bytes: whole code points, and no cut
/// before a combining mark, a variation selector, a skin tone or behind a zero-width joiner where
/// that can be had by going back a few.
std::size_t fitting(std::string_view text, std::size_t max, Unit unit);

/// `text` if it is at most `max` units, else its beginning with "…" at the end, `max` in all.
std::string cut(std::string_view text, std::size_t max, Unit unit);

/// The same from the other side: "…" and the end of the text, as a log's last lines are shown.
std::string cut_front(std::string_view text, std::size_t max, Unit unit);

/// Bytes that may come from anywhere as text: malformed UTF-8 becomes U+FFFD, control characters
/// but line feed and tab are dropped, CR LF is one line feed.
std::string to_text(std::string_view bytes);

/// A file's name as it can stand between quotes in a header and in a path: as text, of at most 200
/// UTF-16 units.
std::string file_name(std::string_view name);

}  // namespace berth::chat
