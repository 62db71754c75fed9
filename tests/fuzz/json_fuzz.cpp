// SPDX-License-Identifier: Apache-2.0
// JSON from anybody: what was read, written and read again is the same value.
#include "core/json.hpp"
#include "fuzz.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto first = berth::Json::parse(berth::fuzz::text_of(data, size));
    if (!first) return 0;
    const std::string text = first->dump();
    const auto second = berth::Json::parse(text);
    FUZZ_CHECK(second);
    FUZZ_CHECK(second->dump() == text);
    return 0;
}
