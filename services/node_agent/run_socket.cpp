// SPDX-License-Identifier: Apache-2.0
// SOCK_SEQPACKET behind run_socket.hpp.
#include "node_agent/run_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace berth::node {
namespace {

struct Head {
    char word;
    std::uint64_t values[4];
};

/// The address through a descriptor of the folder: sun_path holds 108 bytes, a folder's path may be
/// longer.
sockaddr_un address_in(int folder) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/sock", folder);
    return address;
}

Result<Fd> open_folder(const std::filesystem::path& path) {
    Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return system_error("cannot open " + path.string(), errno);
    return folder;
}

}  // namespace

SendResult send_word(int fd, const RunWord& word) {
    Head head;
    std::memset(&head, 0, sizeof head);
    head.word = static_cast<char>(word.word);
    head.values[0] = word.a;
    head.values[1] = word.b;
    head.values[2] = word.c;
    head.values[3] = word.d;
    iovec parts[2] = {
        {&head, sizeof head}, {const_cast<char*>(word.data.data()), word.data.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    for (;;) {
        if (::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return SendResult::kSent;
        if (errno == EINTR) continue;
        return errno == EAGAIN || errno == ENOBUFS ? SendResult::kFull : SendResult::kGone;
    }
}

std::optional<RunWord> receive_word(int fd, char* buffer, std::size_t size, bool& closed) {
    for (;;) {
        const ssize_t got = ::recv(fd, buffer, size, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return std::nullopt;
        Head head;
        if (got < static_cast<ssize_t>(sizeof head)) {
            closed = true;
            return std::nullopt;
        }
        std::memcpy(&head, buffer, sizeof head);
        return RunWord{
            static_cast<Word>(head.word),
            head.values[0],
            head.values[1],
            head.values[2],
            head.values[3],
            {buffer + sizeof head, static_cast<std::size_t>(got) - sizeof head}};
    }
}

Result<Fd> listen_in(const std::filesystem::path& run_folder) {
    BERTH_ASSIGN(const Fd folder, open_folder(run_folder));
    ::unlink((run_folder / "sock").c_str());
    Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_un address = address_in(folder.get());
    constexpr int kBacklog = 4;  // one node agent at a time, and its successor
    if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::chmod((run_folder / "sock").c_str(), 0600) != 0 || ::listen(fd.get(), kBacklog) != 0) {
        return system_error("cannot listen in " + run_folder.string(), errno);
    }
    return fd;
}

Result<Fd> connect_to(const std::filesystem::path& run_folder) {
    BERTH_ASSIGN(const Fd folder, open_folder(run_folder));
    Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_un address = address_in(folder.get());
    if (!fd ||
        ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return unavailable(
            "no_supervisor", system_error("cannot reach the supervisor", errno).message
        );
    }
    return fd;
}

}  // namespace berth::node
