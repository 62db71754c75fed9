// SPDX-License-Identifier: Apache-2.0
// Where an event may be sent: the parts of a subscriber's URL, and which addresses it may lead to.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace berth::webhook {

/// A URL that may be sent to. Nothing in it is read in two ways: no user part, no fragment, no
/// control characters, a host that is a name, an IPv4 address in four parts or an IPv6 address in
/// brackets.
struct Target {
    bool https = true;
    std::string host;  ///< lower case; an IPv6 address without its brackets
    bool is_address = false;
    std::uint16_t port = 443;
    std::string origin;  ///< scheme, host and port as given: what may be shown to everybody
};
/// Errors: "bad_url"; "https_required" for http:// unless `allow_http`.
Result<Target> parse_target(std::string_view url, bool allow_http);

/// A block of addresses: "10.0.0.0/8", "fd00::/8", "127.0.0.1".
struct Network {
    std::string bytes;  ///< 16: IPv4 as v4-mapped
    unsigned prefix = 128;
};
/// Error "bad_network".
Result<Network> parse_network(std::string_view text);

/// Which addresses may be connected to: those of the public internet, and those that are allowed by
/// name. Refused are this host, private, link-local and shared (CGNAT) networks, unique local ones,
/// multicast, documentation and benchmark ranges, what is reserved, the metadata services of
/// clouds, and every IPv6 form that carries such an IPv4 address.
class AddressGuard {
public:
    AddressGuard() = default;
    explicit AddressGuard(std::vector<Network> allowed) : allowed_(std::move(allowed)) {}
    /// `address` as inet_ntop writes it. Error "private_address", also for what is no address.
    Result<void> check(std::string_view address) const;
    /// All of what a name resolves to: one that leads inside is refused as a whole.
    Result<void> check_all(const std::vector<std::string>& addresses) const;

private:
    std::vector<Network> allowed_;
};

/// Asks the system's resolver; may wait for seconds. At least one address, or an error.
using Resolve = std::function<Result<std::vector<std::string>>(const std::string& host)>;
Result<std::vector<std::string>> resolve_by_system(const std::string& host);

}  // namespace berth::webhook
