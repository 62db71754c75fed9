// SPDX-License-Identifier: Apache-2.0
// Private to libs/policy: whether a rule speaks of a plan.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/rule.hpp"

namespace berth::policy::detail {

/// Never 0.
std::uint32_t hash_of_word(std::string_view word);
/// Of an argument that a plan must have for the rule to match; 0: the rule names none.
std::uint32_t word_of(const Match& match);

/// One plan being judged; what several rules need is worked out once.
///
/// Where an argument can be read in two ways, a rule that refuses or asks matches either reading,
/// and a rule that allows only where both match.
class Subject {
public:
    Subject(const Plan& plan, const Origin& origin, WallTime now);

    bool matches(const Rule& rule) { return check(rule, nullptr); }
    /// Says why in words.
    bool explain(const Rule& rule, std::string& why) { return check(rule, &why); }

    /// Names under which rules may know this program: of the executable, of its script, of the
    /// script as it was called, and of the applet. The same one may come twice.
    std::vector<std::string_view> names() const;

    /// False: no argument has this hash_of_word().
    bool may_hold(std::uint32_t word);

private:
    using Arguments = std::vector<std::string>;
    bool check(const Rule& rule, std::string* why);
    bool check_program(const Rule& rule, std::size_t& first, std::string* why) const;
    bool check_origin(const Match& match, std::string* why) const;
    bool check_arguments(const Rule& rule, std::size_t first, std::string* why);
    bool check_paths(const Rule& rule, std::size_t first, std::string* why) const;

    const Plan& plan_;
    const Origin& origin_;
    WallTime now_;
    std::vector<std::string_view> files_called() const;
    std::vector<std::size_t> applets_started() const;
    bool is_applet(const Rule& rule, std::string_view name) const;
    bool executes_any(const std::vector<Program>& wanted) const;
    ScriptWord script_;
    /// What a program of many tools (busybox) is told to be, and where its arguments begin.
    std::string_view applet_;
    std::size_t applet_first_ = 1;
    std::optional<std::bitset<4096>> words_;
};

/// True where `path`, taken from `folder` where it is relative, lies in one of `trees`. By its
/// text: links in it are not followed.
bool lies_in(std::string_view path, std::string_view folder, const std::vector<std::string>& trees);

/// User, org, profile and agent: what is known before there is a command. Says why not in words.
bool speaks_of(const Match& match, const Origin& origin, std::string* why);

bool time_matches(const Times& times, WallTime now);

}  // namespace berth::policy::detail
