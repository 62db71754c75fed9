// SPDX-License-Identifier: Apache-2.0
// The version, from the build.
#pragma once

#include <string_view>

namespace berth::cli {

#ifdef BERTH_VERSION
inline constexpr std::string_view kVersion = BERTH_VERSION;
#else
inline constexpr std::string_view kVersion = "0.0.0";
#endif

}  // namespace berth::cli
