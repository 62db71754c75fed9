// SPDX-License-Identifier: Apache-2.0
// Where a hardened image keeps the shim and the tools behind it: known to who builds the image and
// to the shim, which has no libc.
#pragma once

#include <string_view>

/// What stood at /usr/bin/git is kRealTools + "/usr/bin/git", and at /usr/bin/git lies a copy of
/// the shim. Which tool is meant is told by the path of the running copy (/proc/self/exe), never by
/// argv[0].
namespace berth::policy {

inline constexpr std::string_view kShimFolder = "/usr/lib/berth";
inline constexpr std::string_view kRealTools = "/usr/lib/berth/real";

}  // namespace berth::policy
