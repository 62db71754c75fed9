// SPDX-License-Identifier: Apache-2.0
// The difference of two texts, as people read it.
#pragma once

#include <string>
#include <string_view>

namespace berth::cli {

/// In the unified format (`diff -u`) with three lines around each change; "" where they are the
/// same.
std::string unified_diff(
    std::string_view before,
    std::string_view after,
    std::string_view before_name,
    std::string_view after_name
);

}  // namespace berth::cli
