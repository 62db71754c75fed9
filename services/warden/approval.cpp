// SPDX-License-Identifier: Apache-2.0
// Who may decide, what the first decision does to every later one, and what time does.
#include "warden/approval.hpp"

#include <algorithm>
#include <array>

#include "service/proto_time.hpp"

namespace berth::warden {
namespace {

constexpr std::string_view kBerth = "berth";
constexpr std::string_view kGo = "go";
constexpr int kMostNames = 64;  // of variables in an event; the card counts the rest

constexpr std::array<std::pair<std::string_view, ApprovalState>, 6> kNames{{
    {"pending", ApprovalState::APPROVAL_STATE_PENDING},
    {"approved", ApprovalState::APPROVAL_STATE_APPROVED},
    {"denied", ApprovalState::APPROVAL_STATE_DENIED},
    {"expired", ApprovalState::APPROVAL_STATE_EXPIRED},
    {"revoked", ApprovalState::APPROVAL_STATE_REVOKED},
    {"abandoned", ApprovalState::APPROVAL_STATE_ABANDONED},
}};

void end(
    Record& record, ApprovalState state, std::string_view by, std::string_view comment, WallTime now
) {
    v1::Approval& body = record.body;
    body.set_state(state);
    body.set_decided_by(std::string(by));
    body.set_comment(std::string(comment));
    *body.mutable_ended_at() = service::to_timestamp(now);
    body.set_revision(body.revision() + 1);
}

const v1::Vote* last_vote(const v1::Approval& body, const std::string& user) {
    const v1::Vote* found = nullptr;
    for (const v1::Vote& vote : body.votes()) {
        if (vote.user() == user) found = &vote;
    }
    return found;
}

int approvals(const v1::Approval& body) {
    return static_cast<int>(std::count_if(
        body.votes().begin(),
        body.votes().end(),
        [](const v1::Vote& vote) { return vote.approve(); }
    ));
}

ClickResult refused(Error error) { return {ClickEffect::kRefused, std::move(error)}; }

Error expired_error(const v1::Approval& body) {
    return conflict(
        "approval_expired",
        body.id() + " expired: nobody had decided by its deadline; the command was refused"
    );
}

Error decided_error(const v1::Approval& body) {
    std::string how(state_name(body.state()));
    if (!body.replaced_by().empty()) how = "decided in an edited form (" + body.replaced_by() + ")";
    return conflict(
        "already_decided",
        body.id() + " was " + how + " by " + body.decided_by() +
            (body.has_ended_at() ? " at " + to_rfc3339(service::to_wall_time(body.ended_at()))
                                 : std::string())
    );
}

/// What is remembered where nothing is said of it is nothing: the absent is "once".
v1::GrantScope scope_of(v1::GrantScope scope) {
    return scope == v1::GRANT_SCOPE_UNSPECIFIED ? v1::GRANT_SCOPE_ONCE : scope;
}

/// True where the click asks for just what the vote did.
bool says_the_same(const v1::Vote& vote, const Click& click, const v1::Approval& body) {
    if (vote.approve() != click.approve) return false;
    if (!click.approve) return true;
    if (scope_of(vote.scope()) != scope_of(click.scope) || !std::equal(
                                                               vote.argv_pattern().begin(),
                                                               vote.argv_pattern().end(),
                                                               click.argv_pattern.begin(),
                                                               click.argv_pattern.end()
                                                           ))
        return false;
    if (click.scope == v1::GRANT_SCOPE_TIMES && vote.times() != click.times) return false;
    if (click.scope == v1::GRANT_SCOPE_UNTIL &&
        (!click.until || vote.until().SerializeAsString() != click.until->SerializeAsString()))
        return false;
    const auto& argv = body.plan().argv();
    return click.edited_argv.empty() ||
           std::equal(argv.begin(), argv.end(), click.edited_argv.begin(), click.edited_argv.end());
}

/// Somebody says more than he did when it was decided.
Error said_error(const v1::Approval& body) {
    Error error = decided_error(body);
    error.message += body.grant().empty() ? ", for this one time and as it was shown"
                                          : ", and is remembered as " + body.grant();
    error.message += "; nothing else was done";
    return error;
}

bool past(const v1::Approval& body, WallTime now) {
    return body.has_deadline() && now >= service::to_wall_time(body.deadline());
}

}  // namespace

std::string_view state_name(ApprovalState state) {
    for (const auto& [name, value] : kNames) {
        if (value == state) return name;
    }
    return "unspecified";
}
ApprovalState approval_state(std::string_view name) {
    for (const auto& [known, value] : kNames) {
        if (known == name) return value;
    }
    return ApprovalState::APPROVAL_STATE_UNSPECIFIED;
}

ClickResult click(Record& record, const Click& click) {
    v1::Approval& body = record.body;
    if (!click.may_decide)
        return refused(forbidden("not_approver", "deciding needs the role approver or admin"));
    const v1::Vote* before = last_vote(body, click.user);
    // The same answer again: counted already, or how it was decided.
    const bool stands =
        record.pending() || body.state() == (click.approve ? ApprovalState::APPROVAL_STATE_APPROVED
                                                           : ApprovalState::APPROVAL_STATE_DENIED);
    if (before != nullptr && before->approve() == click.approve && stands) {
        if (record.pending() || says_the_same(*before, click, body))
            return {ClickEffect::kRepeated, std::nullopt};
        return refused(said_error(body));
    }
    if (body.state() == ApprovalState::APPROVAL_STATE_EXPIRED) return refused(expired_error(body));
    if (!record.pending()) return refused(decided_error(body));
    if (click.user == body.origin().user())
        return refused(
            forbidden("self_approval", "whoever asked does not decide; another approver must")
        );
    if (body.group_size() > 0 && !click.in_group) {
        std::string groups;
        for (const auto& group : body.group()) groups += (groups.empty() ? "" : ", ") + group;
        return refused(forbidden("not_in_group", "this is for " + groups + " to decide"));
    }
    if (past(body, click.now)) {
        const DeadlineEffect effect = deadline_passed(record, click.now);
        if (effect == DeadlineEffect::kExpired) return {ClickEffect::kExpired, expired_error(body)};
        // It waits on, or for another group, as of this moment; the card that was clicked is old.
        if (effect == DeadlineEffect::kEscalated)
            return {
                ClickEffect::kExpired,
                conflict("approval_expired", "it was passed on to the next group at its deadline")};
    }
    if (click.revision != 0 && click.revision != body.revision())
        return refused(conflict("stale", "the approval has moved on; look at it again"));
    v1::Vote& vote = *body.add_votes();
    vote.set_user(click.user);
    vote.set_approve(click.approve);
    vote.set_comment(click.comment);
    vote.set_surface(click.surface);
    *vote.mutable_at() = service::to_timestamp(click.now);
    if (click.approve && scope_of(click.scope) != v1::GRANT_SCOPE_ONCE) {
        vote.set_scope(click.scope);
        if (click.scope == v1::GRANT_SCOPE_TIMES) vote.set_times(click.times);
        if (click.scope == v1::GRANT_SCOPE_UNTIL && click.until)
            *vote.mutable_until() = *click.until;
        vote.mutable_argv_pattern()->Assign(click.argv_pattern.begin(), click.argv_pattern.end());
    }
    if (!click.approve) {
        end(record, ApprovalState::APPROVAL_STATE_DENIED, click.user, click.comment, click.now);
        return {ClickEffect::kDecided, std::nullopt};
    }
    const int quorum = std::max<int>(1, static_cast<int>(body.terms().quorum()));
    if (approvals(body) >= quorum) {
        end(record, ApprovalState::APPROVAL_STATE_APPROVED, click.user, click.comment, click.now);
        return {ClickEffect::kDecided, std::nullopt};
    }
    body.set_revision(body.revision() + 1);
    return {ClickEffect::kVoted, std::nullopt};
}

bool drop_votes(Record& record, std::string_view user) {
    if (!record.pending()) return false;
    auto& votes = *record.body.mutable_votes();
    const auto rest = std::remove_if(votes.begin(), votes.end(), [&](const v1::Vote& vote) {
        return vote.user() == user;
    });
    if (rest == votes.end()) return false;
    votes.erase(rest, votes.end());
    record.body.set_revision(record.body.revision() + 1);
    return true;
}

DeadlineEffect deadline_passed(Record& record, WallTime now) {
    v1::Approval& body = record.body;
    if (!record.pending() || !past(body, now)) return DeadlineEffect::kNothing;
    const v1::AskTerms& terms = body.terms();
    if (terms.outcome() == v1::DEADLINE_OUTCOME_WAIT) {
        body.clear_deadline();
        body.set_revision(body.revision() + 1);
        return DeadlineEffect::kReminded;
    }
    if (terms.outcome() == v1::DEADLINE_OUTCOME_ESCALATE &&
        record.asked_groups < static_cast<std::uint32_t>(terms.escalate_to_size())) {
        body.clear_group();
        body.add_group(terms.escalate_to(static_cast<int>(record.asked_groups)));
        ++record.asked_groups;
        *body.mutable_deadline() =
            service::to_timestamp(now + service::to_milliseconds(terms.timeout()));
        body.set_revision(body.revision() + 1);
        return DeadlineEffect::kEscalated;
    }
    end(record, ApprovalState::APPROVAL_STATE_EXPIRED, kBerth, "nobody decided by the deadline", now
    );
    return DeadlineEffect::kExpired;
}

bool revoke(Record& record, std::string_view by, std::string_view reason, WallTime now) {
    if (record.pending()) {
        end(record, ApprovalState::APPROVAL_STATE_REVOKED, by, reason, now);
        return true;
    }
    if (record.body.state() != ApprovalState::APPROVAL_STATE_APPROVED || !record.claim.empty())
        return false;
    record.claim = reason;
    end(record, ApprovalState::APPROVAL_STATE_REVOKED, by, reason, now);
    return true;
}

bool abandon(Record& record, std::string_view reason, WallTime now) {
    const bool unclaimed =
        record.body.state() == ApprovalState::APPROVAL_STATE_APPROVED && record.claim.empty();
    if (!record.pending() && !unclaimed) return false;
    if (unclaimed) record.claim = "abandoned";
    end(record, ApprovalState::APPROVAL_STATE_ABANDONED, kBerth, reason, now);
    return true;
}

void decide_at_once(
    Record& record, bool approve, std::string_view by, std::string_view reason, WallTime now
) {
    end(record,
        approve ? ApprovalState::APPROVAL_STATE_APPROVED : ApprovalState::APPROVAL_STATE_DENIED,
        by,
        reason,
        now);
}

void replace(Record& record, const Click& click, const std::string& by_approval) {
    record.body.set_replaced_by(by_approval);
    record.claim = "replaced";
    end(record,
        ApprovalState::APPROVAL_STATE_DENIED,
        click.user,
        click.comment.empty() ? "edited: see " + by_approval : click.comment,
        click.now);
}

v1::Claimed claim(
    Record& record, std::string_view digest, std::string_view held, bool halted, bool& changed
) {
    changed = false;
    v1::Claimed out;
    const auto no = [&](std::string_view reason, bool final) {
        out.set_reason(std::string(reason));
        if (final && record.claim.empty()) {
            record.claim = reason;
            changed = true;
        }
        return out;
    };
    const v1::Approval& body = record.body;
    if (body.state() != ApprovalState::APPROVAL_STATE_APPROVED)
        return no(record.pending() ? "not decided yet" : state_name(body.state()), false);
    if (record.held != held) return no("already executed", false);
    if (halted) return no("halted", record.claim.empty());
    if (!record.claim.empty() && record.claim != kGo) return no(record.claim, false);
    if (body.plan().digest() != digest) return no("content changed", record.claim.empty());
    if (record.claim.empty()) {
        record.claim = kGo;
        changed = true;
    }
    out.set_go(true);
    return out;
}

std::string words_of(const v1::Approval& approval) {
    if (!approval.comment().empty() || approval.state() == ApprovalState::APPROVAL_STATE_APPROVED)
        return approval.comment();
    return std::string(state_name(approval.state())) + " by " + approval.decided_by();
}

v1::Approval brief(const v1::Approval& approval) {
    v1::Approval out = approval;
    out.mutable_plan()->clear_argv();
    auto& env = *out.mutable_plan()->mutable_env();
    if (env.size() > kMostNames) env.DeleteSubrange(kMostNames, env.size() - kMostNames);
    for (v1::EnvChange& change : *out.mutable_plan()->mutable_env()) change.clear_value();
    return out;
}

}  // namespace berth::warden
