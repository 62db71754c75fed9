// SPDX-License-Identifier: Apache-2.0
// Headers, queries and URLs: pure text work that both sides of HTTP need.
#include "net/http_types.hpp"

#include <algorithm>
#include <charconv>

#include "core/text.hpp"

namespace berth::net {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = lower(c);
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

Error bad_url(std::string_view text, std::string_view why) {
    return invalid("bad_url", "the address '" + std::string(text) + "' " + std::string(why));
}

}  // namespace

bool equal_no_case(std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
               return lower(x) == lower(y);
           });
}

std::string_view HeaderMap::get(std::string_view name) const {
    for (const auto& [key, value] : fields_) {
        if (equal_no_case(key, name)) return value;
    }
    return {};
}

bool HeaderMap::has(std::string_view name) const {
    return std::any_of(fields_.begin(), fields_.end(), [&](const auto& f) {
        return equal_no_case(f.first, name);
    });
}

bool HeaderMap::has_token(std::string_view name, std::string_view token) const {
    for (const auto& [key, value] : fields_) {
        if (!equal_no_case(key, name)) continue;
        for (auto piece : split(value, ',')) {
            if (equal_no_case(trim(piece), token)) return true;
        }
    }
    return false;
}

void HeaderMap::set(std::string_view name, std::string value) {
    std::erase_if(fields_, [&](const auto& f) { return equal_no_case(f.first, name); });
    fields_.emplace_back(std::string(name), std::move(value));
}

std::optional<std::string> Query::get(std::string_view name) const {
    for (const auto& [key, value] : values_) {
        if (key == name) return value;
    }
    return std::nullopt;
}

std::string Query::get_or(std::string_view name, std::string_view fallback) const {
    auto value = get(name);
    return value ? *value : std::string(fallback);
}

bool Query::flag(std::string_view name) const {
    auto value = get(name);
    return value && (value->empty() || *value == "1" || *value == "true");
}

Result<std::string> percent_decode(std::string_view text, bool plus_is_space) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '+' && plus_is_space) c = ' ';
        if (c == '%') {
            const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
            const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return invalid("bad_escape", "a '%' must be followed by two hex digits");
            c = static_cast<char>(high * 16 + low);
            i += 2;
        }
        if (c == '\0') return invalid("bad_escape", "a NUL byte is not allowed in a target");
        out.push_back(c);
    }
    return out;
}

std::string percent_encode(std::string_view text) {
    static constexpr char kHex[] = "0123456789ABCDEF";
    std::string out;
    for (char c : text) {
        const auto u = static_cast<unsigned char>(c);
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) {
            out.push_back(c);
        } else {
            out.push_back('%');
            out.push_back(kHex[u >> 4U]);
            out.push_back(kHex[u & 15U]);
        }
    }
    return out;
}

Result<Query> parse_query(std::string_view text) {
    Query query;
    if (text.empty()) return query;
    for (auto piece : split(text, '&')) {
        if (piece.empty()) continue;
        const auto equals = piece.find('=');
        BERTH_ASSIGN(auto name, percent_decode(piece.substr(0, equals), true));
        std::string value;
        if (equals != std::string_view::npos) {
            BERTH_ASSIGN(value, percent_decode(piece.substr(equals + 1), true));
        }
        query.add(std::move(name), std::move(value));
    }
    return query;
}

std::string BaseUrl::authority() const {
    if (unix_socket) return "localhost";
    const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
    return port == (tls ? "443" : "80") ? name : name + ":" + port;
}

Result<BaseUrl> parse_base_url(std::string_view text) {
    BaseUrl url;
    if (text.starts_with("unix:")) {
        url.unix_socket = true;
        url.host = std::string(text.substr(text.starts_with("unix://") ? 7 : 5));
        if (!url.host.starts_with('/')) return bad_url(text, "must name an absolute socket path");
        return url;
    }
    const auto scheme_end = text.find("://");
    if (scheme_end == std::string_view::npos)
        return bad_url(text, "must begin with http://, https:// or unix:");
    const auto scheme = text.substr(0, scheme_end);
    if (scheme == "https" || scheme == "wss") {
        url.tls = true;
    } else if (scheme != "http" && scheme != "ws") {
        return bad_url(text, "must begin with http://, https:// or unix:");
    }
    auto rest = text.substr(scheme_end + 3);
    const auto slash = rest.find_first_of("/?#");
    auto authority = rest.substr(0, slash);
    if (slash != std::string_view::npos) url.prefix = std::string(rest.substr(slash));
    if (url.prefix.find_first_of("?# \r\n") != std::string::npos)
        return bad_url(text, "must have no query or fragment");
    while (url.prefix.ends_with('/')) url.prefix.pop_back();
    if (authority.find('@') != std::string_view::npos)
        return bad_url(text, "must not hold credentials");
    std::string_view port;
    if (authority.starts_with('[')) {
        const auto end = authority.find(']');
        if (end == std::string_view::npos) return bad_url(text, "has an unclosed '['");
        url.host = std::string(authority.substr(1, end - 1));
        auto tail = authority.substr(end + 1);
        if (!tail.empty() && tail.front() != ':') return bad_url(text, "has a malformed port");
        if (!tail.empty()) port = tail.substr(1);
    } else {
        const auto colon = authority.rfind(':');
        url.host = std::string(authority.substr(0, colon));
        if (colon != std::string_view::npos) port = authority.substr(colon + 1);
    }
    if (url.host.empty() || url.host.find_first_of(" \r\n\t") != std::string::npos)
        return bad_url(text, "names no host");
    unsigned number = url.tls ? 443 : 80;
    if (!port.empty()) {
        const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
        if (error != std::errc() || end != port.data() + port.size() || number == 0 ||
            number > 65535) {
            return bad_url(text, "has a malformed port");
        }
    }
    url.port = std::to_string(number);
    return url;
}

std::string_view reason_phrase(int status) {
    switch (status) {
        case 101: return "Switching Protocols";
        case 200: return "OK";
        case 201: return "Created";
        case 202: return "Accepted";
        case 204: return "No Content";
        case 301: return "Moved Permanently";
        case 302: return "Found";
        case 303: return "See Other";
        case 304: return "Not Modified";
        case 307: return "Temporary Redirect";
        case 308: return "Permanent Redirect";
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 410: return "Gone";
        case 411: return "Length Required";
        case 412: return "Precondition Failed";
        case 413: return "Content Too Large";
        case 415: return "Unsupported Media Type";
        case 422: return "Unprocessable Content";
        case 426: return "Upgrade Required";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 499: return "Client Closed Request";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 502: return "Bad Gateway";
        case 503: return "Service Unavailable";
        case 504: return "Gateway Timeout";
        case 505: return "HTTP Version Not Supported";
        default: return "Unknown";
    }
}

}  // namespace berth::net
