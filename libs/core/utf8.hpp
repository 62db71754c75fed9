// SPDX-License-Identifier: Apache-2.0
// Characters as UTF-8.
#pragma once

#include <string>

namespace berth {

/// Adds the character `code`, which is at most U+10FFFF and no surrogate.
void append_utf8(std::string& out, char32_t code);

}  // namespace berth
