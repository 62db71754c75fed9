// SPDX-License-Identifier: Apache-2.0
// Private to libs/policy: reading a program's arguments as options, their values and words.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "policy/rule.hpp"

namespace berth::policy::detail {

/// argv patterns against argv from `first` on. `doubt`: what a pattern that cannot be judged counts
/// as.
bool patterns_match(
    const std::vector<Pattern>& patterns,
    const std::vector<std::string>& argv,
    std::size_t first,
    bool doubt
);

/// True where the first words that are no options are `match.subcommand`. A word after an option
/// that the rule does not list may be that option's value: with `doubt` one reading is enough,
/// without it every reading has to agree.
bool subcommand_matches(
    const Match& match, const std::vector<std::string>& argv, std::size_t first, bool doubt
);

/// True where one of the spellings is among the options. With `doubt`, also in a cluster ("-xf")
/// and shortened ("--forc").
bool flag_given(
    const Match& match,
    const std::vector<std::string>& spellings,
    const std::vector<std::string>& argv,
    std::size_t first,
    bool doubt
);

/// What of an argument is a path: itself, what follows its '=', what looks like one behind an
/// option's letters. With `doubt` also what may be one there ("-cfname"), unless the rule lists
/// the letters as options without a value.
std::vector<std::string_view> paths_of(
    const Match& match, std::string_view argument, bool after_dashes, bool doubt
);

}  // namespace berth::policy::detail
