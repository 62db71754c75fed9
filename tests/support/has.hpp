// SPDX-License-Identifier: Apache-2.0
// The word of most tests about what was said.
#pragma once

#include <string>

namespace berth::testing {

inline bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace berth::testing
