// SPDX-License-Identifier: Apache-2.0
// A lock on a file that the kernel releases when its holder dies: the test of whether a process is
// there.
#pragma once

#include <filesystem>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::process {

/// Holds flock(2) LOCK_EX on a file until destroyed or the process dies. The descriptor is
/// close-on-exec: children do not keep the lock. Move-only.
class FileLock {
public:
    /// Creates the file (0600) when it is not there. Tries for `patience`, because is_held() of
    /// somebody else takes the lock for an instant. Error: conflict "locked".
    static Result<FileLock> acquire(
        const std::filesystem::path& path, milliseconds patience = milliseconds{200}
    );
    /// True while somebody holds the lock. False for a file that is not there.
    static bool is_held(const std::filesystem::path& path);

    FileLock() = default;
    explicit operator bool() const { return static_cast<bool>(fd_); }
    int fd() const { return fd_.get(); }
    void release() { fd_.reset(); }

private:
    explicit FileLock(Fd fd) : fd_(std::move(fd)) {}
    Fd fd_;
};

}  // namespace berth::process
