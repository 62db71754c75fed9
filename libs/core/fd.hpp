// SPDX-License-Identifier: Apache-2.0
// Ownership of a file descriptor, and the few whole-file operations that must be durable or
// private.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "core/result.hpp"

namespace berth {

/// Owns a descriptor and closes it. Move-only; -1 means none.
class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) {
            reset();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() { reset(); }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }
    void reset();

private:
    int fd_ = -1;
};

/// The whole file; error code "unreadable" names the path. `limit` bytes at most, else "too_large".
Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit = 64U << 20U);

/// Writes to a new temporary beside `path`, fsyncs it, renames it into place and fsyncs the folder:
/// a reader sees the old file or the new one, also after a crash. `mode` as in chmod(2).
Result<void> write_file_atomic(
    const std::filesystem::path& path, std::string_view content, unsigned mode = 0644
);

}  // namespace berth
