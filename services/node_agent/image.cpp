// SPDX-License-Identifier: Apache-2.0
// Reading a stopped image: its stack for arguments and environment, /proc for its files.
#include "node_agent/image.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/text.hpp"
#include "identity/sha256.hpp"
#include "node_agent/elf_file.hpp"
#include "node_agent/injection.hpp"
#include "node_agent/script_files.hpp"
#include "policy/glob.hpp"
#include "policy/policy.hpp"

namespace berth::node {
namespace {

constexpr std::size_t kFirstStackBytes = 16U << 10U;  // holds nearly every argv and environment
constexpr std::size_t kMostStackBytes = policy::kMaxPlanBytes;
// Of one file: half a second, in which the run's supervisor does nothing else.
constexpr std::uint64_t kMostHashedBytes = 256ULL << 20U;

/// The pieces of /proc/<pid>/<name> paths without allocations.
struct ProcPath {
    char text[64];
    ProcPath(pid_t pid, const char* name) {
        std::snprintf(text, sizeof text, "/proc/%d/%s", pid, name);
    }
};

bool read_link(pid_t pid, const char* name, std::string& into) {
    char text[4'097];
    const ssize_t got = ::readlink(ProcPath(pid, name).text, text, sizeof text);
    if (got <= 0 || got == static_cast<ssize_t>(sizeof text)) return false;
    into.assign(text, static_cast<std::size_t>(got));
    return true;
}

void refuse(Image& image, const char* rule, std::string reason) {
    if (!image.refusal.empty()) return;
    image.refusal = rule;
    image.refusal_reason = std::move(reason);
}

bool is_loader_name(std::string_view name) {
    return name.starts_with("ld-linux") || name.starts_with("ld-musl") ||
           name.starts_with("ld.so") || (name.starts_with("ld-2.") && name.ends_with(".so"));
}

bool same_file(const struct stat& a, const struct stat& b) {
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

policy::File file_of(std::string path, const struct stat& info) {
    return {std::move(path), info.st_dev, info.st_ino, {}};
}

/// For fstat(2), which it did; nothing where it is no regular file.
Fd open_regular(const policy::FoundFile& found, const ScriptFiles& files, struct stat& info) {
    if (found.what.kind != policy::Files::Kind::kRegular) return {};
    Fd file = files.open(found);
    return file && ::fstat(file.get(), &info) == 0 ? std::move(file) : Fd();
}

std::int64_t nanoseconds_of(const timespec& time) {
    return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

}  // namespace

Result<std::unique_ptr<Images>> Images::of(pid_t first, uid_t owner) {
    Fd root(::open(ProcPath(first, "root").text, O_PATH | O_CLOEXEC));
    if (!root) return system_error("the command's root cannot be seen", errno);
    BERTH_ASSIGN(const std::string mountinfo, read_file(ProcPath(first, "mountinfo").text));
    std::unordered_set<std::uint64_t> mounts;
    // Each line begins with the mount's id.
    for (std::size_t at = 0; at < mountinfo.size();) {
        mounts.insert(std::strtoull(mountinfo.c_str() + at, nullptr, 10));
        at = std::min(mountinfo.find('\n', at), mountinfo.size() - 1) + 1;
    }
    return std::unique_ptr<Images>(new Images(std::move(root), std::move(mounts), owner));
}

/// A file as its process has it.
struct Images::Seen {
    struct stat info {};
    std::uint64_t mount = 0;  ///< 0: the kernel does not say
    /// Follows /proc/<pid>/<name> to what it stands for.
    bool look(pid_t pid, const char* name) {
        struct statx answer {};
        constexpr unsigned kAsked = STATX_BASIC_STATS | STATX_MNT_ID;
        if (::statx(AT_FDCWD, ProcPath(pid, name).text, 0, kAsked, &answer) != 0) return false;
        info.st_dev = ::makedev(answer.stx_dev_major, answer.stx_dev_minor);
        info.st_ino = answer.stx_ino;
        info.st_nlink = answer.stx_nlink;
        info.st_mode = answer.stx_mode;
        info.st_uid = answer.stx_uid;
        info.st_size = static_cast<off_t>(answer.stx_size);
        info.st_mtim = {answer.stx_mtime.tv_sec, answer.stx_mtime.tv_nsec};
        info.st_ctim = {answer.stx_ctime.tv_sec, answer.stx_ctime.tv_nsec};
        mount = (answer.stx_mask & STATX_MNT_ID) != 0 ? answer.stx_mnt_id : 0;
        return true;
    }
};

Image Images::read(pid_t pid) {
    Image image;
    if (!read_stack(pid, image)) refuse(image, "image", "its arguments cannot be read");
    if (!read_link(pid, "cwd", image.plan.cwd)) refuse(image, "image", "its folder is unknown");
    read_executable(pid, image);
    if (!image.unreadable) {
        read_script(pid, image);
        read_environment(image);
    }
    return image;
}

/// Everything from the stack pointer up to the stack's end: argc, argv, environment, auxiliary
/// vector, and their strings.
bool Images::read_stack(pid_t pid, Image& image) {
    user_regs_struct regs{};
    if (::ptrace(PTRACE_GETREGS, pid, nullptr, &regs) != 0) return false;
    for (std::size_t size = kFirstStackBytes;; size *= 4) {
        size = std::min(size, kMostStackBytes);
        if (stack_.size() < size) stack_.resize(size);
        iovec local{stack_.data(), size};
        // The kernel reads page after page up to the first that is not there: the stack's end.
        iovec remote{reinterpret_cast<void*>(regs.rsp), size};
        const ssize_t got = ::process_vm_readv(pid, &local, 1, &remote, 1, 0);
        if (got <= 0) {
            image.unreadable = true;
            return false;
        }
        const std::string_view stack(stack_.data(), static_cast<std::size_t>(got));
        if (stack.size() < size)
            return parse_stack(stack, regs.rsp, regs.cs == kCodeSegment32, image);
        if (size == kMostStackBytes) {
            refuse(image, "image", "its arguments and environment are more than 2 MiB");
            return true;
        }
    }
}

bool Images::parse_stack(std::string_view stack, std::uint64_t base, bool narrow, Image& image) {
    const std::size_t width = narrow ? 4 : 8;
    std::size_t at = 0;
    bool good = true;
    const auto word = [&]() -> std::uint64_t {
        std::uint64_t value = 0;
        if (at + width > stack.size()) {
            good = false;
            return 0;
        }
        std::memcpy(&value, stack.data() + at, width);
        at += width;
        return value;
    };
    const auto text = [&](std::uint64_t address) -> std::string {
        const std::uint64_t offset = address - base;
        if (address < base || offset >= stack.size()) {
            good = false;
            return {};
        }
        const std::string_view rest = stack.substr(offset);
        const auto end = rest.find('\0');
        if (end == std::string_view::npos) good = false;
        return std::string(rest.substr(0, end));
    };
    const std::uint64_t count = word();
    if (count > stack.size() / width) return false;
    image.plan.argv.reserve(count);
    for (std::uint64_t i = 0; good && i < count; ++i) image.plan.argv.push_back(text(word()));
    if (good && word() != 0) return false;
    for (std::uint64_t address = word(); good && address != 0; address = word())
        image.environment.push_back(text(address));
    for (std::uint64_t key = word(); good && key != AT_NULL; key = word()) {
        const std::uint64_t value = word();
        if (key == AT_EXECFN) image.asked_as = text(value);
    }
    return good;
}

void Images::read_executable(pid_t pid, Image& image) {
    std::string path;
    Seen seen;
    if (!read_link(pid, "exe", path) || !seen.look(pid, "exe"))
        return refuse(image, "image", "its executable cannot be told");
    executable_ = seen.info;
    image.plan.executable = file_of(path, executable_);
    constexpr std::string_view kDeleted = " (deleted)";
    if (is_loader_name(policy::basename(path)) || is_loader(pid, executable_))
        refuse(image, "loader", "a loader runs whatever it is told; call the program itself");
    if (path.starts_with("/memfd:"))
        refuse(image, "memfd", "it runs from memory and not from a file");
    else if (path.ends_with(kDeleted) || executable_.st_nlink == 0)
        refuse(image, "deleted", "its file was removed");
    check_mounts(pid, seen, image);
}

/// A process may make mounts of its own in a user namespace of its own, and another may reach into
/// them by a descriptor or /proc/<pid>/root: a path there is not what it names for the run. A mount
/// with an id that the run's namespace had from the beginning is no such; whatever else is looked
/// up in the run's root.
void Images::check_mounts(pid_t pid, const Seen& executable, Image& image) const {
    // What a policy may speak of all the same is not to lie about where it is.
    const bool loader = image.refusal == "loader";
    if (image.refusal == "image") return;
    const auto elsewhere = [&image](const char* why) {
        image.refusal.clear();
        refuse(image, "mount", why);
    };
    const auto is_own = [this](const std::string& path, const Seen& real) {
        struct stat named {};
        if (mounts_.contains(real.mount)) return true;
        return path.size() > 1 &&
               ::fstatat(root_.get(), path.c_str() + 1, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
               same_file(named, real.info);
    };
    if ((loader || image.refusal.empty()) && !is_own(image.plan.executable.path, executable))
        return elsewhere("its path names another file in the run's own root");
    Seen folder;
    if (image.plan.cwd == "/") return;
    if (!folder.look(pid, "cwd") || !is_own(image.plan.cwd, folder))
        elsewhere("its folder was removed, or is another in the run's own root");
}

/// It was started by a `#!` line where its file is another than the one that was asked for, whose
/// name the kernel puts among its arguments: behind the interpreter and its one option. Further
/// behind, the interpreter is a script itself. `sh script` is told by its words.
void Images::read_script(pid_t pid, Image& image) {
    policy::Plan& plan = image.plan;
    if (!image.refusal.empty()) return;
    const std::size_t asked = asked_word(image);
    const policy::ScriptWord word = policy::script_word(plan.executable.path, plan.argv);
    if (asked == 0 && word.at == 0 && !word.input) return;
    Seen root, folder;
    const bool own = root.look(pid, "root") && mounts_.contains(root.mount) &&
                     folder.look(pid, "cwd") && mounts_.contains(folder.mount);
    ScriptFiles files(pid, root_, owner_, plan.cwd, !own);
    policy::FoundFile script;
    bool started = false;
    if (asked > 0) {
        script = policy::find_file(image.asked_as, files.place(), files);
        struct stat info {};
        if (!open_regular(script, files, info))
            return refuse(image, "deleted", "the file it was started by is gone");
        // It was started itself, and is told its own name.
        started = !same_file(info, executable_);
        if (started && is_chain(plan, asked, word, info, image.environment, files))
            return refuse(
                image,
                "image",
                "what it is started by is a script itself; execute that one, with this as its "
                "argument"
            );
    }
    if (!started) script = policy::find_script(plan, image.environment, files.place(), files);
    add_script(image, script, files);
    for (const auto& other :
         policy::find_other_scripts(plan, image.environment, files.place(), files))
        add_script(image, other, files);
}

/// The first one that is a file is the plan's script, whatever stands before it.
void Images::add_script(Image& image, const policy::FoundFile& found, const ScriptFiles& files)
    const {
    struct stat info {};
    if (!found.unknown.empty()) return refuse(image, "image", found.unknown);
    const Fd file = open_regular(found, files, info);
    if (!file || same_file(info, executable_)) return;
    std::string path;
    if (!read_link(::getpid(), ("fd/" + std::to_string(file.get())).c_str(), path))
        return refuse(image, "image", "its script cannot be told");
    // What a shell keeps of a text between its own lines is stdin like any other.
    if (info.st_nlink == 0 && found.descriptor == STDIN_FILENO) return;
    if (info.st_nlink == 0) return refuse(image, "deleted", "its script was removed");
    if (image.plan.script.path.empty())
        image.plan.script = file_of(path, info);
    else
        image.plan.more_scripts.push_back(std::move(path));
}

/// Where among the arguments the name is that was given to exec; 0: nowhere.
std::size_t Images::asked_word(const Image& image) {
    constexpr std::size_t kMost = 12;  // the kernel follows five `#!` lines of two words
    const auto& argv = image.plan.argv;
    for (std::size_t at = 1; at < std::min(argv.size(), kMost); ++at) {
        if (argv[at] == image.asked_as) return at;
    }
    return 0;
}

/// True where the program that a `#!` line started reads another file than `started`, the one with
/// that line.
bool Images::is_chain(
    const policy::Plan& plan,
    std::size_t asked,
    const policy::ScriptWord& word,
    const struct stat& started,
    const std::vector<std::string>& environment,
    ScriptFiles& files
) {
    if (asked > 2) return true;
    struct stat info {};
    policy::FoundFile read;
    if (word.interpreter)
        read = policy::find_script(plan, environment, files.place(), files);
    else if (asked == 2 && !plan.argv[1].starts_with('-') && word.at == 0)
        read = policy::find_file(plan.argv[1], files.place(), files);
    if (!read.unknown.empty()) return true;
    if (read.what.kind != policy::Files::Kind::kRegular) return false;
    return !open_regular(read, files, info) || !same_file(info, started);
}

void Images::set_baseline(const std::vector<std::string>& environment) {
    baseline_.clear();
    for (const std::string& entry : environment) {
        const auto equals = entry.find('=');
        if (equals != std::string::npos)
            baseline_.emplace(entry.substr(0, equals), entry.substr(equals + 1));
    }
}

void Images::read_environment(Image& image) const {
    if (baseline_.empty()) return;
    std::unordered_set<std::string_view> seen;
    std::string name;
    for (const std::string& entry : image.environment) {
        const auto equals = entry.find('=');
        name.assign(entry, 0, equals);
        // Shells set `_` to the path that they execute: it says nothing and is always another.
        if (equals == std::string::npos || name == "_") continue;
        const auto found = baseline_.find(name);
        const std::string_view value = std::string_view(entry).substr(equals + 1);
        if (found != baseline_.end()) seen.insert(found->first);
        if (found == baseline_.end() || found->second != value)
            image.plan.env.push_back({name, std::string(value), false});
    }
    if (seen.size() < baseline_.size()) {
        for (const auto& [known, value] : baseline_) {
            if (known != "_" && !seen.contains(known)) image.plan.env.push_back({known, {}, true});
        }
    }
    std::stable_sort(
        image.plan.env.begin(),
        image.plan.env.end(),
        [](const policy::EnvChange& a, const policy::EnvChange& b) { return a.name < b.name; }
    );
}

bool Images::is_fixed(const struct stat& info) const {
    return info.st_uid != owner_ && (info.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

Images::Identity Images::identity_of(const struct stat& info) {
    return {
        info.st_dev,
        info.st_ino,
        static_cast<std::uint64_t>(info.st_size),
        nanoseconds_of(info.st_mtim),
        nanoseconds_of(info.st_ctim)};
}

bool Images::is_loader(pid_t pid, const struct stat& info) {
    const Identity id = identity_of(info);
    const bool fixed = is_fixed(info);
    if (fixed) {
        const auto found = known_.find(id);
        if (found != known_.end()) return found->second.loader;
    }
    const Fd file(::open(ProcPath(pid, "exe").text, O_RDONLY | O_CLOEXEC));
    const bool loader = !file || is_bare_shared_object(file.get());
    if (fixed) known_[id].loader = loader;
    return loader;
}

Result<std::string> Images::hash_file(const Fd& file, const policy::File& expected) {
    struct stat info {};
    if (!file || ::fstat(file.get(), &info) != 0)
        return conflict("changed", "content changed: " + expected.path + " is gone");
    // Another kind of file may let its reader wait for ever.
    if (!S_ISREG(info.st_mode) || info.st_dev != expected.device || info.st_ino != expected.inode)
        return conflict("changed", "content changed: " + expected.path + " is another file");
    if (static_cast<std::uint64_t>(info.st_size) > kMostHashedBytes)
        return invalid("too_large", expected.path + " is too large to be hashed");
    const Identity id = identity_of(info);
    const bool fixed = is_fixed(info);
    if (fixed) {
        const auto found = known_.find(id);
        if (found != known_.end() && !found->second.sha256.empty()) return found->second.sha256;
    }
    identity::Sha256 sum;
    std::string buffer(256U << 10U, '\0');
    for (;;) {
        const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error("cannot read " + expected.path, errno);
        if (got == 0) break;
        sum.update({buffer.data(), static_cast<std::size_t>(got)});
    }
    std::string text = hex(sum.finish());
    if (fixed) known_[id].sha256 = text;
    return text;
}

Fd Images::open_file(const std::string& path) const {
    const Fd found = open_in_root(root_, path);
    if (!found) return {};
    const std::string name = "fd/" + std::to_string(found.get());
    return Fd(::open(ProcPath(::getpid(), name.c_str()).text, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
}

Result<void> Images::hash(pid_t pid, policy::Plan& plan, bool shim) {
    const Fd executable = shim ? open_file(plan.executable.path)
                               : Fd(::open(ProcPath(pid, "exe").text, O_RDONLY | O_CLOEXEC));
    BERTH_ASSIGN(plan.executable.sha256, hash_file(executable, plan.executable));
    if (!plan.more_scripts.empty() ||
        !policy::script_word(plan.executable.path, plan.argv).others.empty())
        return invalid(
            "several_scripts",
            "it executes more files than one, and a yes is for one; have one call the others"
        );
    if (plan.script.path.empty()) return {};
    // By path: what the interpreter is going to open.
    BERTH_ASSIGN(plan.script.sha256, hash_file(open_file(plan.script.path), plan.script));
    return {};
}

Image Images::read_shim(pid_t pid, const std::string& path) {
    constexpr std::size_t kMost = policy::kMaxPlanBytes;
    Image image;
    const auto list = [pid](const char* name, std::vector<std::string>& into) {
        const Fd file(::open(ProcPath(pid, name).text, O_RDONLY | O_CLOEXEC));
        std::string bytes;
        char buffer[16U << 10U];
        ssize_t got = 0;
        while (file && bytes.size() <= kMost &&
               (got = ::read(file.get(), buffer, sizeof buffer)) > 0)
            bytes.append(buffer, static_cast<std::size_t>(got));
        for (std::size_t at = 0; at < bytes.size();) {
            const auto end = std::min(bytes.find('\0', at), bytes.size());
            into.push_back(bytes.substr(at, end - at));
            at = end + 1;
        }
        return file && got == 0;
    };
    if (!list("cmdline", image.plan.argv) || !list("environ", image.environment) ||
        !read_link(pid, "cwd", image.plan.cwd))
        refuse(image, "image", "its arguments cannot be read");
    const Fd file = open_in_root(root_, path);
    std::string real;
    if (!file || ::fstat(file.get(), &executable_) != 0 ||
        !read_link(::getpid(), ("fd/" + std::to_string(file.get())).c_str(), real))
        refuse(image, "deleted", "the tool is gone");
    else if (!S_ISREG(executable_.st_mode))
        refuse(image, "image", "the tool is no program's file");
    image.plan.executable = file_of(real, executable_);
    image.asked_as = path;
    read_script(pid, image);
    if (!image.refusal.empty()) return image;
    read_environment(image);
    return image;
}

}  // namespace berth::node
