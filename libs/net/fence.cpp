// SPDX-License-Identifier: Apache-2.0
// The fence's text.
#include "net/fence.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <set>

namespace berth::net {
namespace {

std::string_view family_of(const std::string& address) {
    return address.find(':') == std::string::npos ? "  ip daddr " : "  ip6 daddr ";
}

}  // namespace

std::string fence_rules(
    const std::vector<std::string>& resolvers, const std::vector<std::string>& host_addresses
) {
    // The first line makes the second succeed where there is no such table yet.
    std::string rules =
        "table inet berth\ndelete table inet berth\n"
        "table inet berth {\n chain output {\n  type filter hook output priority 0; policy "
        "accept;\n"
        "  oifname \"lo\" accept\n";
    for (const std::string& resolver : resolvers) {
        for (const char* protocol : {" udp", " tcp"})
            rules += std::string(family_of(resolver)) + resolver + protocol + " dport 53 accept\n";
    }
    // Neighbour discovery, without which IPv6 has no next hop.
    rules +=
        "  icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept\n";
    rules +=
        "  ip daddr { 0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, "
        "168.63.129.16, "  // Azure's metadata, among public addresses
        "172.16.0.0/12, "
        "192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/4, 240.0.0.0/4 } drop\n";
    // Also the forms of IPv6 that carry an IPv4 address: mapped, NAT64, 6to4.
    rules +=
        "  ip6 daddr { ::/96, ::ffff:0:0/96, 64:ff9b::/96, 64:ff9b:1::/48, 2002::/16, fc00::/7, "
        "fe80::/10, "
        "fec0::/10, ff00::/8 } drop\n";
    for (const std::string& address : host_addresses)
        rules += std::string(family_of(address)) + address + " drop\n";
    return rules + " }\n}\n";
}

std::vector<std::string> host_addresses() {
    std::set<std::string> all;
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) return {};
    for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
        char text[INET6_ADDRSTRLEN] = "";
        if (entry->ifa_addr == nullptr) continue;
        if (entry->ifa_addr->sa_family == AF_INET) {
            ::inet_ntop(
                AF_INET,
                &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr,
                text,
                sizeof text
            );
        } else if (entry->ifa_addr->sa_family == AF_INET6) {
            ::inet_ntop(
                AF_INET6,
                &reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr)->sin6_addr,
                text,
                sizeof text
            );
        }
        if (text[0] != '\0') all.insert(text);
    }
    ::freeifaddrs(list);
    return {all.begin(), all.end()};
}

}  // namespace berth::net
