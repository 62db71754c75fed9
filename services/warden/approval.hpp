// SPDX-License-Identifier: Apache-2.0
// The Approval state machine, pure: no clock, no random, no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "berth/warden/v1/warden.pb.h"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::warden {

using v1::ApprovalState;

/// An approval as warden keeps it: what is told, and what is nobody else's business.
struct Record {
    v1::Approval body;
    std::string held;                ///< the node's name of the held process
    std::uint32_t asked_groups = 0;  ///< of terms.escalate_to, so far
    /// Empty: not claimed; "go": the one execution was started; else why there will be none.
    std::string claim;

    bool pending() const { return body.state() == ApprovalState::APPROVAL_STATE_PENDING; }
};

/// One click of somebody on some surface.
struct Click {
    std::string user;
    bool may_decide = false;  ///< role approver or admin
    bool in_group = false;    ///< of the approval's group, where it names one
    bool approve = false;
    std::string comment;
    std::string surface;
    std::uint64_t revision = 0;  ///< that the card showed; 0: any
    WallTime now;
    /// Of an approval: what else it is to allow, and the form that it is to be executed in (empty:
    /// as it was asked for).
    v1::GrantScope scope = v1::GRANT_SCOPE_ONCE;
    std::uint32_t times = 0;
    std::optional<google::protobuf::Timestamp> until;
    std::vector<std::string> argv_pattern;
    std::vector<std::string> edited_argv;
};
enum class ClickEffect {
    kRefused,   ///< nothing changed
    kRepeated,  ///< the same voter said just the same before: the stored answer
    kVoted,     ///< counted; more approvals are needed
    kDecided,   ///< approved or denied now
    kExpired,   ///< the click found the deadline passed: expired now, and refused
};
struct ClickResult {
    ClickEffect effect = ClickEffect::kRefused;
    std::optional<Error> refusal;  ///< of kRefused and kExpired
};
/// The first decision stands. Errors: not_approver, self_approval, not_in_group, stale,
/// already_decided (naming who, or what more than was decided is not done), approval_expired.
ClickResult click(Record& record, const Click& click);
/// Takes back the votes of somebody who may no longer decide, where nothing is decided yet. False
/// where there are none.
bool drop_votes(Record& record, std::string_view user);

enum class DeadlineEffect { kNothing, kExpired, kReminded, kEscalated };
/// What passing the deadline does: denies as expired, goes on waiting, or asks the next group
/// (after the last: expired).
DeadlineEffect deadline_passed(Record& record, WallTime now);

/// Ends without a person's decision; an approval that was given but not claimed is voided. False
/// where nothing changes.
bool revoke(Record& record, std::string_view by, std::string_view reason, WallTime now);
bool abandon(Record& record, std::string_view reason, WallTime now);
/// Decided by Berth itself as the ask arrives: by a grant, or refused by policy.
void decide_at_once(
    Record& record, bool approve, std::string_view by, std::string_view reason, WallTime now
);
/// Another plan is decided on in its place (edit-and-approve).
void replace(Record& record, const Click& click, const std::string& by_approval);

/// The last word before a held command goes on: "go" once for the one process that asked, however
/// often it is repeated. `changed` tells whether the record did.
v1::Claimed claim(
    Record& record, std::string_view digest, std::string_view held, bool halted, bool& changed
);

/// "pending", "approved", …
std::string_view state_name(ApprovalState state);
ApprovalState approval_state(std::string_view name);
/// What the machine is told of a decision: the decider's comment, else that it is a no and whose.
std::string words_of(const v1::Approval& approval);
/// The approval as events and lists carry it: `shown` says what the plan is, and its arguments and
/// values, which may be long and secret, stay with who asks for the one approval.
v1::Approval brief(const v1::Approval& approval);

}  // namespace berth::warden
