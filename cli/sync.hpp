// SPDX-License-Identifier: Apache-2.0
// Makes a machine's workspace equal to the working tree, or finds in milliseconds that it already
// is.
#pragma once

#include <string>

#include "cli/api.hpp"
#include "cli/context.hpp"
#include "cli/sync_list.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"

namespace berth::cli {

struct SyncTarget {
    std::string lease;
    std::string machine;
};

struct SyncOptions {
    bool force = false;        ///< overrides the guards and the fingerprint
    bool beside_runs = false;  ///< does not wait for the runs that are using the workspace
    /// Asks whether the workspace still holds what was sent last. Else the one who starts a run
    /// finds out: a run names its tree.
    bool verify = true;
};

struct SyncReport {
    std::string tree;      ///< tr_<ulid>: what the workspace holds now, for the run that needs it
    bool skipped = false;  ///< nothing had changed
    std::size_t files = 0;
    std::size_t deleted = 0;
    std::uint64_t bytes = 0;
    milliseconds took{0};
};

/// What a guard found: too many files, too many bytes or a mass deletion. Empty where all is well.
struct SyncLimits {
    std::uint64_t max_files = 0;
    std::uint64_t max_bytes = 0;
    std::uint64_t max_delete_percent = 0;
};
/// Fewer deletions than this are never a mass deletion, whatever their share.
inline constexpr std::size_t kHarmlessDeletions = 5;
/// `before`: files on the machine; `gone`: those of them that would be deleted, a few of which the
/// answer names.
std::string check_limits(
    const Scan& scan, std::size_t before, const PathList& gone, const SyncLimits& limits
);
/// The same of the tree itself: nobody means to send the whole file system or a whole home folder,
/// keys and browser profile included.
std::string check_root(const std::filesystem::path& root, const std::filesystem::path& home);

/// rsync's options, up to source and destination; the list of paths goes to its stdin,
/// NUL-separated.
std::vector<std::string> rsync_arguments();

/// Makes the workspace equal to the working tree, by what changed since the last sync; after
/// another working tree was there nothing of that stays. Waits until the workspace is free. A guard
/// that strikes asks on a terminal and refuses elsewhere ("sync_refused"). Other errors:
/// "sync_failed" with rsync's words, "rsync_missing", "sync_busy", those of list_files() and of the
/// gateway.
Result<SyncReport> sync_tree(
    const Context& context,
    const Secret& token,
    const SyncTarget& target,
    const SyncOptions& options
);

}  // namespace berth::cli
