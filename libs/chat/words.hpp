// SPDX-License-Identifier: Apache-2.0
// A line of chat as the words of a command: quotes as in a shell, and what chat clients make of
// them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace berth::chat {

/// Words are parted by white space. '…' is literal, in "…" a backslash escapes ", \, $ and `,
/// outside of quotes any character; in front of a line's end it goes with it. In $'…' escapes are
/// read as bash reads them (\n, \', \x1f, \u202e and the like). Typographic quotes that clients put
/// in for ' and " count as these, an em dash in front of a word as "--". Nothing is expanded: no
/// variables, no globs. Errors: "unclosed_quote", "bad_escape" (in $'…', one that is not known or
/// names no character), "several_lines" (to a shell they are several commands).
Result<std::vector<std::string>> split_words(std::string_view text);

/// The words as a shell, and split_words, would take them back.
std::string join_words(const std::vector<std::string>& words);
/// The same for people, on one line: a word with characters that are not seen, or that deceive, is
/// shown with these escaped, as an approval shows it ($'\u202e'). split_words takes them back.
std::string shown_words(const std::vector<std::string>& words);

/// The first word, lower-cased and without characters that have no shape (zero-width ones, marks of
/// direction), and what follows it.
struct FirstWord {
    std::string word;
    std::string rest;
};
FirstWord first_word(std::string_view text);

/// What a message asks for: without "berth", "@berth" or "/berth" in front of it, in any case and
/// with any blank behind, or the mere slash of "/verb". `called`: one of them was there, so that it
/// is a command, if not always one that there is.
struct Command {
    bool called = false;
    std::string text;
};
Command command_in(std::string_view text);

/// A word as a name of Berth's, which are lower-case: without the back-ticks, quotes and brackets
/// it was copied with, and the full stop, comma or colon behind it.
std::string name_of(std::string_view word);
/// What may be a name in a sentence, in its order and lower-cased: letters, digits, _ and @.
std::vector<std::string> names_in(std::string_view text);
/// True for a name such as "ap_0f9c": two letters, _ and what tells it from others.
bool is_id(std::string_view name, std::string_view kind = {});
inline constexpr std::string_view kApprovalId = "ap";  ///< the kind of an approval's

}  // namespace berth::chat
