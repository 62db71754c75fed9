// SPDX-License-Identifier: Apache-2.0
// Asks git once for names and the kernel once per file for the rest; 5,000 files take some 15 ms.
#include "cli/sync_list.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <thread>
#include <unordered_map>

#include "cli/capture.hpp"
#include "cli/paths.hpp"
#include "core/fd.hpp"
#include "core/text.hpp"

namespace berth::cli {
namespace fs = std::filesystem;
namespace {

constexpr seconds kGitPatience{60};  // a cold cache on a huge tree
constexpr int kMaxNesting = 8;       // repositories within repositories

void sort_unique(PathList& paths) {
    std::sort(paths.begin(), paths.end());
    paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
}

Result<PathList> git(const fs::path& root, std::vector<std::string> arguments) {
    process::SpawnSpec spec;
    spec.argv = {"git", "-C", root.string()};
    spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
    // A hook's GIT_DIR and GIT_INDEX_FILE would point git at another tree than the folder asked
    // about.
    spec.env =
        environment_without({"GIT_DIR=", "GIT_WORK_TREE=", "GIT_INDEX_FILE=", "GIT_PREFIX="});
    spec.env->push_back("GIT_OPTIONAL_LOCKS=0");
    auto result = capture(spec, kGitPatience);
    if (!result) {
        if (result.error().code != "not_found") return std::move(result).error();
        return unavailable("git_missing", "git is needed to tell which files to send; install git");
    }
    if (result->code != 0) {
        return invalid(
            "git_failed",
            fmt::format("git could not list the files of {}: {}", root.string(), result->err)
        );
    }
    PathList out;
    for (const auto piece : split(result->out, '\0')) {
        if (!piece.empty()) out.emplace_back(piece);
    }
    return out;
}

// Every file below `folder`; folders themselves only when asked.
void walk(
    int parent,
    const std::string& name,
    const std::string& prefix,
    bool with_folders,
    PathList& out,
    bool (*skip)(const std::string& path)
) {
    const int fd = ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd), &::closedir);
    if (!dir) return;
    while (const dirent* entry = ::readdir(dir.get())) {
        const std::string child = entry->d_name;
        if (child == "." || child == "..") continue;
        const std::string path = prefix.empty() ? child : prefix + "/" + child;
        if (skip != nullptr && skip(path)) continue;
        struct stat info {};
        const bool unknown = entry->d_type == DT_UNKNOWN;
        if (unknown && ::fstatat(fd, child.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (entry->d_type == DT_DIR || (unknown && S_ISDIR(info.st_mode))) {
            if (with_folders) out.push_back(path);
            walk(fd, child, path, with_folders, out, skip);
        } else {
            out.push_back(path);
        }
    }
}

bool skip_in_git(const std::string& path) {
    return path == ".git/lfs" || path.ends_with(".lock") || path == ".git/index.stash" ||
           path == ".git/gc.pid";
}

std::vector<std::string> exclude_arguments(const fs::path& root, const SyncRules& rules) {
    std::vector<std::string> out;
    std::error_code ignored;
    if (fs::exists(root / ".berthignore", ignored))
        out.push_back("--exclude-from=" + (root / ".berthignore").string());
    for (const auto& pattern : rules.exclude) out.push_back("--exclude=" + pattern);
    return out;
}

std::vector<std::string> joined(
    std::vector<std::string> head, const std::vector<std::string>& tail
) {
    head.insert(head.end(), tail.begin(), tail.end());
    return head;
}

// A repository for asking git about a folder that is none.
Result<std::string> empty_repository() {
    const fs::path path = cache_folder() / "empty.git";
    std::error_code ignored;
    if (!fs::exists(path / "HEAD", ignored)) {
        BERTH_TRY(make_private_folder(path));
        BERTH_ASSIGN(const PathList nothing, git(path, {"init", "--quiet", "--bare", "."}));
    }
    return path.string();
}

Result<PathList> list_plain(const fs::path& root, const SyncRules& rules) {
    const auto excludes = exclude_arguments(root, rules);
    PathList out;
    if (excludes.empty()) {
        walk(AT_FDCWD, root.string(), "", false, out, nullptr);
    } else {
        BERTH_ASSIGN(const std::string repository, empty_repository());
        BERTH_ASSIGN(
            out,
            git(root,
                joined(
                    {"--git-dir=" + repository,
                     "--work-tree=" + root.string(),
                     "ls-files",
                     "-z",
                     "--others"},
                    excludes
                ))
        );
    }
    sort_unique(out);
    return out;
}

/// Paths of `ls-files -t -s`: "? path" of what is not tracked, "H mode object stage<tab>path" of
/// what is. Submodules get the slash that git gives repositories which are not tracked.
Result<PathList> git_tagged(const fs::path& root, std::vector<std::string> arguments) {
    BERTH_ASSIGN(PathList out, git(root, joined({"ls-files", "-z", "-t", "-s"}, arguments)));
    for (std::string& path : out) {
        if (path.starts_with("? ")) {
            path.erase(0, 2);
            continue;
        }
        const bool submodule = path.compare(2, 7, "160000 ") == 0;
        path.erase(0, path.find('\t') + 1);
        if (submodule) path += '/';
    }
    sort_unique(out);
    return out;
}

Result<PathList> list_repository(const fs::path& root, const SyncRules& rules) {
    const auto excludes = exclude_arguments(root, rules);
    BERTH_ASSIGN(
        PathList out,
        git_tagged(root, joined({"--cached", "--others", "--exclude-standard"}, excludes))
    );
    if (!excludes.empty()) {  // git's excludes leave tracked files alone; ours do not
        BERTH_ASSIGN(
            const PathList dropped, git_tagged(root, joined({"--cached", "--ignored"}, excludes))
        );
        PathList kept;
        std::set_difference(
            out.begin(), out.end(), dropped.begin(), dropped.end(), std::back_inserter(kept)
        );
        out = std::move(kept);
    }
    if (!rules.include.empty()) {
        std::vector<std::string> arguments = {"ls-files", "-z", "--others", "--ignored"};
        for (const auto& pattern : rules.include) arguments.push_back("--exclude=" + pattern);
        BERTH_ASSIGN(const PathList more, git(root, std::move(arguments)));
        out.insert(out.end(), more.begin(), more.end());
        sort_unique(out);
    }
    return out;
}

// Submodules and repositories in the tree are named as folders, with a slash: their own files take
// their place.
Result<void> expand_folders(
    const fs::path& root, const SyncRules& rules, PathList& paths, int depth
) {
    PathList more;
    for (auto& path : paths) {
        if (!path.ends_with('/')) continue;
        std::error_code ignored;
        const std::string folder = path.substr(0, path.size() - 1);
        if (fs::is_symlink(fs::symlink_status(root / folder, ignored))) {
            path = folder;  // in a submodule's place, and what it points at is not this tree's
            continue;
        }
        path.clear();
        if (!fs::exists(root / folder / ".git", ignored) || depth >= kMaxNesting) continue;
        BERTH_ASSIGN(PathList inner, list_repository(root / folder, rules));
        BERTH_TRY(expand_folders(root / folder, rules, inner, depth + 1));
        if (rules.git) {
            if (fs::is_directory(fs::symlink_status(root / folder / ".git", ignored))) {
                for (auto& each : list_git_folder(root / folder)) inner.push_back(std::move(each));
            } else {
                inner.emplace_back(".git");
            }
        }
        for (const auto& each : inner) more.push_back(folder + "/" + each);
    }
    paths.insert(paths.end(), more.begin(), more.end());
    std::erase(paths, "");
    sort_unique(paths);
    return {};
}

// Two multiplicative hashes side by side: 128 bits against chance; nobody attacks their own tree.
struct Hash {
    std::uint64_t a = 0xcbf29ce484222325ULL;
    std::uint64_t b = 0x9e3779b97f4a7c15ULL;
    void add(std::uint64_t value) {
        a = (a ^ value) * 0x9ddfea08eb382d69ULL;
        a ^= a >> 29U;
        b = (b + value) * 0xc2b2ae3d27d4eb4fULL;
        b ^= b >> 31U;
    }
    void add(std::string_view text) {
        add(text.size());
        std::uint64_t word = 0;
        unsigned count = 0;
        for (const char c : text) {
            word = (word << 8U) | static_cast<unsigned char>(c);
            if (++count % 8 == 0) add(word);
        }
        add(word);
    }
    void add(const struct stat& info) {
        add(static_cast<std::uint64_t>(info.st_mode));
        add(static_cast<std::uint64_t>(info.st_size));
        add(static_cast<std::uint64_t>(info.st_mtim.tv_sec) * 1'000'000'000ULL +
            static_cast<std::uint64_t>(info.st_mtim.tv_nsec));
        add(static_cast<std::uint64_t>(info.st_ino));
    }
};

// What moves when commits, branches or the index do; the objects themselves never change.
constexpr std::array<const char*, 10> kGitMarks = {
    ".git/HEAD",
    ".git/index",
    ".git/packed-refs",
    ".git/logs/HEAD",
    ".git/FETCH_HEAD",
    ".git/ORIG_HEAD",
    ".git/config",
    ".git/refs/heads",
    ".git/refs/tags",
    ".git/refs/stash"};

}  // namespace

Result<PathList> list_files(const fs::path& root, const SyncRules& rules) {
    std::error_code ignored;
    const bool repository = fs::exists(root / ".git", ignored);
    BERTH_ASSIGN(PathList out, repository ? list_repository(root, rules) : list_plain(root, rules));
    BERTH_TRY(expand_folders(root, rules, out, 0));
    return out;
}

PathList list_git_folder(const fs::path& root) {
    PathList out;
    walk(AT_FDCWD, (root / ".git").string(), ".git", true, out, &skip_in_git);
    std::sort(out.begin(), out.end());
    return out;
}

namespace {

/// Whether a path's parents are folders of the tree and none a symlink, behind which another file
/// may have the same name.
class Parents {
public:
    explicit Parents(int folder) : folder_(folder) {}
    bool are_folders(const std::string& path) {
        const std::size_t slash = path.rfind('/');
        if (slash == path.npos) return true;
        const std::string parent = path.substr(0, slash);
        const auto known = known_.find(parent);
        if (known != known_.end()) return known->second;
        struct stat info {};
        const bool real = are_folders(parent) &&
                          ::fstatat(folder_, parent.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                          S_ISDIR(info.st_mode);
        known_.emplace(parent, real);
        return real;
    }

private:
    int folder_;
    std::unordered_map<std::string, bool> known_;
};

/// What the kernel says of each path; nullopt: it is gone, as git sees it. On two threads: the time
/// is the kernel's, and a scan is what a run with nothing to send waits for.
std::vector<std::optional<struct stat>> look_at(int folder, const PathList& paths) {
    std::vector<std::optional<struct stat>> out(paths.size());
    const auto look = [&](std::size_t from, std::size_t to) {
        Parents parents(folder);
        struct stat info {};
        for (std::size_t i = from; i < to; ++i) {
            if (!parents.are_folders(paths[i])) continue;
            if (::fstatat(folder, paths[i].c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) out[i] = info;
        }
    };
    constexpr std::size_t kWorthAThread = 500;
    if (paths.size() < kWorthAThread) {
        look(0, paths.size());
        return out;
    }
    const std::size_t middle = paths.size() / 2;
    std::thread first([&] { look(0, middle); });
    look(middle, paths.size());
    first.join();
    return out;
}

}  // namespace

Result<Scan> scan(const fs::path& root, const PathList& listed, const SyncRules& rules) {
    const Fd folder(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return system_error("cannot open " + root.string(), errno);
    const auto looks = look_at(folder.get(), listed);
    Scan out;
    out.paths.reserve(listed.size());
    Hash hash;
    for (std::size_t i = 0; i < listed.size(); ++i) {
        if (!looks[i]) continue;  // deleted
        const std::string& path = listed[i];
        const struct stat& info = *looks[i];
        if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode) && !S_ISDIR(info.st_mode)) continue;
        hash.add(path);
        if (S_ISDIR(info.st_mode)) {  // its time changes with its files, which are here themselves
            hash.add(std::uint64_t{info.st_mode});
        } else {
            hash.add(info);
            out.bytes += static_cast<std::uint64_t>(info.st_size);
        }
        if (S_ISLNK(info.st_mode)) {
            std::array<char, 4096> target;
            const auto length =
                ::readlinkat(folder.get(), path.c_str(), target.data(), target.size());
            hash.add(
                std::string_view(target.data(), length > 0 ? static_cast<std::size_t>(length) : 0)
            );
        }
        out.paths.push_back(path);
    }
    if (rules.git) {
        struct stat info {};
        for (const char* mark : kGitMarks) {
            if (::fstatat(folder.get(), mark, &info, AT_SYMLINK_NOFOLLOW) == 0) {
                hash.add(std::string_view(mark));
                hash.add(info);
            }
        }
    }
    out.fingerprint = fmt::format("{:016x}{:016x}", hash.a, hash.b);
    return out;
}

namespace {
constexpr std::string_view kRecordMagic = "berth-sync 2 ";
}

std::string format_record(const SyncRecord& record) {
    std::string out = fmt::format("{}{}", kRecordMagic, record.fingerprint);
    out += '\0';
    out += record.root;
    out += '\0';
    out += record.tree;
    for (const auto& path : record.paths) {
        out += '\0';
        out += path;
    }
    return out;
}

SyncRecord parse_record_head(std::string_view text) {
    SyncRecord out;
    if (!text.starts_with(kRecordMagic)) return out;
    text.remove_prefix(kRecordMagic.size());
    const std::size_t root = text.find('\0');
    const std::size_t tree = root == text.npos ? root : text.find('\0', root + 1);
    if (tree == text.npos) return out;
    out.fingerprint = text.substr(0, root);
    out.root = text.substr(root + 1, tree - root - 1);
    text.remove_prefix(tree + 1);
    out.tree = text.substr(0, text.find('\0'));
    return out;
}

SyncRecord parse_record(std::string_view text) {
    SyncRecord out = parse_record_head(text);
    if (out.tree.empty() && out.root.empty()) return out;
    const auto pieces = split(text, '\0');
    for (std::size_t i = 3; i < pieces.size(); ++i) out.paths.emplace_back(pieces[i]);
    return out;
}

namespace {

std::string unescaped(std::string_view name) {
    std::string out;
    const auto octal = [](char c, char most) { return c >= '0' && c <= most; };
    for (std::size_t i = 0; i < name.size(); ++i) {
        if (name.compare(i, 2, "\\#") == 0 && i + 4 < name.size() && octal(name[i + 2], '3') &&
            octal(name[i + 3], '7') && octal(name[i + 4], '7')) {
            out += static_cast<char>(
                (name[i + 2] - '0') * 64 + (name[i + 3] - '0') * 8 + (name[i + 4] - '0')
            );
            i += 4;
        } else {
            out += name[i];
        }
    }
    return out;
}

}  // namespace

PathList parse_listing(std::string_view text) {
    PathList out;
    for (std::string_view line : split(text, '\n')) {
        if (line.empty() || line[0] == 'd') continue;
        const bool link = line[0] == 'l';
        bool whole = true;
        for (int field = 0; field < 4 && whole; ++field) {
            const std::size_t begin = line.find_first_not_of(' ');
            const std::size_t end = line.find(' ', begin == line.npos ? 0 : begin);
            whole = begin != line.npos && end != line.npos;
            if (whole) line.remove_prefix(end);
        }
        if (!whole) continue;
        line.remove_prefix(1);
        if (link) line = line.substr(0, line.find(" -> "));
        if (!line.empty()) out.push_back(unescaped(line));
    }
    std::sort(out.begin(), out.end());
    return out;
}

PathList parse_not_files(std::string_view text) {
    constexpr std::string_view kSays = "skipping non-regular file \"";
    PathList out;
    for (std::string_view line : split(text, '\n')) {
        if (!line.starts_with(kSays) || !line.ends_with('"')) continue;
        line.remove_prefix(kSays.size());
        if (line.empty()) continue;
        line.remove_suffix(1);
        out.push_back(unescaped(line));
    }
    sort_unique(out);
    return out;
}

namespace {

/// What of `path` is gone: itself, the topmost folder that is gone with it, or "" where it is left
/// alone.
std::string topmost_gone(const fs::path& root, const std::string& path) {
    std::error_code ignored;
    for (std::size_t slash = path.find('/'); slash != path.npos;
         slash = path.find('/', slash + 1)) {
        const std::string parent = path.substr(0, slash);
        const auto kind = fs::symlink_status(root / parent, ignored).type();
        if (kind == fs::file_type::not_found) return parent;
        // A file or a symlink stands where the folder was: rsync makes way for it.
        if (kind != fs::file_type::directory) return {};
    }
    const auto kind = fs::symlink_status(root / path, ignored).type();
    if (kind == fs::file_type::not_found) return path;
    // Only .git's folders are listed themselves: elsewhere a folder stands where a file was.
    const bool in_git = path.starts_with(".git/") || path.find("/.git/") != path.npos;
    if (kind == fs::file_type::directory && !in_git) return path;
    // Still here but listed no more: ignored by now, and what is ignored is left alone on both
    // sides.
    return {};
}

}  // namespace

PathList vanished_paths(const fs::path& root, const PathList& before, const PathList& now) {
    PathList gone;
    std::set_difference(
        before.begin(), before.end(), now.begin(), now.end(), std::back_inserter(gone)
    );
    PathList out;
    for (const auto& path : gone) {
        std::string top = topmost_gone(root, path);
        if (top.empty()) continue;
        out.push_back(path);
        out.push_back(std::move(top));
    }
    sort_unique(out);
    return out;
}

}  // namespace berth::cli
