// SPDX-License-Identifier: Apache-2.0
// A grant never allows more than what was shown, and nothing that runs whatever it is told.
#include "warden/grant.hpp"

#include <algorithm>

#include "policy/policy.hpp"
#include "policy/wire.hpp"
#include "service/proto_time.hpp"
#include "warden/settings.hpp"

namespace berth::warden {
namespace {

constexpr int kMaxPatterns = 256;

Result<void> check_width(const v1::Decide& decide, const v1::Plan& plan) {
    const bool wrapper = policy::is_wrapper(plan.executable().path()) ||
                         (plan.argv_size() > 0 && policy::is_wrapper(plan.argv(0)));
    if ((wrapper && (decide.argv_pattern_size() > 0 || plan.argv_size() < 2)) ||
        policy::reads_its_code(policy::to_plan(plan)))
        return invalid(
            "grant_too_wide",
            "a program that runs whatever it is told is never allowed by name; approve this exact "
            "command instead",
            "scope"
        );
    return {};
}

Result<void> check_pattern(const v1::Decide& decide, const v1::Plan& plan) {
    if (decide.argv_pattern_size() > kMaxPatterns)
        return invalid("bad_pattern", "a pattern has at most 256 arguments", "argv_pattern");
    if (plan.executable().sha256().empty())
        return invalid(
            "no_hash",
            "the program's file was not hashed; only the exact command can be remembered",
            "argv_pattern"
        );
    if (decide.argv_pattern_size() != plan.argv_size())
        return invalid(
            "pattern_mismatch", "the pattern does not match the command on the card", "argv_pattern"
        );
    for (int i = 0; i < plan.argv_size(); ++i) {
        if (!argument_matches(decide.argv_pattern(i), plan.argv(i)))
            return invalid(
                "pattern_mismatch",
                "the pattern does not match the command on the card",
                "argv_pattern"
            );
    }
    return {};
}

template <typename Names>
bool holds(const Names& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

/// By the groups of now: of those that were asked when it was made, and that are asked still, in
/// turn at least, one has `user` among its members.
bool still_asked(
    const v1::AskTerms& terms,
    const v1::Approval& made_by,
    const std::string& user,
    const policy::Policy& rules
) {
    return std::any_of(
        made_by.group().begin(),
        made_by.group().end(),
        [&](const std::string& name) {
            return (holds(terms.approvers(), name) || holds(terms.escalate_to(), name)) &&
                   is_member(rules, name, user);
        }
    );
}

template <typename Drops>
bool sets_none(const v1::Plan& plan, const Drops& drops) {
    return std::none_of(plan.env().begin(), plan.env().end(), [&](const v1::EnvChange& change) {
        return !change.removed() && drops(change.name()) &&
               !policy::is_ordinary_value(change.name(), change.value());
    });
}

}  // namespace

bool argument_matches(std::string_view pattern, std::string_view argument) {
    // Iterative, with one place to come back to: linear in what a person would write.
    std::size_t p = 0;
    std::size_t a = 0;
    std::size_t star = std::string_view::npos;
    std::size_t resume_at = 0;
    while (a < argument.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume_at = a;
            continue;
        }
        const bool escaped = p + 1 < pattern.size() && pattern[p] == '\\';
        const bool fits =
            p < pattern.size() && (escaped ? pattern[p + 1] == argument[a]
                                           : pattern[p] == '?' || pattern[p] == argument[a]);
        if (fits) {
            p += escaped ? 2 : 1;
            ++a;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            a = ++resume_at;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

Result<std::optional<v1::Grant>> grant_of(
    const v1::Decide& decide, const v1::Approval& approval, const std::string& id, WallTime now
) {
    if (decide.scope() == v1::GRANT_SCOPE_UNSPECIFIED || decide.scope() == v1::GRANT_SCOPE_ONCE) {
        if (decide.argv_pattern_size() > 0)
            return invalid(
                "bad_pattern", "a pattern needs a scope longer than once", "argv_pattern"
            );
        return std::optional<v1::Grant>{};
    }
    BERTH_TRY(check_width(decide, approval.plan()));
    v1::Grant grant;
    grant.set_id(id);
    grant.set_org(approval.org());
    grant.set_scope(decide.scope());
    grant.set_user(approval.origin().user());
    grant.set_approval(approval.id());
    grant.set_made_by(decide.actor().user());
    *grant.mutable_made_at() = service::to_timestamp(now);
    grant.set_revision(1);
    if (decide.scope() == v1::GRANT_SCOPE_SESSION) {
        if (approval.origin().lease().empty())
            return invalid("bad_scope", "the command was not asked for by a lease", "scope");
        grant.set_lease(approval.origin().lease());
    } else if (decide.scope() == v1::GRANT_SCOPE_TIMES) {
        if (decide.times() == 0 || decide.times() > kMaxTimes)
            return invalid("bad_times", "'times' must be 1 to 100000", "times");
        grant.set_times_left(decide.times());
    } else if (decide.scope() == v1::GRANT_SCOPE_UNTIL) {
        if (!decide.has_until() || service::to_wall_time(decide.until()) <= now)
            return invalid("bad_until", "'until' must be a time to come", "until");
        *grant.mutable_until() = decide.until();
    } else {
        return invalid("bad_scope", "the scope is once, session, times or until", "scope");
    }
    if (decide.argv_pattern_size() == 0) {
        grant.set_digest(approval.plan().digest());
        return std::optional<v1::Grant>(std::move(grant));
    }
    BERTH_TRY(check_pattern(decide, approval.plan()));
    grant.set_executable(approval.plan().executable().path());
    grant.set_executable_sha256(approval.plan().executable().sha256());
    *grant.mutable_argv_pattern() = decide.argv_pattern();
    return std::optional<v1::Grant>(std::move(grant));
}

bool usable(const v1::Grant& grant, WallTime now) {
    if (grant.has_revoked_at()) return false;
    if (grant.scope() == v1::GRANT_SCOPE_TIMES) return grant.times_left() > 0;
    if (grant.scope() == v1::GRANT_SCOPE_UNTIL) return now < service::to_wall_time(grant.until());
    return grant.scope() == v1::GRANT_SCOPE_SESSION;
}

bool matches(const v1::Grant& grant, const v1::Plan& plan, const v1::Origin& origin, WallTime now) {
    if (!usable(grant, now) || grant.org() != origin.org() || grant.user() != origin.user())
        return false;
    if (grant.scope() == v1::GRANT_SCOPE_SESSION && grant.lease() != origin.lease()) return false;
    if (!grant.digest().empty()) return grant.digest() == plan.digest();
    // By pattern: nothing that the pattern does not speak of may change what the program does.
    if (plan.executable().sha256().empty() || grant.executable() != plan.executable().path() ||
        grant.executable_sha256() != plan.executable().sha256() ||
        grant.argv_pattern_size() != plan.argv_size() ||
        !sets_none(plan, policy::is_dangerous_variable) ||
        policy::is_wrapper(plan.executable().path()))
        return false;
    for (int i = 0; i < plan.argv_size(); ++i) {
        if (!argument_matches(grant.argv_pattern(i), plan.argv(i))) return false;
    }
    return true;
}

bool is_member(const policy::Policy& rules, const std::string& name, const std::string& user) {
    if (name == "user:" + user) return true;
    const auto members = rules.group(name);
    return members && std::any_of(members->begin(), members->end(), [&](const std::string& each) {
               return each == user || each == "user:" + user;
           });
}

bool reaches(
    const v1::Grant& grant,
    const v1::Approval& made_by,
    const v1::Approval& asked,
    const policy::Policy& rules
) {
    // A rule that has become stricter asks anew.
    const v1::AskTerms& terms = asked.terms();
    const auto& then = made_by.terms().approvers();
    if (terms.quorum() > 1 ||
        (terms.approvers_size() > 0 &&
         (!std::equal(
              terms.approvers().begin(), terms.approvers().end(), then.begin(), then.end()
          ) ||
          !still_asked(terms, made_by, grant.made_by(), rules))))
        return false;
    return !grant.digest().empty() ||
           (sets_none(asked.plan(), [&](const std::string& name) { return rules.drops(name); }) &&
            asked.plan().script().path() == made_by.plan().script().path() &&
            asked.plan().script().sha256() == made_by.plan().script().sha256());
}

bool use(v1::Grant& grant, WallTime now) {
    grant.set_revision(grant.revision() + 1);
    if (grant.scope() != v1::GRANT_SCOPE_TIMES) return false;
    grant.set_times_left(grant.times_left() - 1);
    return !usable(grant, now);
}

bool withdraw(v1::Grant& grant, const std::string& by, WallTime now) {
    if (!usable(grant, now)) return false;
    grant.set_revoked_by(by);
    *grant.mutable_revoked_at() = service::to_timestamp(now);
    grant.set_revision(grant.revision() + 1);
    return true;
}

}  // namespace berth::warden
