// SPDX-License-Identifier: Apache-2.0
// A port for a server that a test starts.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <stdexcept>

#include "core/fd.hpp"

namespace berth::testing {

/// Of 127.0.0.1, free a moment ago. Throws where there is none.
inline int free_port() {
    const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
        throw std::runtime_error("no free port");
    return ntohs(address.sin_port);
}

}  // namespace berth::testing
