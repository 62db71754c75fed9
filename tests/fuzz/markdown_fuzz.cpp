// SPDX-License-Identifier: Apache-2.0
// Any text as Markdown: it is read and written, and parted within the limit with nothing lost.
#include <algorithm>

#include "chat/length.hpp"
#include "chat/markdown.hpp"
#include "core/text.hpp"
#include "fuzz.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace berth;
    const std::string text = chat::to_text(berth::fuzz::text_of(data, size));
    FUZZ_CHECK(is_utf8(text));
    FUZZ_CHECK(is_utf8(chat::to_plain(text)));
    std::size_t letters = 0;
    const auto count = [](std::string_view part) {
        return static_cast<std::size_t>(std::count_if(part.begin(), part.end(), [](char c) {
            return c >= 'a' && c <= 'z';
        }));
    };
    for (const std::string& piece :
         chat::split_markdown(text, chat::kMinChunk, chat::Unit::kUtf16)) {
        FUZZ_CHECK(chat::length(piece, chat::Unit::kUtf16) <= chat::kMinChunk);
        FUZZ_CHECK(is_utf8(piece));
        letters += count(piece);
    }
    FUZZ_CHECK(letters >= count(text));
    for (const std::size_t max : {std::size_t{1}, std::size_t{7}, std::size_t{100}}) {
        FUZZ_CHECK(
            chat::length(chat::cut(text, max, chat::Unit::kUtf16), chat::Unit::kUtf16) <= max
        );
        FUZZ_CHECK(
            chat::length(chat::cut_front(text, max, chat::Unit::kUtf16), chat::Unit::kUtf16) <= max
        );
    }
    return 0;
}
