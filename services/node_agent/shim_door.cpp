// SPDX-License-Identifier: Apache-2.0
// An epoll of its own, so that the supervisor polls one descriptor however many shims wait.
#include "node_agent/shim_door.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/text.hpp"
#include "node_agent/init_link.hpp"
#include "node_agent/shim_protocol.hpp"

namespace berth::node {
namespace {
constexpr const char* kNoQuestion =
    "berth: denied: the shim did not say which program it is to become\n";
}  // namespace

std::optional<std::string> parse_shim_question(std::string_view datagram) {
    ShimHead head{};
    if (datagram.size() < sizeof head) return std::nullopt;
    std::memcpy(&head, datagram.data(), sizeof head);
    datagram.remove_prefix(sizeof head);
    const bool good = std::memcmp(head.magic, "BSH", sizeof head.magic) == 0 &&
                      head.version == kShimVersion && head.path_size == datagram.size() &&
                      head.path_size < kShimMostPath && datagram.starts_with('/') &&
                      datagram.find('\0') == std::string_view::npos;
    if (!good) return std::nullopt;
    return std::string(datagram);
}

Result<void> ShimDoor::open(const std::filesystem::path& folder) {
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
        return system_error("cannot create " + folder.string(), errno);
    const Fd place(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    source_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // Through the folder's descriptor, because a socket's path may have 107 bytes only.
    std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/sock", place.get());
    constexpr int kBacklog = 128;
    if (!place || !source_ ||
        ::bind(source_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(source_.get(), kBacklog) != 0)
        return system_error("cannot listen for shims", errno);
    return watch_source();
}

Result<void> ShimDoor::adopt(Fd channel) {
    source_ = std::move(channel);
    listens_ = false;
    return watch_source();
}

Result<void> ShimDoor::watch_source() {
    epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = 0;
    if (!epoll_ || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, source_.get(), &event) != 0)
        return system_error("cannot listen for shims", errno);
    return {};
}

Fd ShimDoor::next_connection() {
    if (listens_)
        return Fd(::accept4(source_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    InitReport report;
    const InitRead read = receive_report(source_.get(), report);
    if (read == InitRead::kGone) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, source_.get(), nullptr);
    if (report.passed) ::fcntl(report.passed.get(), F_SETFL, O_NONBLOCK);
    return std::move(report.passed);
}

void ShimDoor::accept_all() {
    while (Fd fd = next_connection()) {
        ucred peer{};
        socklen_t size = sizeof peer;
        const bool known = ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
                           peer.pid > 0 && peer.uid == user_;
        if (!known || shims_.size() >= kMostShims || shims_.contains(peer.pid)) continue;
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = peer.pid;
        if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) continue;
        shims_[peer.pid].fd = std::move(fd);
        read(peer.pid);  // it asks at once
    }
}

void ShimDoor::on_ready() {
    epoll_event events[32];
    const int count = ::epoll_wait(epoll_.get(), events, 32, 0);
    for (int i = 0; i < count; ++i) {
        if (events[i].data.fd == 0)
            accept_all();
        else
            read(events[i].data.fd);
    }
}

void ShimDoor::read(pid_t pid) {
    const auto found = shims_.find(pid);
    if (found == shims_.end()) return;
    char bytes[sizeof(ShimHead) + kShimMostPath + 1];
    const ssize_t got = ::recv(found->second.fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    const bool asked = found->second.asked;
    const auto path = got > 0 && !asked
                          ? parse_shim_question({bytes, static_cast<std::size_t>(got)})
                          : std::nullopt;
    if (path) {
        found->second.asked = true;
        return events_.on_question(pid, *path);
    }
    if (got > 0 && !asked) return answer(pid, kShimDeny, kNoQuestion);
    shims_.erase(found);
    if (asked) events_.on_hung_up(pid);
}

void ShimDoor::answer(pid_t pid, char kind, std::string_view text) {
    const auto found = shims_.find(pid);
    if (found == shims_.end()) return;
    std::string bytes(1, kind);
    bytes += clipped(text, kShimMostReply - 1);
    (void)!::send(found->second.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (kind != kShimWait) shims_.erase(found);
}

}  // namespace berth::node
