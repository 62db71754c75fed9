// SPDX-License-Identifier: Apache-2.0
// A command's line as anybody types it, and a run's output as anything prints it: words come back
// as they were joined, and what is shown is text within its bounds.
#include "chat/output.hpp"
#include "chat/wire.hpp"
#include "chat/words.hpp"
#include "core/text.hpp"
#include "fuzz.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace berth;
    const std::string_view text = fuzz::text_of(data, size);
    if (const auto words = chat::split_words(text)) {
        const auto again = chat::split_words(chat::join_words(*words));
        FUZZ_CHECK(again.has_value() && *again == *words);
        const auto shown_again = chat::split_words(chat::shown_words(*words));
        const bool nul = text.find('\0') != std::string_view::npos;  // no escape stands for it
        FUZZ_CHECK(nul || (shown_again.has_value() && *shown_again == *words));
    }
    (void)chat::first_word(text);
    const auto command = chat::command_in(text);
    FUZZ_CHECK(text.ends_with(command.text));
    FUZZ_CHECK(
        command.called || chat::first_word(command.text).word == chat::first_word(text).word
    );
    chat::Tail tail;
    tail.add(text.substr(0, size / 2));
    tail.add(text.substr(size / 2));
    const std::string shown = tail.text(12, 1'500);
    FUZZ_CHECK(is_utf8(shown));
    FUZZ_CHECK(shown.size() <= 1'500 + 8);
    if (const auto inbound = chat::inbound_from_json(text))
        FUZZ_CHECK(chat::inbound_from_json(chat::to_json(*inbound)).has_value());
    if (const auto content = chat::content_from_json(text))
        FUZZ_CHECK(chat::content_from_json(chat::to_json(*content)).has_value());
    return 0;
}
