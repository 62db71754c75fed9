// SPDX-License-Identifier: Apache-2.0
// The recipe of a hardened image: which files a build gets, and what it does with them.
#pragma once

#include <string>
#include <vector>

#include "cli/tar.hpp"
#include "core/result.hpp"

namespace berth::cli {

struct Recipe {
    std::string image;               ///< to begin from
    std::string user;                ///< whom the image runs as; empty: root
    std::vector<std::string> tools;  ///< names or absolute paths
    std::string shim;                ///< the program's bytes
    std::string probe;               ///< berth-probe's, with which the image is tried
};

/// The Dockerfile and what it copies. Error "usage" where a name could mean something else to the
/// Dockerfile or to a shell.
Result<std::vector<TarFile>> recipe_files(const Recipe& recipe);

}  // namespace berth::cli
