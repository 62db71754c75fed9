// SPDX-License-Identifier: Apache-2.0
// Whose address counts.
#include "gateway/address_limit.hpp"

namespace berth::gateway {

std::string address_of(const net::Request& request) {
    const std::string& remote = request.remote;
    std::string host = remote.substr(0, remote.rfind(':'));
    const bool proxied = host == "unix" || host.starts_with("127.") || host == "[::1]";
    if (!proxied) return host;
    const std::string text(request.headers.get("X-Forwarded-For"));
    const auto comma = text.rfind(',');
    std::string last = comma == std::string::npos ? text : text.substr(comma + 1);
    while (last.starts_with(' ')) last.erase(0, 1);
    while (last.ends_with(' ')) last.pop_back();
    return last.empty() ? host : last;
}

}  // namespace berth::gateway
