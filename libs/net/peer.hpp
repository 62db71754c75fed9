// SPDX-License-Identifier: Apache-2.0
// Who sent a request, also behind a proxy.
#pragma once

#include <string>

#include "net/http_server.hpp"

namespace berth::net {

/// Who is asking: the peer's address without its port, or what a proxy on this host says of its own
/// peer (the last of X-Forwarded-For: the only one that the proxy wrote itself). "unix" for a unix
/// socket that names nobody. Thread-safe.
std::string peer_address(const Request& request);

}  // namespace berth::net
