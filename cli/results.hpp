// SPDX-License-Identifier: Apache-2.0
// What a run leaves behind: test reports and artifacts, fetched from its machine and kept here, so
// that they can be read when the machine is long gone.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "berth/run/v1/run.pb.h"
#include "cli/context.hpp"
#include "cli/junit.hpp"
#include "core/json.hpp"

namespace berth::cli {

/// Patterns from the root of the working tree, as in .gitignore: "reports/*.xml", "dist/**".
struct Wanted {
    std::vector<std::string> junit;
    std::vector<std::string> artifacts;
    bool any() const { return !junit.empty() || !artifacts.empty(); }
};

/// Of the settings results.junit and results.artifacts, which --junit and --artifact override.
Wanted wanted_results(const config::Layers& settings);

struct Results {
    std::string run;
    TestTotals totals;
    std::vector<FailedCase> failed;
    std::vector<std::string> reports;    ///< paths from the root of the tree
    std::vector<std::string> artifacts;  ///< likewise
    std::vector<std::string> skipped;    ///< reports that were not counted, each with its reason
    bool complete = true;                ///< false where a report could not be fetched or read
    std::filesystem::path folder;        ///< where the files are here
};

/// Fetches what `wanted` names from the machine of `run` and reads the reports; a report that is
/// older than the run is another run's and not counted; one that is a symlink or no regular file
/// leaves them incomplete. What was fetched for the run before is
/// replaced. A file that the machine cannot read is told on stderr and left out. Keeps the results
/// of the last 100 runs. Errors: "bad_pattern", "fetch_failed" with rsync's words, "rsync_missing".
Result<Results> collect_results(
    const Context& context, const Secret& token, const run::v1::Run& run, const Wanted& wanted
);

/// Tells on stderr which reports were not counted, and why.
void tell_skipped(const Context& context, const Results& results);

/// Leaves what is kept of `newest` and of the 99 runs whose results were fetched last before it.
void forget_results(const std::string& newest);

/// What is kept here of a run, if anything is.
std::optional<Results> kept_results(const std::string& run);

/// "12 tests: 10 passed, 1 failed, 1 skipped in 3s; 2 artifacts in <folder>".
std::string summary_line(const Results& results);
/// The documented shape of `berth results --json`.
Json to_json(const Results& results);

/// rsync's filter for these patterns: their folders, what they match, and nothing else. Error
/// "bad_pattern" for one that leaves the tree.
Result<std::vector<std::string>> filter_arguments(const std::vector<std::string>& patterns);

/// True where `path` is what `pattern` names, or lies in a folder that it names: `*` and `?` stop
/// at a slash, `**` does not.
bool matches(std::string_view pattern, std::string_view path);

}  // namespace berth::cli
