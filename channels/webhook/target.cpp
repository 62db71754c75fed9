// SPDX-License-Identifier: Apache-2.0
// URLs by a strict grammar of our own, so that libcurl reads the same host in them as we checked.
#include "webhook/target.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <optional>

namespace berth::webhook {
namespace {

constexpr std::size_t kMaxUrl = 2'048;
constexpr std::size_t kMaxHost = 253;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '.' || c == '_';
}

Error bad_url(const char* why) { return invalid("bad_url", std::string("the url ") + why, "url"); }

/// 16 bytes; IPv4 as v4-mapped. Empty where it is no address.
std::string bytes_of(std::string_view text) {
    const std::string address(text);
    std::array<unsigned char, 16> six{};
    if (inet_pton(AF_INET, address.c_str(), six.data() + 12) == 1) {
        six[10] = six[11] = 0xff;
    } else if (inet_pton(AF_INET6, address.c_str(), six.data()) != 1) {
        return {};
    }
    return {reinterpret_cast<const char*>(six.data()), six.size()};
}

/// The last label is a number, as inet_aton reads them (WHATWG URL, "ends in a number checker"): no
/// name of the DNS, and where it is no plain address another reader may see one in it.
bool ends_in_number(std::string_view host) {
    if (host.ends_with('.')) host.remove_suffix(1);
    std::string_view last = host.substr(host.rfind('.') + 1);
    const bool sixteen = last.starts_with("0x");
    if (sixteen) last.remove_prefix(2);
    return (sixteen || !last.empty()) && std::all_of(last.begin(), last.end(), [&](char c) {
               return is_digit(c) || (sixteen && c >= 'a' && c <= 'f');
           });
}

/// The rest of a url behind a scheme, in whichever case.
std::optional<std::string_view> behind(std::string_view url, std::string_view scheme) {
    for (std::size_t i = 0; i < scheme.size(); ++i) {
        if (i >= url.size() || lower(url[i]) != scheme[i]) return std::nullopt;
    }
    return url.substr(scheme.size());
}

bool within(const std::string& bytes, const Network& network) {
    const unsigned whole = network.prefix / 8;
    if (bytes.compare(0, whole, network.bytes, 0, whole) != 0) return false;
    const unsigned rest = network.prefix % 8;
    if (rest == 0) return true;
    const auto mask = static_cast<unsigned char>(0xffU << (8 - rest));
    const auto a = static_cast<unsigned char>(bytes[whole]);
    const auto b = static_cast<unsigned char>(network.bytes[whole]);
    return (a & mask) == (b & mask);
}

bool within_any(const std::string& bytes, const std::vector<Network>& networks) {
    return std::any_of(networks.begin(), networks.end(), [&](const Network& network) {
        return within(bytes, network);
    });
}

std::vector<Network> networks(std::initializer_list<const char*> texts) {
    std::vector<Network> out;
    for (const char* text : texts) out.push_back(parse_network(text).value());
    return out;
}

const std::vector<Network>& refused_four() {
    static const auto list = networks({
        "0.0.0.0/8",         // this host
        "10.0.0.0/8",        // private
        "100.64.0.0/10",     // shared by carriers; metadata of Alibaba
        "127.0.0.0/8",       // loopback
        "168.63.129.16/32",  // metadata of Azure
        "169.254.0.0/16",    // link-local; metadata of everybody else
        "172.16.0.0/12",     // private
        "192.0.0.0/24",      // protocol assignments; metadata of Oracle
        "192.0.2.0/24",      // documentation
        "192.88.99.0/24",    // 6to4 relays
        "192.168.0.0/16",    // private
        "198.18.0.0/15",     // benchmarks
        "198.51.100.0/24",   // documentation
        "203.0.113.0/24",    // documentation
        "224.0.0.0/4",       // multicast
        "240.0.0.0/4",       // reserved, broadcast
    });
    return list;
}

/// Inside 2000::/3, which is all of IPv6 that is public.
const std::vector<Network>& refused_six() {
    static const auto list = networks({
        "2001::/23",      // protocol assignments, Teredo
        "2001:db8::/32",  // documentation
        "2002::/16",      // 6to4: carries an IPv4 address
        "3fff::/20",      // documentation
    });
    return list;
}

bool is_public(const std::string& bytes) {
    static const Network mapped = parse_network("::ffff:0:0/96").value();
    static const Network nat64 = parse_network("64:ff9b::/96").value();
    static const Network global = parse_network("2000::/3").value();
    if (within(bytes, mapped)) return !within_any(bytes, refused_four());
    if (within(bytes, nat64)) return is_public(mapped.bytes.substr(0, 12) + bytes.substr(12));
    return within(bytes, global) && !within_any(bytes, refused_six());
}

/// Splits "host:port" or "[v6]:port" of a URL into `target`.
Result<void> read_authority(std::string_view text, Target& target) {
    std::string_view port;
    if (text.starts_with('[')) {
        const auto close = text.find(']');
        if (close == std::string_view::npos) return bad_url("has a '[' without its ']'");
        target.host = text.substr(1, close - 1);
        if (target.host.find(':') == std::string::npos || bytes_of(target.host).empty())
            return bad_url("has no IPv6 address in its brackets");
        target.is_address = true;
        text.remove_prefix(close + 1);
        if (!text.empty() && text[0] != ':') return bad_url("goes on behind ']'");
    } else {
        const auto colon = text.find(':');
        target.host = text.substr(0, colon);
        text.remove_prefix(std::min(colon, text.size()));
        std::transform(target.host.begin(), target.host.end(), target.host.begin(), lower);
        const bool good = std::all_of(target.host.begin(), target.host.end(), is_name_char);
        if (!good || target.host.empty() || target.host.size() > kMaxHost)
            return bad_url("has no host, or one that is no name");
        target.is_address = !bytes_of(target.host).empty();
        if (!target.is_address && ends_in_number(target.host))
            return bad_url("has a number for a host; an IPv4 address is written like 192.0.2.1");
    }
    if (!text.empty()) {
        port = text.substr(1);
        const auto [end, error] =
            std::from_chars(port.data(), port.data() + port.size(), target.port);
        if (error != std::errc() || end != port.data() + port.size() || target.port == 0)
            return bad_url("has a port that is none");
    }
    return {};
}

}  // namespace

