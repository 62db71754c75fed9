// SPDX-License-Identifier: Apache-2.0
// What is said in a chat, described once; each platform renders it in its own markup.
#pragma once

#include <string>
#include <vector>

namespace berth::chat {

/// The colour of a card's edge, or the mark before its title where a platform has no colours.
enum class Tone { kNeutral, kWaiting, kGood, kBad };

enum class ButtonStyle { kPlain, kGood, kDanger };

/// A button. `token` is opaque, at most kMaxToken bytes of [A-Za-z0-9_-], good for one click; the
/// platform hands it back in a click and nothing else. libs/chat knows what it stands for.
struct Button {
    static constexpr std::size_t kMaxToken = 40;  // Telegram's callback_data is 64 bytes
    std::string token;
    std::string label;
    ButtonStyle style = ButtonStyle::kPlain;
    /// The platform asks for a line of text first (a modal where it has them; libs/chat asks in the
    /// conversation where it has none, see Traits::modals) and hands it over as the click's
    /// comment.
    bool asks_comment = false;
    /// Stands only under a card's code that is shown whole (shown_card).
    bool needs_code = false;
};

struct Field {
    std::string label;
    std::string value;  ///< plain text: shown as it is, never read as markup
};

/// One message with structure. Every text is plain and is escaped by the renderer, so that nothing
/// a command prints can mention people, open links or break out of its block; `markdown` alone is
/// markup. Whatever is longer than the platform takes is cut by the renderer with a mark.
struct Card {
    std::string title;
    Tone tone = Tone::kNeutral;
    std::string text;  ///< plain, under the title
    std::string code;  ///< shown word for word in a fixed-width block
    std::vector<Field> fields;
    std::vector<Button> buttons;
    std::string footer;  ///< plain and small
};

/// The card as a platform may show it that can, or cannot, show its code whole: then without the
/// buttons that need it, and it says why.
Card shown_card(Card card, bool whole);

/// A message: Markdown (CommonMark's paragraphs, emphasis, code, fences, lists, links), or a card,
/// or a file with a line of text. Exactly one of the three is used: `is_card`, a non-empty
/// `file_name`, else `markdown`.
struct Content {
    std::string markdown;
    bool is_card = false;
    Card card;
    std::string file_name;
    std::string file_bytes;
};

}  // namespace berth::chat
