// SPDX-License-Identifier: Apache-2.0
// What a hostile process of a run may say to its guard as a shim, and the files and words that
// supervisor and node agent keep about what is held.
#include "fuzz.hpp"
#include "node_agent/guard_files.hpp"
#include "node_agent/shim_door.hpp"
#include "node_agent/shim_protocol.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace berth::node;
    const std::string_view text = berth::fuzz::text_of(data, size);
    if (const auto path = parse_shim_question(text)) {
        FUZZ_CHECK(path->starts_with('/') && path->size() < kShimMostPath);
        FUZZ_CHECK(path->find('\0') == std::string::npos);
    }
    if (const auto held = Held::decode(text)) {
        const auto again = Held::decode(held->encode());
        FUZZ_CHECK(again && again->plan == held->plan && again->id == held->id);
    }
    if (const auto decision = Decision::decode(text)) {
        const auto again = Decision::decode(decision->encode());
        FUZZ_CHECK(again && again->edited_argv == decision->edited_argv);
    }
    if (const auto entry = AuditEntry::decode(text)) {
        const auto again = AuditEntry::decode(entry->encode());
        FUZZ_CHECK(again && again->argv == entry->argv && again->exit_code == entry->exit_code);
    }
    if (const auto state = GuardState::decode(text)) {
        const auto again = GuardState::decode(state->encode());
        FUZZ_CHECK(again && again->version == state->version);
    }
    if (const auto texts = unpack(text)) FUZZ_CHECK(pack(*texts) == text);
    return 0;
}
