// SPDX-License-Identifier: Apache-2.0
// Small tar archives, as the container engine takes them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace berth::cli {

struct TarFile {
    std::string name;  ///< at most 100 bytes
    std::string content;
    unsigned mode = 0644;
};

/// POSIX.1-1988 ustar: regular files of root, without times.
std::string tar(const std::vector<TarFile>& files);

}  // namespace berth::cli
