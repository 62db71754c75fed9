// SPDX-License-Identifier: Apache-2.0
// Options by the conventions of POSIX and GNU (getopt_long), with each doubt on the safe side.
#include "policy/arguments.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "policy/glob.hpp"

namespace berth::policy::detail {
namespace {

using Arguments = std::vector<std::string>;

bool holds(const std::vector<std::string>& list, std::string_view text) {
    return std::find(list.begin(), list.end(), text) != list.end();
}

bool is_option(std::string_view argument) { return argument.size() > 1 && argument[0] == '-'; }
bool is_long(std::string_view argument) { return argument.substr(0, 2) == "--"; }
std::string_view before_equals(std::string_view argument) {
    return argument.substr(0, argument.find('='));
}

bool pattern_matches(const Pattern& pattern, std::string_view argument, bool doubt) {
    switch (pattern.kind) {
        case Pattern::Kind::kExact: return pattern.text == argument;
        case Pattern::Kind::kGlob: return glob_matches(pattern.text, argument);
        case Pattern::Kind::kRegex: return pattern.regex.matches(argument, doubt);
        case Pattern::Kind::kRest: break;
    }
    return true;
}

enum class Next { kWord, kValue, kEither };

/// What the argument after the option `argument` is.
Next after_option(const Match& match, std::string_view argument) {
    if (holds(match.options_with_value, argument)) return Next::kValue;
    if (holds(match.options_without_value, argument)) return Next::kWord;
    if (argument.find('=') != std::string_view::npos) return Next::kWord;
    if (!is_long(argument) && argument.size() > 2) {
        // "-Cfolder" holds its value.
        for (const auto& option : match.options_with_value) {
            if (option.size() == 2 && argument.substr(0, 2) == option) return Next::kWord;
        }
    }
    return Next::kEither;
}

bool spelled(const Match& match, std::string_view spelling, std::string_view argument, bool doubt) {
    const std::string_view name = before_equals(argument);
    if (argument == spelling || name == spelling) return true;
    if (!doubt) return false;
    if (is_long(spelling)) {
        return is_long(name) && name.size() > 2 && name.size() < spelling.size() &&
               spelling.substr(0, name.size()) == name;
    }
    if (spelling.size() != 2 || is_long(argument)) return false;
    for (std::size_t i = 1; i < argument.size(); ++i) {
        if (argument[i] == spelling[1]) return true;
        const char letter[] = {'-', argument[i], '\0'};
        if (holds(match.options_with_value, letter)) return false;  // the rest is its value
    }
    return false;
}

/// What in "-cfname" may be an option's value: what follows each letter.
void add_values(const Match& match, std::string_view argument, std::vector<std::string_view>& out) {
    for (std::size_t i = 1; i + 1 < argument.size(); ++i) {
        if (argument[i] == '.' || argument[i] == '/') return;  // no letter of an option
        const char letter[] = {'-', argument[i], '\0'};
        if (holds(match.options_without_value, letter)) continue;
        out.push_back(argument.substr(i + 1));
        if (holds(match.options_with_value, letter)) return;
    }
}

}  // namespace

bool patterns_match(
    const std::vector<Pattern>& patterns, const Arguments& argv, std::size_t first, bool doubt
) {
    constexpr std::size_t kNone = SIZE_MAX;
    std::size_t p = 0;
    std::size_t a = first;
    std::size_t rest = kNone;   // the last "..." met,
    std::size_t rest_from = 0;  // and the first argument that it does not hold
    while (true) {
        if (p < patterns.size() && patterns[p].kind == Pattern::Kind::kRest) {
            rest = p++;
            rest_from = a;
        } else if (p < patterns.size() && a < argv.size() && pattern_matches(patterns[p], argv[a], doubt)) {
            ++p, ++a;
        } else if (p == patterns.size() && a >= argv.size()) {
            return true;
        } else if (rest != kNone && rest_from < argv.size()) {
            if (rest + 1 == patterns.size()) return true;
            p = rest + 1;
            a = ++rest_from;
        } else {
            return false;
        }
    }
}

bool subcommand_matches(const Match& match, const Arguments& argv, std::size_t first, bool doubt) {
    const std::size_t words = match.subcommand.size();
    std::uint32_t readings = 1;  // bit n: a reading in which n words were met, each the right one
    bool all_agree = true;
    bool only_words = false;
    Next next = Next::kWord;
    for (std::size_t i = first; i < argv.size() && readings != 0; ++i) {
        const std::string_view argument = argv[i];
        const Next now = std::exchange(next, Next::kWord);
        if (now == Next::kValue) continue;
        if (!only_words && argument == "--") {
            only_words = !(doubt && now == Next::kEither);  // it may be a value
            continue;
        }
        if (!only_words && is_option(argument)) {
            next = after_option(match, argument);
            continue;
        }
        std::uint32_t after = now == Next::kEither ? readings : 0U;
        for (std::size_t n = 0; n < words; ++n) {
            if ((readings & (1U << n)) == 0) continue;
            if (match.subcommand[n] != argument) {
                all_agree = false;
            } else if (n + 1 < words) {
                after |= 1U << (n + 1);
            } else if (doubt) {
                return true;
            }
        }
        // A reading that met every word is done, and the others go on.
        if (!doubt && !all_agree) return false;
        if (!doubt && after == 0) return all_agree;
        readings = after;
    }
    return false;
}

bool flag_given(
    const Match& match,
    const std::vector<std::string>& spellings,
    const Arguments& argv,
    std::size_t first,
    bool doubt
) {
    Next next = Next::kWord;
    for (std::size_t i = first; i < argv.size(); ++i) {
        const std::string_view argument = argv[i];
        const Next now = std::exchange(next, Next::kWord);
        if (argument == "--") {
            if (doubt && now != Next::kWord) continue;  // it is a value, or may be one
            return false;
        }
        if (!is_option(argument)) continue;
        next = after_option(match, argument);
        for (const auto& spelling : spellings) {
            if (spelled(match, spelling, argument, doubt)) return true;
        }
        if (!doubt && next == Next::kValue) {
            ++i;
            next = Next::kWord;
        }
    }
    return false;
}

std::vector<std::string_view> paths_of(
    const Match& match, std::string_view argument, bool after_dashes, bool doubt
) {
    std::vector<std::string_view> out;
    const bool option = !after_dashes && is_option(argument);
    if (!option) out.push_back(argument);
    const auto equals = argument.find('=');
    if (equals != std::string_view::npos && equals + 1 < argument.size())
        out.push_back(argument.substr(equals + 1));
    // "-C/x", "-C../x" and "-vC..": behind the letters.
    if (option && !is_long(argument)) {
        const auto path = std::min(argument.find('/'), argument.find(".."));
        if (path != std::string_view::npos) out.push_back(argument.substr(path));
        if (argument.find("..") != std::string_view::npos && path > 2)
            out.push_back(argument.substr(2));
        if (doubt) add_values(match, argument, out);
    } else if (option && argument.find('/') != std::string_view::npos) {
        out.push_back(argument.substr(argument.find('/')));
    }
    return out;
}

}  // namespace berth::policy::detail
