// SPDX-License-Identifier: Apache-2.0
// Header look-up and NATS wildcard matching.
#include "bus/message.hpp"

namespace berth::bus {

std::string_view Message::header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
        if (key == name) return value;
    }
    return {};
}

void Message::set_header(std::string_view name, std::string value) {
    for (auto& [key, held] : headers) {
        if (key == name) {
            held = std::move(value);
            return;
        }
    }
    headers.emplace_back(std::string(name), std::move(value));
}

bool subject_matches(std::string_view pattern, std::string_view subject) {
    for (;;) {
        const std::size_t pattern_end = pattern.find('.');
        const std::size_t subject_end = subject.find('.');
        const std::string_view want = pattern.substr(0, pattern_end);
        if (want == ">") return !subject.empty();
        if (want != "*" && want != subject.substr(0, subject_end)) return false;
        const bool pattern_last = pattern_end == std::string_view::npos;
        const bool subject_last = subject_end == std::string_view::npos;
        if (pattern_last || subject_last) return pattern_last && subject_last;
        pattern.remove_prefix(pattern_end + 1);
        subject.remove_prefix(subject_end + 1);
    }
}

}  // namespace berth::bus
