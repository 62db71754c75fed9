// SPDX-License-Identifier: Apache-2.0
// What a shim and its run's supervisor say to each other: one page, because the shim is built
// without libc.
#pragma once

#include <cstdint>

namespace berth::node {

/// Inside a sandbox: the shim, the folder of its names that comes first in PATH, and the folder
/// with the socket (SOCK_SEQPACKET) of the run's supervisor.
inline constexpr char kShimHome[] = "/.berth/";
inline constexpr char kShimProgram[] = "/.berth/shim";
inline constexpr char kShimTools[] = "/.berth/tools";
inline constexpr char kShimFolder[] = "/.berth/guard";
inline constexpr char kShimSocket[] = "/.berth/guard/sock";

inline constexpr std::uint8_t kShimVersion = 1;
inline constexpr std::uint32_t kShimMostPath = 4'096;
inline constexpr std::uint32_t kShimMostReply = 1'024;

/// shim -> supervisor, the only datagram: this, then the path of the program it would execute.
/// Everything else the supervisor reads from the kernel.
struct ShimHead {
    char magic[3];  ///< "BSH"
    std::uint8_t version;
    std::uint32_t path_size;
};

// supervisor -> shim, the first byte of each datagram
inline constexpr char kShimAllow = 'A';  ///< execute it
inline constexpr char kShimDeny = 'D';   ///< the rest goes to stderr; exit with 126
inline constexpr char kShimWait = 'W';   ///< somebody is asked; another answer comes

}  // namespace berth::node
