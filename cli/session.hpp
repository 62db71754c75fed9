// SPDX-License-Identifier: Apache-2.0
// One command on a machine from this terminal: what `run`, `shell` and `ssh` have in common.
#pragma once

#include <string>
#include <vector>

#include "cli/context.hpp"
#include "cli/results.hpp"

namespace berth::cli {

struct SessionOptions {
    std::vector<std::string> argv;
    std::vector<std::string> env;  ///< names of variables to forward besides the allowed ones
    std::string timeout;           ///< of the run, like "2h"; empty: the profile's
    std::string wait;              ///< stand in line that long for a machine; empty: do not
    std::string result_file;       ///< the result as JSON goes here too; empty: nowhere
    Wanted wanted;                 ///< files to fetch when the command has ended
    bool fail_on_test_failures = false;
    bool announce = false;  ///< in the end tell which lease is ready for the next run
    bool keep = false;      ///< the lease outlives the session
    bool here = true;       ///< in the folder that matches the current one, else in the workspace
    bool sync = true;
    bool force_sync = false;
    bool tty = false;
    bool detach = false;
};

/// Takes the lease of the settings (or of this working tree, or a new one), sends the tree, runs
/// and follows. Returns the process's exit code (cli/exit_codes.hpp). Takes the process's signals:
/// no thread may run yet.
int run_session(Context& context, SessionOptions options);

}  // namespace berth::cli
