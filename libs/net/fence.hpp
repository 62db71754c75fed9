// SPDX-License-Identifier: Apache-2.0
// Where a machine's network may not go, in the words of nftables: the same for every driver that
// gives a machine a network namespace.
#pragma once

#include <string>
#include <vector>

namespace berth::net {

/// Rules for `nft -f -` inside a machine's network namespace. Loading them again replaces them.
/// Output to `resolvers` on port 53 passes; private, link-local, carrier-grade NAT, metadata and
/// multicast ranges are dropped, and so are `host_addresses`, which are public on many clouds;
/// everything else passes.
std::string fence_rules(
    const std::vector<std::string>& resolvers, const std::vector<std::string>& host_addresses
);

/// The addresses of this host's interfaces.
std::vector<std::string> host_addresses();

}  // namespace berth::net
