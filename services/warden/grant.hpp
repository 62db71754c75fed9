// SPDX-License-Identifier: Apache-2.0
// Remembered approvals: what may be remembered, what matches, and when it ends; pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "berth/warden/v1/warden.pb.h"
#include "core/result.hpp"
#include "core/time.hpp"
#include "policy/policy.hpp"

namespace berth::warden {

/// The grant that a decision asks for; nullopt for "once". Errors: grant_too_wide (a bare
/// interpreter or wrapper), bad_times, bad_until, bad_pattern, pattern_mismatch, no_hash.
Result<std::optional<v1::Grant>> grant_of(
    const v1::Decide& decide, const v1::Approval& approval, const std::string& id, WallTime now
);
/// True while it may still be used; the end of its lease is told by ends.
bool usable(const v1::Grant& grant, WallTime now);
/// True where it allows this plan for who asks.
bool matches(const v1::Grant& grant, const v1::Plan& plan, const v1::Origin& origin, WallTime now);
/// And still does: the rule that asks now is none that became stricter than the one of the approval
/// it was made by, who made it is still of those it asks, and by a pattern neither another script
/// nor a variable of the policy's comes in.
bool reaches(
    const v1::Grant& grant,
    const v1::Approval& made_by,
    const v1::Approval& asked,
    const policy::Policy& rules
);
/// True for somebody of the group `name`, or whom "user:<name>" names.
bool is_member(const policy::Policy& rules, const std::string& name, const std::string& user);
/// Counts one use. True where it was the last.
bool use(v1::Grant& grant, WallTime now);
/// Takes it back; false where it had ended.
bool withdraw(v1::Grant& grant, const std::string& by, WallTime now);

/// One argument against a pattern: * any bytes, ? one byte, a backslash makes the next one plain.
bool argument_matches(std::string_view pattern, std::string_view argument);

}  // namespace berth::warden
