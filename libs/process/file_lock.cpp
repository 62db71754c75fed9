// SPDX-License-Identifier: Apache-2.0
// flock(2) behind FileLock.
#include "process/file_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <thread>

namespace berth::process {
namespace {
constexpr milliseconds kRetryStep{2};  // a probe holds the lock for microseconds
}

Result<FileLock> FileLock::acquire(const std::filesystem::path& path, milliseconds patience) {
    Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd) return system_error("cannot open the lock " + path.string(), errno);
    const auto until = std::chrono::steady_clock::now() + patience;
    for (;;) {
        if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return FileLock(std::move(fd));
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return system_error("cannot lock " + path.string(), errno);
        }
        if (std::chrono::steady_clock::now() >= until) {
            return conflict("locked", path.string() + " is held by another process");
        }
        std::this_thread::sleep_for(kRetryStep);
    }
}

bool FileLock::is_held(const std::filesystem::path& path) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return false;
    return ::flock(fd.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

}  // namespace berth::process
