// SPDX-License-Identifier: Apache-2.0
// One run's keeper: holds its pipes, deadline, spool and exit status while node agents come and go.
#pragma once

#include <filesystem>
#include <memory>

#include "core/fd.hpp"
#include "core/result.hpp"

namespace berth::node {

/// How the supervisor process ends: its exit code.
enum class SupervisorEnd : int {
    kDone = 0,     ///< the run ended and its end was published
    kRefused = 3,  ///< somebody else has the run, or it was started before: nothing was done
    kFailed = 4,   ///< it could not even begin; nothing was started
};

/// Runs the run of `folder` to its end and beyond, until the node agent says the end is published.
/// Single-threaded; call it once per process. The folder holds `launch` (run_files.hpp). `listener`
/// is the socket made by listen_in().
SupervisorEnd supervise(const std::filesystem::path& folder, Fd listener);

}  // namespace berth::node
