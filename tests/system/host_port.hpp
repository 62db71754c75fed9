// SPDX-License-Identifier: Apache-2.0
// A door of this host that no machine may reach: a port on all of its addresses, and how a machine
// tries it.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "core/fd.hpp"

namespace berth::testing {

class HostPort {
public:
    HostPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        socklen_t size = sizeof address;
        auto* any = reinterpret_cast<sockaddr*>(&address);
        if (::bind(socket_.get(), any, size) != 0 || ::listen(socket_.get(), 64) != 0 ||
            ::getsockname(socket_.get(), any, &size) != 0)
            throw std::runtime_error("cannot listen");
        port_ = std::to_string(ntohs(address.sin_port));
    }
    const std::string& port() const { return port_; }
    /// Whether anybody has come since the last call.
    bool reached() {
        const Fd visitor(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        return static_cast<bool>(visitor);
    }

private:
    Fd socket_;
    std::string port_;
};

/// A bash script that tries every port at its gateway, at its own loopback and at the addresses,
/// all at once, says "REACHED <address> <port>" of what answers, and "tried <gateway>" in the end.
inline std::string try_doors(
    const std::vector<std::string>& addresses, const std::vector<std::string>& ports
) {
    std::string script =
        "gw=$(awk '$2==\"00000000\"{print $3}' /proc/net/route | head -1); "
        "g=$([ -n \"$gw\" ] && printf '%d.%d.%d.%d' 0x${gw:6:2} 0x${gw:4:2} 0x${gw:2:2} "
        "0x${gw:0:2}); for a in $g 127.0.0.1";
    for (const std::string& address : addresses) script += " " + address;
    script += "; do for p in";
    for (const std::string& port : ports) script += " " + port;
    return script +
           "; do timeout 3 bash -c \"exec 3<>/dev/tcp/$a/$p\" 2>/dev/null && echo REACHED $a $p & "
           "done; done; wait; echo tried $g";
}

}  // namespace berth::testing
