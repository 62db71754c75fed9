// SPDX-License-Identifier: Apache-2.0
// One part of a path at a time, so that no link is followed that means another thing to who looks.
#include "node_agent/script_files.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace berth::node {
namespace {

using Kind = policy::Files::Kind;

constexpr std::size_t kMostLink = 4'096;
constexpr std::size_t kMostName = 255;

std::string proc(pid_t pid, const std::string& name) {
    return "/proc/" + std::to_string(pid) + "/" + name;
}

/// Of the link at `path` from `folder`; of `folder` itself where the path is empty.
std::string link_of(int folder, const std::string& path) {
    char text[kMostLink + 1];
    const ssize_t got = ::readlinkat(folder, path.c_str(), text, sizeof text);
    if (got <= 0 || got == static_cast<ssize_t>(sizeof text)) return {};
    return {text, static_cast<std::size_t>(got)};
}

Fd open_link(const std::string& path) { return Fd(::open(path.c_str(), O_PATH | O_CLOEXEC)); }

/// What failed with `error`, for who is certain only of what is not there. A name that is too long
/// for one is nobody's; a path may be too long for us alone.
Kind kind_of(int error, const std::string& path) {
    const bool long_name = error == ENAMETOOLONG && path.size() - (path.rfind('/') + 1) > kMostName;
    return error == ENOENT || error == ENOTDIR || long_name ? Kind::kMissing : Kind::kUnknown;
}

}  // namespace

Fd open_in_root(const Fd& root, const std::string& path, int flags, unsigned resolve) {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(O_PATH | O_CLOEXEC | flags);
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve;
    // "" would be no file.
    const std::string inside = path.size() > 1 ? path.substr(1) : ".";
    return Fd(static_cast<int>(::syscall(SYS_openat2, root.get(), inside.c_str(), &how, sizeof how))
    );
}

ScriptFiles::ScriptFiles(
    pid_t pid, const Fd& root, uid_t owner, const std::string& cwd, bool foreign
)
    : pid_(pid), root_(root), owner_(owner), foreign_(foreign) {
    place_.root = link_of(AT_FDCWD, proc(pid, "root"));
    if (place_.root.empty()) place_.root = "/";
    place_.cwd = cwd;
    if (!foreign) return;
    own_[0] = {place_.root, open_link(proc(pid, "root"))};
    own_[1] = {cwd, open_link(proc(pid, "cwd"))};
}

/// The process comes to the same file from its root and from its folder.
bool ScriptFiles::is_same_to_it(const std::string& path, const Fd& file) const {
    struct stat ours {};
    const bool is_there = file && ::fstat(file.get(), &ours) == 0;
    bool seen = false;
    for (const Own& own : own_) {
        const std::string prefix = own.prefix == "/" ? "" : own.prefix;
        if (!own.folder || !(path + "/").starts_with(prefix + "/")) continue;
        seen = true;
        struct stat theirs {};
        const Fd other =
            open_in_root(own.folder, path.substr(prefix.size()), O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
        const bool is_theirs = other && ::fstat(other.get(), &theirs) == 0;
        if (is_there != is_theirs || ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino)
            return false;
    }
    return seen;
}

policy::Files::Answer ScriptFiles::look(const std::string& path) {
    const Fd file = open_in_root(root_, path, O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
    const int error = errno;
    if (foreign_ && !is_same_to_it(path, file)) return {Kind::kUnknown};
    if (!file) return {kind_of(error, path)};
    return tell(file);
}

policy::Files::Answer ScriptFiles::look_at(int descriptor) {
    const Fd file = open_link(proc(pid_, "fd/" + std::to_string(descriptor)));
    if (!file) return {errno == ENOENT ? Kind::kMissing : Kind::kUnknown};
    Answer answer = tell(file);
    if (answer.kind != Kind::kFolder) return answer;
    // Where it lies for the run is what its path says only if the run comes to it by that.
    answer.target = link_of(AT_FDCWD, proc(pid_, "fd/" + std::to_string(descriptor)));
    struct stat there {
    }, real{};
    const Fd named = answer.target.starts_with('/')
                         ? open_in_root(root_, answer.target, O_NOFOLLOW, RESOLVE_NO_SYMLINKS)
                         : Fd();
    const bool same = named && ::fstat(named.get(), &there) == 0 &&
                      ::fstat(file.get(), &real) == 0 && there.st_dev == real.st_dev &&
                      there.st_ino == real.st_ino;
    if (!same) answer.kind = Kind::kUnknown;
    return answer;
}

policy::Files::Answer ScriptFiles::tell(const Fd& file) const {
    struct stat info {};
    if (::fstat(file.get(), &info) != 0) return {Kind::kUnknown};
    if (S_ISDIR(info.st_mode)) return {Kind::kFolder};
    if (S_ISLNK(info.st_mode)) {
        std::string target = link_of(file.get(), "");
        const Kind kind = target.empty() ? Kind::kUnknown : Kind::kLink;
        return {kind, std::move(target)};
    }
    Answer answer;
    answer.kind = S_ISREG(info.st_mode) ? Kind::kRegular : Kind::kOther;
    const bool owned = info.st_uid == owner_;
    answer.readable = (info.st_mode & (owned ? S_IRUSR : S_IROTH)) != 0;
    answer.executable = (info.st_mode & (owned ? S_IXUSR : S_IXOTH)) != 0;
    answer.no_program = (info.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) == 0;
    return answer;
}

Fd ScriptFiles::open(const policy::FoundFile& found) const {
    if (found.descriptor >= 0)
        return open_link(proc(pid_, "fd/" + std::to_string(found.descriptor)));
    return open_in_root(root_, found.path, O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
}

}  // namespace berth::node
