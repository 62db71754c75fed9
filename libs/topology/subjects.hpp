// SPDX-License-Identifier: Apache-2.0
// What NATS subjects and patterns mean: "*" is one token, a last ">" one or more.
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"

namespace berth::topology {

/// True for a well-formed pattern: non-empty printable tokens without space, wildcards only as
/// whole tokens,
/// ">" only last.
bool is_pattern(std::string_view pattern);

/// True when every subject `inner` matches is matched by `outer` too.
bool covers(std::string_view outer, std::string_view inner);

/// `text` with {user}, {machine}, {reader} and {org} replaced. An unknown or unclosed placeholder,
/// or one whose value is empty, is an error "bad_placeholder": a right must never widen because
/// something was left out.
struct Names {
    std::string user;
    std::string machine;
    std::string org;
    std::string reader{};
};
Result<std::string> fill_in(std::string_view text, const Names& names);

}  // namespace berth::topology
