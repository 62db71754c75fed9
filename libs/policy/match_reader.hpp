// SPDX-License-Identifier: Apache-2.0
// Private to libs/policy: the `match` block of a rule, read from the file.
#pragma once

#include "config/config.hpp"
#include "policy/policy_reader.hpp"
#include "policy/rule.hpp"

namespace berth::policy::detail {

/// What is wrong is added to `problems`; the match is then of no use.
Match read_match(const config::Node& node, Problems& problems);
/// Names of variables; a pattern may end in a star.
std::vector<std::string> read_variables(Section& section, std::string_view key, Problems& problems);

}  // namespace berth::policy::detail
