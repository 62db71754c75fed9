// SPDX-License-Identifier: Apache-2.0
// Wiping and comparing secrets without the optimiser or the clock giving them away.
#include "core/secret.hpp"

#include <cstring>

namespace berth {

void Secret::wipe() {
    if (!value_.empty()) explicit_bzero(value_.data(), value_.size());
    value_.clear();
}

bool equal_constant_time(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    unsigned difference = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        difference |= static_cast<unsigned>(static_cast<unsigned char>(a[i])) ^
                      static_cast<unsigned char>(b[i]);
    }
    return difference == 0;
}

}  // namespace berth