Result<Target> parse_target(std::string_view url, bool allow_http) {
    if (url.size() > kMaxUrl) return bad_url("is longer than 2,048 bytes");
    for (const char c : url) {
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>')
            return bad_url("may hold printable ASCII only; the rest is percent-encoded");
    }
    Target out;
    auto found = behind(url, "https://");
    if (!found) {
        found = behind(url, "http://");
        out.https = false;
        out.port = 80;
    }
    if (!found)
        return bad_url(
            allow_http ? "must begin with https:// or http://" : "must begin with https://"
        );
    const std::string_view rest = *found;
    if (rest.find('#') != std::string_view::npos) return bad_url("has a fragment");
    const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
    if (authority.find('@') != std::string_view::npos)
        return bad_url("has a user part; requests are signed instead");
    BERTH_TRY(read_authority(authority, out));
    if (!out.https && !allow_http)
        return invalid(
            "https_required",
            "this deployment sends events by https only (setting webhook.allow_http)",
            "url"
        );
    out.origin = url.substr(0, url.size() - rest.size() + authority.size());
    return out;
}

Result<Network> parse_network(std::string_view text) {
    const auto slash = text.find('/');
    const std::string_view address = text.substr(0, slash);
    Network out;
    out.bytes = bytes_of(address);
    const bool four = address.find(':') == std::string_view::npos;
    unsigned prefix = four ? 32 : 128;
    bool good = !out.bytes.empty();
    if (slash != std::string_view::npos) {
        const auto digits = text.substr(slash + 1);
        const unsigned most = prefix;
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
        good = good && error == std::errc() && end == digits.data() + digits.size() &&
               !digits.empty() && prefix <= most;
    }
    if (!good)
        return invalid("bad_network", "'" + std::string(text) + "' is no network like 10.0.0.0/8");
    out.prefix = four ? prefix + 96 : prefix;
    return out;
}

Result<void> AddressGuard::check(std::string_view address) const {
    const std::string bytes = bytes_of(address);
    if (!bytes.empty() && (within_any(bytes, allowed_) || is_public(bytes))) return {};
    return forbidden(
        "private_address", "the url leads to an address that is not of the public internet"
    );
}

Result<void> AddressGuard::check_all(const std::vector<std::string>& addresses) const {
    for (const auto& address : addresses) BERTH_TRY(check(address));
    return {};
}

Result<std::vector<std::string>> resolve_by_system(const std::string& host) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* raw = nullptr;
    const int code = getaddrinfo(host.c_str(), nullptr, &hints, &raw);
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(raw, freeaddrinfo);
    if (code != 0) return unavailable("unresolved", host + ": " + gai_strerror(code));
    std::vector<std::string> out;
    for (const addrinfo* each = list.get(); each != nullptr; each = each->ai_next) {
        std::array<char, NI_MAXHOST> text{};
        const int named = getnameinfo(
            each->ai_addr, each->ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST
        );
        if (named == 0) out.emplace_back(text.data());
    }
    if (out.empty()) return unavailable("unresolved", host + ": it has no address");
    return out;
}

}  // namespace berth::webhook
