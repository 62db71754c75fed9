// SPDX-License-Identifier: Apache-2.0
// Nobody approves what they do not see.
#include "chat/card.hpp"

namespace berth::chat {

Card shown_card(Card card, bool whole) {
    const auto without = std::erase_if(card.buttons, [&](const Button& button) {
        return button.needs_code && !whole;
    });
    if (without == 0) return card;
    card.text =
        "Too long to be shown whole here, so it cannot be approved here: see `berth "
        "approvals` on your computer." +
        (card.text.empty() ? "" : "\n" + card.text);
    return card;
}

}  // namespace berth::chat
