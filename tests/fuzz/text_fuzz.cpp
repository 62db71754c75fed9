// SPDX-License-Identifier: Apache-2.0
// Times, durations, ids and encodings as people and machines type them.
#include "core/id.hpp"
#include "core/text.hpp"
#include "core/time.hpp"
#include "fuzz.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = berth::fuzz::text_of(data, size);
    if (const auto time = berth::parse_rfc3339(text)) {
        const auto again = berth::parse_rfc3339(berth::to_rfc3339(*time));
        FUZZ_CHECK(again && *again == *time);
    }
    if (const auto duration = berth::parse_duration(text)) {
        const auto again = berth::parse_duration(berth::format_duration(*duration));
        FUZZ_CHECK(again && *again == *duration);
    }
    if (const auto id = berth::normalize_id("rn", text))
        FUZZ_CHECK(berth::is_id("rn", *id) && id->size() == text.size());
    if (const auto ulid = berth::normalize_ulid(text))
        FUZZ_CHECK(berth::normalize_ulid(*ulid).value() == *ulid);
    if (berth::is_subject_token(text))
        FUZZ_CHECK(!text.empty() && text.find('.') == std::string_view::npos);
    if (const auto bytes = berth::decode_base64url(text)) FUZZ_CHECK(bytes->size() <= text.size());
    std::size_t total = 0;
    for (const std::string_view part : berth::split(text, '.')) total += part.size() + 1;
    FUZZ_CHECK(total == text.size() + 1);
    return 0;
}
