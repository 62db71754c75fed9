// SPDX-License-Identifier: Apache-2.0
// Queries, escapes and addresses.
#include "fuzz.hpp"
#include "net/http_types.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = berth::fuzz::text_of(data, size);
    if (const auto decoded = berth::net::percent_decode(text, false)) {
        FUZZ_CHECK(decoded->find('\0') == std::string::npos);
        const auto again = berth::net::percent_decode(berth::net::percent_encode(*decoded), false);
        FUZZ_CHECK(again && *again == *decoded);
    }
    if (const auto query = berth::net::parse_query(text)) {
        for (const auto& [name, value] : query->values()) FUZZ_CHECK(query->get(name).has_value());
        (void)query->flag("all");
    }
    if (const auto base = berth::net::parse_base_url(text)) (void)base->authority();
    berth::net::HeaderMap headers{{"Connection", std::string(text)}};
    (void)headers.has_token("connection", "upgrade");
    return 0;
}
