// SPDX-License-Identifier: Apache-2.0
// The words of HTTP that server and clients share: headers, queries and targets.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.hpp"

namespace berth::net {

/// Header fields in order. Names compare without case.
class HeaderMap {
public:
    HeaderMap() = default;
    HeaderMap(std::initializer_list<std::pair<std::string, std::string>> fields)
        : fields_(fields) {}

    /// The first field of that name, or empty.
    std::string_view get(std::string_view name) const;
    bool has(std::string_view name) const;
    /// True where the comma-separated list of that name holds `token` (without case): Connection,
    /// Upgrade.
    bool has_token(std::string_view name, std::string_view token) const;
    void add(std::string name, std::string value) {
        fields_.emplace_back(std::move(name), std::move(value));
    }
    /// Replaces every field of that name.
    void set(std::string_view name, std::string value);
    const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }

private:
    std::vector<std::pair<std::string, std::string>> fields_;
};

/// The decoded query part of a target, in order.
class Query {
public:
    /// The first value of that name, or nothing where it is absent.
    std::optional<std::string> get(std::string_view name) const;
    /// The first value, or `fallback`.
    std::string get_or(std::string_view name, std::string_view fallback) const;
    /// True for `?name`, `?name=1`, `?name=true`; false for absent, `0`, `false`.
    bool flag(std::string_view name) const;
    void add(std::string name, std::string value) {
        values_.emplace_back(std::move(name), std::move(value));
    }
    const std::vector<std::pair<std::string, std::string>>& values() const { return values_; }

private:
    std::vector<std::pair<std::string, std::string>> values_;
};

/// "%2F" and the like; error code "bad_escape" for a broken escape or a NUL.
Result<std::string> percent_decode(std::string_view text, bool plus_is_space);
/// Everything but letters, digits and "-._~".
std::string percent_encode(std::string_view text);
/// "a=1&b=%20"; error code "bad_escape".
Result<Query> parse_query(std::string_view text);

/// Where a client connects: "http://host:port/prefix", "https://…", "ws://…", "wss://…" or
/// "unix:/path/of.sock".
struct BaseUrl {
    bool tls = false;
    bool unix_socket = false;
    std::string host;    ///< without brackets; of a unix socket its path
    std::string port;    ///< "80" where none was given
    std::string prefix;  ///< path before every request's, without a trailing slash
    /// For the Host header.
    std::string authority() const;
};
/// Error code "bad_url" says what is wrong.
Result<BaseUrl> parse_base_url(std::string_view text);

/// The reason phrase of a status; "Unknown" for one that has none.
std::string_view reason_phrase(int status);

bool equal_no_case(std::string_view a, std::string_view b);

}  // namespace berth::net
