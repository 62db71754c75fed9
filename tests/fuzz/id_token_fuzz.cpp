// SPDX-License-Identifier: Apache-2.0
// ID tokens and key sets from anybody: the first line is a key set, the rest a token. Nothing is
// believed: whoever writes these bytes has no key that signed them.
#include "fuzz.hpp"
#include "jose/id_token.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = berth::fuzz::text_of(data, size);
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return 0;
    const auto keys = berth::jose::KeySet::parse(text.substr(0, end));
    if (!keys) return 0;
    const auto now = berth::from_unix_micros(1'800'000'000LL * 1'000'000);
    (void)berth::jose::verify_id_token(text.substr(end + 1), *keys, {"i", "c", "n"}, now);
    return 0;
}
