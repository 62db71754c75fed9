// SPDX-License-Identifier: Apache-2.0
// Private to libs/policy: whether a rule speaks of a plan.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "policy/rule.hpp"

namespace berth::policy::detail {

std::string_view basename_of(std::string_view path);

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

    /// Names under which rules may know this program: of the executable, of its script, and of the
    /// script as it was called. The same one may come twice.
    std::vector<std::string_view> names() const;

private:
    using Arguments = std::vector<std::string>;
    bool check(const Rule& rule, std::string* why);
    bool check_program(const Rule& rule, std::size_t& first, std::string* why) const;
    bool check_origin(const Match& match, std::string* why) const;
    bool check_arguments(const Rule& rule, std::size_t first, std::string* why);
    bool check_paths(const Rule& rule, std::size_t first, std::string* why) const;
    bool holds_argument(std::string_view argument);

    const Plan& plan_;
    const Origin& origin_;
    WallTime now_;
    std::size_t script_at_ = 0;  ///< index of the script in argv; 0: there is none
    std::optional<std::unordered_set<std::string_view>> arguments_;
};

/// True where `path`, taken from `folder` where it is relative, lies in one of `trees`. By its
/// text: links in it are not followed.
bool lies_in(std::string_view path, std::string_view folder, const std::vector<std::string>& trees);

bool time_matches(const Times& times, WallTime now);

}  // namespace berth::policy::detail
