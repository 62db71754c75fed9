// SPDX-License-Identifier: Apache-2.0
// Subjects: those of acknowledgements, which a server sends, and patterns against what they match.
#include "bus/message.hpp"
#include "bus/nats_core.hpp"
#include "fuzz.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    berth::fuzz::Input input(berth::fuzz::text_of(data, size));
    const std::string_view pattern = input.take(input.byte());
    const std::string_view subject = input.rest();
    berth::bus::AckInfo info;
    (void)berth::bus::parse_ack_subject(subject, info);
    (void)berth::bus::parse_ack_subject(pattern, info);
    (void)berth::bus::subject_matches(pattern, subject);
    if (!subject.empty() && subject.find_first_of("*>") == std::string_view::npos &&
        subject.find("..") == std::string_view::npos && subject.front() != '.' &&
        subject.back() != '.') {
        FUZZ_CHECK(berth::bus::subject_matches(subject, subject));
        FUZZ_CHECK(berth::bus::subject_matches(">", subject));
    }
    return 0;
}
