// SPDX-License-Identifier: Apache-2.0
// A proxy on this host is believed, nobody else.
#include "net/peer.hpp"

#include "core/text.hpp"

namespace berth::net {

std::string peer_address(const Request& request) {
    const std::string& remote = request.remote;
    std::string host = remote.substr(0, remote.rfind(':'));
    const bool proxied = host == "unix" || host.starts_with("127.") || host == "[::1]";
    if (!proxied) return host;
    const std::string text(request.headers.get("X-Forwarded-For"));
    const auto comma = text.rfind(',');
    std::string last = trimmed(comma == std::string::npos ? text : text.substr(comma + 1));
    return last.empty() ? host : last;
}

}  // namespace berth::net
