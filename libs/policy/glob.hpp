// SPDX-License-Identifier: Apache-2.0
// Wildcard patterns, one reading of them for rules, grants and names.
#pragma once

#include <string>
#include <string_view>

/// Thread rules: pure functions. Time grows at most with the product of the two lengths.
namespace berth::policy {

/// '*' any bytes, '?' one byte, '[a-z]' and '[!a-z]' one of a set, '\' takes the next byte as it
/// is. The whole text has to match.
bool glob_matches(std::string_view pattern, std::string_view text);

/// The same for paths: '*', '?' and sets stop at '/'; '**' does not; "/a/**" matches "/a" itself,
/// too.
bool path_glob_matches(std::string_view pattern, std::string_view path);

/// True where `pattern` has a wildcard or an escape.
bool is_glob(std::string_view pattern);

/// What is wrong with a pattern ("a set without its ']'"); empty: nothing.
std::string glob_problem(std::string_view pattern);

/// What stands after a path's last '/'.
inline std::string_view basename(std::string_view path) { return path.substr(path.rfind('/') + 1); }

}  // namespace berth::policy
