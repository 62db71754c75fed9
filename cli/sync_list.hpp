// SPDX-License-Identifier: Apache-2.0
// Which files make up the working tree, and a fingerprint that changes when any of them does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/result.hpp"

namespace berth::cli {

struct SyncRules {
    std::vector<std::string>
        include;  ///< ignored files to send all the same, in the syntax of .gitignore
    std::vector<std::string> exclude;  ///< files to leave out, tracked ones too
    bool git = true;  ///< send .git as well, so that the copy is a working checkout
};

/// Paths relative to the root, sorted, each once.
using PathList = std::vector<std::string>;

/// The files as git sees them: tracked and untracked, ignored ones left out; all files where there
/// is no git repository. .berthignore and the rules leave out more. Deleted files, and those behind
/// a symlink in a folder's place, may still be named; scan() drops them. .git itself is not in it,
/// see list_git_folder(). Errors: "git_failed" with git's words, "git_missing".
Result<PathList> list_files(const std::filesystem::path& root, const SyncRules& rules);

/// The contents of .git (folders too: git needs its empty ones) without lock files and large-file
/// storage; empty when .git is not a folder.
PathList list_git_folder(const std::filesystem::path& root);

struct Scan {
    PathList paths;  ///< what exists, of the list
    std::uint64_t bytes = 0;
    std::string
        fingerprint;  ///< 32 hex digits over path, type, mode, size, mtime, inode and link target
};

/// Looks at each file, and at .git's index and refs when `rules.git`. Sockets, pipes and devices
/// are dropped.
Result<Scan> scan(
    const std::filesystem::path& root, const PathList& listed, const SyncRules& rules
);

/// What was sent to a machine last.
struct SyncRecord {
    std::string fingerprint;
    std::string root;
    std::string tree;  ///< tr_<ulid>: the name under which it was sent
    PathList paths;
};
std::string format_record(const SyncRecord& record);
/// An empty record when the text is not one: then everything is sent again.
SyncRecord parse_record(std::string_view text);
/// The same without the paths, of which there may be a hundred thousand.
SyncRecord parse_record_head(std::string_view text);

/// The files and links, sorted, of what rsync prints where it has no destination: permissions,
/// size, date, time, name; bytes no terminal should get are written \#ooo, a link's name ends in "
/// -> ".
PathList parse_listing(std::string_view text);

/// What rsync without --links says that it leaves out, sorted: symlinks, pipes, sockets, devices.
PathList parse_not_files(std::string_view text);

/// Of the paths sent last, those that are gone here, with each topmost folder that is gone with
/// them. A file in whose place is a folder is gone: named to rsync, it becomes that folder.
PathList vanished_paths(
    const std::filesystem::path& root, const PathList& before, const PathList& now
);

}  // namespace berth::cli
