// SPDX-License-Identifier: Apache-2.0
// Runs a helper program to its end and takes what it prints: git, initdb, useradd.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "core/time.hpp"
#include "process/spawn.hpp"

namespace berth::cli {

struct Captured {
    int code = 0;
    std::string out;
    std::string err;  ///< its last 4 KiB
};

/// `spec`'s standard descriptors are replaced; `input` goes to its stdin. Error "timeout" after
/// `patience` (it is then killed), "too_large" past 256 MiB of output, and spawn's own.
Result<Captured> capture(
    process::SpawnSpec spec, milliseconds patience, std::string_view input = {}
);

/// This process's environment without the variables whose names begin with one of `without`.
std::vector<std::string> environment_without(const std::vector<std::string_view>& without);

}  // namespace berth::cli
