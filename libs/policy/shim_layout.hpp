// SPDX-License-Identifier: Apache-2.0
// Where a hardened image keeps the shim and the tools behind it: known to who builds the image and
// who guards its runs.
#pragma once

#include <string>
#include <string_view>

/// What stood at /usr/bin/git is kRealTools + "/usr/bin/git", and at /usr/bin/git lies a copy of
/// the shim. Only root can enter kRealTools: after a yes the guard opens the real tool and hands
/// over the descriptor. Which tool is meant is told by the path of the running copy
/// (/proc/<pid>/exe), never by argv[0]. A copy of the shim that finds no guard says "berth: …" on
/// stderr and exits with 126.
namespace berth::policy {

inline constexpr std::string_view kShimFolder = "/usr/lib/berth";
inline constexpr std::string_view kShimProgram = "/usr/lib/berth/berth-shim";
inline constexpr std::string_view kRealTools = "/usr/lib/berth/real";
/// Paths of the guarded tools, one a line.
inline constexpr std::string_view kShimPlaces = "/usr/lib/berth/places";

/// The real tool of the copy of the shim at `place`.
inline std::string real_tool(std::string_view place) {
    return std::string(kRealTools) + std::string(place);
}

}  // namespace berth::policy
