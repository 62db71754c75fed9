// SPDX-License-Identifier: Apache-2.0
// JSON from anybody: what was read can be written and read again.
#include "core/json.hpp"
#include "fuzz.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto first = berth::Json::parse(berth::fuzz::text_of(data, size));
    if (!first) return 0;
    const auto second = berth::Json::parse(first->dump());
    FUZZ_CHECK(second);
    // From the second time on, since -0.0 is written as the integer it equals.
    const auto third = berth::Json::parse(second->dump());
    FUZZ_CHECK(third && *third == *second);
    return 0;
}
