// SPDX-License-Identifier: Apache-2.0
// Plain POSIX behind Fd, read_file and write_file_atomic.
#include "core/fd.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/random.hpp"

namespace berth {

void Fd::reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
}

Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) {
        Error error = system_error("cannot open " + path.string(), errno);
        error.fault = errno == ENOENT ? Fault::kNotFound : Fault::kInternal;
        error.code = "unreadable";
        return error;
    }
    std::string content;
    char buffer[65536];
    for (;;) {
        const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error("cannot read " + path.string(), errno);
        if (got == 0) return content;
        content.append(buffer, static_cast<std::size_t>(got));
        if (content.size() > limit) {
            return Error{
                Fault::kTooLarge, "too_large", path.string() + " is larger than expected", {}};
        }
    }
}

Result<void> write_file_atomic(
    const std::filesystem::path& path, std::string_view content, unsigned mode
) {
    const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
    const std::filesystem::path temporary =
        folder / ("." + path.filename().string() + "." + std::to_string(Random::system().next()));
    {
        const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
        if (!fd) return system_error("cannot create " + temporary.string(), errno);
        std::size_t done = 0;
        while (done < content.size()) {
            const ssize_t put = ::write(fd.get(), content.data() + done, content.size() - done);
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) {
                const int saved = errno;
                ::unlink(temporary.c_str());
                return system_error("cannot write " + temporary.string(), saved);
            }
            done += static_cast<std::size_t>(put);
        }
        // fchmod because open's mode is cut by the umask.
        if (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0) {
            const int saved = errno;
            ::unlink(temporary.c_str());
            return system_error("cannot sync " + temporary.string(), saved);
        }
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
        const int saved = errno;
        ::unlink(temporary.c_str());
        return system_error("cannot rename to " + path.string(), saved);
    }
    const Fd directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory) ::fsync(directory.get());
    return {};
}

}  // namespace berth
