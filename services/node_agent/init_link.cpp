// SPDX-License-Identifier: Apache-2.0
// recvmsg with credentials and a descriptor.
#include "node_agent/init_link.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace berth::node {

InitRead receive_report(int control, InitReport& report) {
    report = {};
    iovec part{&report.message, sizeof report.message};
    alignas(cmsghdr) char space[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int))];
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = space;
    header.msg_controllen = sizeof space;
    const ssize_t got = ::recvmsg(control, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return InitRead::kNothing;
    for (cmsghdr* entry = got > 0 ? CMSG_FIRSTHDR(&header) : nullptr; entry != nullptr;
         entry = CMSG_NXTHDR(&header, entry)) {
        if (entry->cmsg_level != SOL_SOCKET) continue;
        if (entry->cmsg_type == SCM_CREDENTIALS) {
            ucred credentials{};
            std::memcpy(&credentials, CMSG_DATA(entry), sizeof credentials);
            report.sender = credentials.pid;
        } else if (entry->cmsg_type == SCM_RIGHTS) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(entry), sizeof fd);
            report.passed = Fd(fd);
        }
    }
    return got == static_cast<ssize_t>(sizeof report.message) ? InitRead::kMessage
                                                              : InitRead::kGone;
}

}  // namespace berth::node
