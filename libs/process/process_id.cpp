// SPDX-License-Identifier: Apache-2.0
// /proc/<pid>/stat and pidfd behind ProcessId.
#include "process/process_id.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <vector>

#include "core/fd.hpp"

namespace berth::process {
namespace {

struct Stat {
    char state = '?';
    pid_t parent = 0;
    std::uint64_t start_time = 0;
};

/// Reads /proc/<pid>/stat. The second field is a name in parentheses that may hold anything, so the
/// fields are counted from the last ')'.
bool read_stat(pid_t pid, Stat& out) {
    char path[64];
    const auto end = std::to_chars(path + 6, path + 40, pid);
    std::copy_n("/proc/", 6, path);
    std::copy_n("/stat", 6, end.ptr);  // with its NUL
    const Fd fd(::open(path, O_RDONLY | O_CLOEXEC));
    if (!fd) return false;
    char buffer[1024];
    const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got <= 0) return false;
    const std::string_view text(buffer, static_cast<std::size_t>(got));
    const auto close = text.rfind(')');
    if (close == std::string_view::npos) return false;
    std::string_view rest = text.substr(close + 1);
    constexpr int kState = 3, kParent = 4, kStart = 22;  // proc(5) numbers the fields from 1
    for (int field = kState; field <= kStart; ++field) {
        rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
        const std::string_view word = rest.substr(0, rest.find(' '));
        if (word.empty()) return false;
        if (field == kState) out.state = word.front();
        if (field == kParent) std::from_chars(word.data(), word.data() + word.size(), out.parent);
        if (field == kStart)
            std::from_chars(word.data(), word.data() + word.size(), out.start_time);
        rest.remove_prefix(word.size());
    }
    return true;
}

bool is_dead_state(char state) { return state == 'Z' || state == 'X' || state == 'x'; }

Fd open_pidfd(pid_t pid) { return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

}  // namespace

Result<ProcessId> ProcessId::of(pid_t pid) {
    Stat stat;
    if (pid <= 0 || !read_stat(pid, stat)) {
        return not_found("no_process", "there is no process " + std::to_string(pid));
    }
    return ProcessId{pid, stat.start_time};
}

ProcessId ProcessId::self() {
    Stat stat;
    read_stat(::getpid(), stat);
    return {::getpid(), stat.start_time};
}

std::string ProcessId::to_text() const {
    return std::to_string(pid) + " " + std::to_string(start_time);
}

Result<ProcessId> ProcessId::parse(std::string_view text) {
    ProcessId id;
    const char* end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, id.pid);
    if (first.ec == std::errc{} && first.ptr != end && *first.ptr == ' ' && id.pid > 0) {
        const auto second = std::from_chars(first.ptr + 1, end, id.start_time);
        if (second.ec == std::errc{} &&
            std::all_of(second.ptr, end, [](char c) { return c == '\n'; }))
            return id;
    }
    return invalid("bad_process_id", "expected \"<pid> <start time>\"");
}

bool ProcessId::alive() const {
    Stat stat;
    return pid > 0 && read_stat(pid, stat) && stat.start_time == start_time &&
           !is_dead_state(stat.state);
}

Result<void> ProcessId::signal(int number) const {
    // The pidfd pins whoever has the number now; only then is the identity compared, so nobody can
    // slip in.
    const Fd pidfd = open_pidfd(pid);
    if (!pidfd || !alive())
        return not_found("no_process", "process " + std::to_string(pid) + " is gone");
    if (::syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0) != 0) {
        if (errno == ESRCH)
            return not_found("no_process", "process " + std::to_string(pid) + " is gone");
        return system_error("cannot signal process " + std::to_string(pid), errno);
    }
    return {};
}

bool ProcessId::wait_gone(milliseconds patience) const {
    const Fd pidfd = open_pidfd(pid);
    if (!pidfd || !alive()) return true;
    const auto until = std::chrono::steady_clock::now() + patience;
    for (;;) {
        const auto left =
            std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
        pollfd wait{pidfd.get(), POLLIN, 0};
        const int ready = ::poll(&wait, 1, static_cast<int>(std::max<long long>(left.count(), 0)));
        if (ready > 0 || !alive()) return true;
        if (left.count() <= 0) return false;
    }
}

bool ProcessId::end(milliseconds grace) const {
    if (grace.count() > 0) {
        (void)signal(SIGTERM);  // an error means it is gone, which wait_gone sees
        if (wait_gone(grace)) return true;
    }
    (void)signal(SIGKILL);
    constexpr milliseconds kKillPatience{
        5000};  // the kernel frees memory first; longer means it hangs in I/O
    return wait_gone(kKillPatience);
}

std::size_t signal_tree(const ProcessId& root, int number) {
    if (!root.alive()) return 0;
    struct Entry {
        ProcessId id;
        pid_t parent;
    };
    std::vector<Entry> all;
    std::error_code error;
    for (const auto& item : std::filesystem::directory_iterator("/proc", error)) {
        const std::string name = item.path().filename().string();
        pid_t pid = 0;
        const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
        Stat stat;
        if (parsed.ec == std::errc{} && parsed.ptr == name.data() + name.size() &&
            read_stat(pid, stat)) {
            all.push_back({{pid, stat.start_time}, stat.parent});
        }
    }
    std::vector<ProcessId> tree{root};
    for (std::size_t i = 0; i < tree.size(); ++i) {
        for (const Entry& entry : all) {
            if (entry.parent == tree[i].pid &&
                std::find(tree.begin(), tree.end(), entry.id) == tree.end()) {
                tree.push_back(entry.id);
            }
        }
    }
    return static_cast<std::size_t>(std::count_if(
        tree.begin(), tree.end(), [&](const ProcessId& id) { return id.signal(number).has_value(); }
    ));
}

}  // namespace berth::process
