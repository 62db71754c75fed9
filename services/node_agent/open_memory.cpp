// SPDX-License-Identifier: Apache-2.0
// By pidfd_getfd(2): a process that made itself non-dumpable hides /proc/<pid>/fd, and this not.
#include "node_agent/open_memory.hpp"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "core/fd.hpp"

namespace berth::node {
namespace {

constexpr unsigned kOneThread = O_EXCL;  // PIDFD_THREAD, since Linux 6.9

/// In procfs no other file has this mode, which nobody can change; its name is that of any mount.
bool is_memory(int file) {
    struct statx info {};
    struct statfs system {};
    constexpr unsigned kMode = S_IFREG | S_IRUSR | S_IWUSR;
    return (::fcntl(file, F_GETFL) & O_ACCMODE) != O_RDONLY &&
           ::statx(file, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &info) == 0 &&
           info.stx_mode == kMode && info.stx_dev_major == 0 && ::fstatfs(file, &system) == 0 &&
           system.f_type == PROC_SUPER_MAGIC;
}

long number_of(const std::string& status, const char* name, std::size_t size) {
    const auto at = status.find(name);
    return at == std::string::npos ? 0 : std::strtol(status.c_str() + at + size, nullptr, 10);
}

}  // namespace

bool has_memory_open(pid_t thread) {
    const auto status = read_file("/proc/" + std::to_string(thread) + "/status");
    if (!status) return false;
    const auto process = static_cast<pid_t>(number_of(*status, "\nTgid:", 6));
    const long most = number_of(*status, "\nFDSize:", 8);
    if (most == 0) return false;  // it is about to be gone
    const bool leads = thread == process;
    if (!leads && ::syscall(SYS_kcmp, thread, process, KCMP_FILES, 0, 0) == 0) return false;
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, thread, leads ? 0U : kOneThread)));
    if (!pidfd) return errno != ESRCH;
    for (long number = 0; number < most; ++number) {
        const Fd file(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd.get(), number, 0)));
        if (file ? is_memory(file.get()) : errno != EBADF && errno != ESRCH) return true;
    }
    return false;
}

}  // namespace berth::node
