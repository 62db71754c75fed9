// SPDX-License-Identifier: Apache-2.0
// Rotation by renaming, done by the one process that writes.
#include "cli/up/log_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace berth::cli::up {
namespace fs = std::filesystem;

void LogFile::append(std::string_view text) {
    if (size_ > kMaxLog) rotate();
    if (!fd_) {
        fd_ = Fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
        struct stat info {};
        size_ = ::fstat(fd_.get(), &info) == 0 ? static_cast<std::size_t>(info.st_size) : 0;
    }
    const auto count = ::write(fd_.get(), text.data(), text.size());
    if (count > 0) size_ += static_cast<std::size_t>(count);
}

void LogFile::rotate() {
    fd_.reset();
    size_ = 0;
    std::error_code ignored;
    for (int number = kKept - 1; number >= 1; --number) {
        fs::rename(
            fmt::format("{}.{}", path_.string(), number),
            fmt::format("{}.{}", path_.string(), number + 1),
            ignored
        );
    }
    fs::rename(path_, path_.string() + ".1", ignored);
}

std::string last_lines(const fs::path& path, std::size_t count) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    constexpr off_t kLooked = 16 * 1024;
    struct stat info {};
    if (!fd || ::fstat(fd.get(), &info) != 0) return {};
    std::string text(static_cast<std::size_t>(std::min(info.st_size, kLooked)), '\0');
    const auto got =
        ::pread(fd.get(), text.data(), text.size(), info.st_size - static_cast<off_t>(text.size()));
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    std::size_t begin = text.size();
    for (; count > 0 && begin != std::string::npos && begin > 0; --count)
        begin = text.rfind('\n', begin - 1);
    return begin == std::string::npos || begin == 0 ? text : text.substr(begin + 1);
}

}  // namespace berth::cli::up
