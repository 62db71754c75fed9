// SPDX-License-Identifier: Apache-2.0
// Private to libs/policy: a policy as data, as the file's reader makes it and a machine loads it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "policy/policy.hpp"
#include "policy/regex.hpp"

namespace berth::policy::detail {

/// Words of a subcommand at most ("remote set-url" has two).
inline constexpr std::size_t kMaxSubcommand = 8;

/// One argument: exactly this text, a wildcard pattern or an expression; or any number of
/// arguments.
struct Pattern {
    enum class Kind : std::uint8_t { kExact, kGlob, kRegex, kRest };
    Kind kind = Kind::kExact;
    std::string text;
    Regex regex;
};

/// A program: by its whole path, by the last part of it, or by a pattern of paths.
struct Program {
    enum class Kind : std::uint8_t { kPath, kName, kGlob };
    Kind kind = Kind::kPath;
    std::string text;
};

/// Hours of a day in minutes; `from` above `to` goes over midnight.
struct Hours {
    std::int32_t from = 0;
    std::int32_t to = 0;
};

struct Times {
    std::vector<Hours> hours;  ///< empty: all day
    std::uint32_t days = 0;    ///< bit 0 is Monday; 0: every day
    std::int32_t offset = 0;   ///< minutes east of UTC
    bool set = false;
};

/// Arguments that are paths.
struct Paths {
    std::vector<std::string> inside;   ///< all of them lie in one of these
    std::vector<std::string> outside;  ///< one of them lies in none of these
};

struct Match {
    std::vector<Program> executable;
    bool has_argv = false;
    std::vector<Pattern> argv;
    std::vector<std::string> subcommand;             ///< words in order
    std::vector<std::vector<std::string>> flags;     ///< each present in one of its spellings
    std::vector<std::string> options_with_value;     ///< "-C", "--git-dir"
    std::vector<std::string> options_without_value;  ///< "--no-pager"
    std::vector<std::string> cwd;
    std::vector<std::string> user;
    std::vector<std::string> org;
    std::vector<std::string> profile;
    bool has_agent = false;
    std::vector<std::string> agent;  ///< an empty one: a person
    std::vector<std::string> env;
    Times time;
    Paths paths;
};

/// What a rule says of its ask; what it does not say is the file's.
struct AskPart {
    std::optional<std::int64_t> timeout_ms;
    std::optional<DeadlineOutcome> outcome;
    std::optional<std::vector<std::string>> approvers;
    std::optional<std::vector<std::string>> escalate_to;
    std::optional<std::uint32_t> quorum;
};

/// Of a rule: its own, and the file's for the rest.
AskTerms terms_of(const AskTerms& general, const AskPart& own);

struct Rule {
    std::string id;
    std::string where;  ///< "policy.yaml:12:3"
    Action action = Action::kDeny;
    std::string reason;
    Match match;
    AskPart ask;
    Level require = Level::kNone;
    std::int64_t execution_timeout_ms = 0;
    bool allow_unusual = false;
};

/// The whole file.
struct Rules {
    Action fallback = Action::kAllow;
    Level require = Level::kNone;
    std::map<std::string, Level> profiles;
    AskTerms ask;
    std::map<std::string, std::vector<std::string>> groups;
    std::vector<std::string> drop;
    std::vector<std::string> keep;
    bool deny_dangerous = false;
    std::vector<Rule> rules;
};

/// "python3.11" -> "python", "perl5.36.0" -> "perl", "gawk" stays.
std::string_view without_version(std::string_view name);

/// A program of many tools: busybox and its like.
bool is_of_many(std::string_view name);
/// Which tool such a one is told to be, and where that one's arguments begin; another program
/// changes nothing.
void find_applet(
    std::string_view executable,
    const std::vector<std::string>& argv,
    std::string_view& applet,
    std::size_t& first
);

}  // namespace berth::policy::detail

namespace berth::policy {

/// A rule in an index: with 1,000 rules of one program it is the rules' own memory that would cost
/// the time.
struct Entry {
    std::uint32_t rule = 0;
    std::uint32_t word = 0;  ///< hash of an argument without which it cannot match; 0: none
};

struct Policy::State {
    detail::Rules data;
    /// Rules, in order, of one program's name, and those that may be of any program.
    std::map<std::string, std::vector<Entry>, std::less<>> by_name;
    std::vector<Entry> general;
    std::vector<std::uint32_t> requiring;  ///< rules that require a level
    /// Makes a policy of data that was checked.
    static std::shared_ptr<const Policy> make(detail::Rules data);
};

}  // namespace berth::policy
