// SPDX-License-Identifier: Apache-2.0
// The files of a run as one of its processes has them, for who looks for its script.
#pragma once

#include <sys/types.h>

#include "core/fd.hpp"
#include "policy/script.hpp"

namespace berth::node {

/// An absolute path inside of `root`, whose links lead nowhere else. Not for reading.
Fd open_in_root(const Fd& root, const std::string& path, int flags = 0, unsigned resolve = 0);

/// Of one process that stands still.
class ScriptFiles final : public policy::Files {
public:
    /// `root`: the run's. `owner`: the user whose files the run can write. `foreign`: the process
    /// may have mounts that the run has not; where they make a difference, nothing can be told.
    ScriptFiles(pid_t pid, const Fd& root, uid_t owner, const std::string& cwd, bool foreign);

    const policy::Place& place() const { return place_; }
    Answer look(const std::string& path) override;
    Answer look_at(int descriptor) override;
    /// What was found, for fstat(2).
    Fd open(const policy::FoundFile& found) const;

private:
    /// Where the process itself would begin.
    struct Own {
        std::string prefix;
        Fd folder;
    };
    Answer tell(const Fd& file) const;
    bool is_same_to_it(const std::string& path, const Fd& file) const;

    pid_t pid_;
    const Fd& root_;
    uid_t owner_;
    bool foreign_;
    policy::Place place_;
    Own own_[2];
};

}  // namespace berth::node
