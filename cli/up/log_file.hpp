// SPDX-License-Identifier: Apache-2.0
// A log that cannot fill the disk.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "core/fd.hpp"

namespace berth::cli::up {

/// Appends to <name>.log; past kMaxLog it becomes <name>.log.1, the older ones move up, the oldest
/// goes. Errors are swallowed: a full disk must not stop the services. Used by one thread.
class LogFile {
public:
    explicit LogFile(std::filesystem::path path) : path_(std::move(path)) {}
    void append(std::string_view text);

    static constexpr std::size_t kMaxLog = 10U << 20U;  // some days of a busy service
    static constexpr int kKept = 3;

private:
    void rotate();
    std::filesystem::path path_;
    Fd fd_;
    std::size_t size_ = 0;
};

/// The last lines of a log, for telling why something failed.
std::string last_lines(const std::filesystem::path& path, std::size_t count);

}  // namespace berth::cli::up
