// SPDX-License-Identifier: Apache-2.0
// What a process that stopped at its exec is about to run, read from the kernel and not from what
// anybody says.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "policy/plan.hpp"
#include "policy/script.hpp"

namespace berth::node {

class ScriptFiles;

/// A new image at its exec stop.
struct Image {
    policy::Plan plan;  ///< without hashes: see Images::hash()
    std::vector<std::string> environment;
    std::string asked_as;  ///< the path as given to exec
    /// Set where the kernel's answers forbid this image: the rule's name ("loader", "memfd",
    /// "deleted", "mount", "image") and why. A policy may speak of those that policy::unusual()
    /// finds, too.
    std::string refusal;
    std::string refusal_reason;
    bool unreadable = false;  ///< its memory cannot be read, hence not written either
};

/// Reads images of one run. Not thread-safe; every pid is one of a stopped tracee of the calling
/// thread.
class Images {
public:
    /// As the run's first process sees root and mounts. `owner`: the user whose files the run can
    /// write. Error "system".
    static Result<std::unique_ptr<Images>> of(pid_t first, uid_t owner);

    Image read(pid_t pid);
    /// What a shim, which waits for an answer, would execute: `path` with its own arguments.
    Image read_shim(pid_t pid, const std::string& path);
    /// Fills in the SHA-256 of executable and script of a plan that read() or read_shim() made.
    /// Error "changed": a file is no longer what it was, "too_large",
    /// "several_scripts".
    Result<void> hash(pid_t pid, policy::Plan& plan, bool shim = false);
    /// For reading, by a path inside the run's root.
    Fd open_file(const std::string& path) const;
    /// What later images differ from: read() fills Plan::env from here on.
    void set_baseline(const std::vector<std::string>& environment);

private:
    struct Identity {
        std::uint64_t device, inode, size;
        std::int64_t modified, changed;
        bool operator==(const Identity&) const = default;
    };
    struct IdentityHash {
        std::size_t operator()(const Identity& id) const {
            return static_cast<std::size_t>(id.inode * 0x9e3779b97f4a7c15ULL ^ id.device);
        }
    };
    struct Known {
        bool loader = false;
        std::string sha256;
    };
    bool read_stack(pid_t pid, Image& image);
    static bool parse_stack(std::string_view stack, std::uint64_t base, bool narrow, Image& image);
    void read_executable(pid_t pid, Image& image);
    void read_script(pid_t pid, Image& image);
    void add_script(Image& image, const policy::FoundFile& found, const ScriptFiles& files) const;
    static std::size_t asked_word(const Image& image);
    static bool is_chain(
        const policy::Plan& plan,
        std::size_t asked,
        const policy::ScriptWord& word,
        const struct ::stat& started,
        const std::vector<std::string>& environment,
        ScriptFiles& files
    );
    void read_environment(Image& image) const;
    struct Seen;
    void check_mounts(pid_t pid, const Seen& executable, Image& image) const;
    /// Facts of a file that the run cannot write are remembered; those of another are not.
    static Identity identity_of(const struct ::stat& info);
    bool is_fixed(const struct ::stat& info) const;
    bool is_loader(pid_t pid, const struct ::stat& info);
    Result<std::string> hash_file(const Fd& file, const policy::File& expected);

    Images(Fd root, std::unordered_set<std::uint64_t> mounts, uid_t owner)
        : root_(std::move(root)), mounts_(std::move(mounts)), owner_(owner) {}

    Fd root_;
    std::unordered_set<std::uint64_t> mounts_;  ///< ids of those of the run's own namespace
    uid_t owner_;
    struct ::stat executable_ {};
    std::unordered_map<Identity, Known, IdentityHash> known_;
    std::unordered_map<std::string, std::string> baseline_;
    std::string stack_;
};

}  // namespace berth::node
