// SPDX-License-Identifier: Apache-2.0
// People decide: the first one wins, the others are told who it was, and every click leaves a
// record.
#include "policy/plan.hpp"
#include "policy/wire.hpp"
#include "service/proto_time.hpp"
#include "warden/grant.hpp"
#include "warden/handlers.hpp"
#include "warden/request.hpp"
#include "warden/settings.hpp"

namespace berth::warden {
namespace {

using service::reply_with;

Result<void> check_words(const v1::Decide& request) {
    if (request.comment().size() > kMaxComment)
        return invalid("bad_comment", "a comment has at most 2000 bytes", "comment");
    if (!is_plain(request.surface(), 64))
        return invalid("bad_surface", "the surface must be a short name", "surface");
    if (request.edited_argv_size() > 0 && !request.approve())
        return invalid("bad_edit", "an edited command is approved, not denied", "edited_argv");
    return {};
}

/// What needs several people's yes each time is not remembered by the last of them.
Result<void> check_scope(const v1::Decide& request, const v1::AskTerms& terms) {
    if (request.approve() && request.scope() > v1::GRANT_SCOPE_ONCE && terms.quorum() > 1)
        return invalid(
            "grant_needs_quorum",
            "a command that " + std::to_string(terms.quorum()) +
                " people must approve is not remembered; approve it for this time",
            "scope"
        );
    return {};
}

/// The word of the arguments that names the script; empty where there is none.
template <typename Words>
std::string script_of(const v1::Plan& plan, const Words& words) {
    const std::vector<std::string> argv(words.begin(), words.end());
    const std::size_t at = policy::script_word(plan.executable().path(), argv).at;
    return at == 0 ? std::string() : argv[at];
}

void fill(v1::AuditRecord& record, const v1::Decide& request, std::string_view reason) {
    record.set_user(request.actor().user());
    record.set_surface(request.surface());
    record.set_action(request.approve() ? "allow" : "deny");
    record.set_reason(policy::mask(reason));
}

}  // namespace

Result<bool> WardenHandlers::in_group(
    store::Transaction& tx, const v1::Approval& approval, const std::string& user
) {
    if (approval.group_size() == 0) return true;
    // As the groups were when it was asked: a later policy changes nothing.
    BERTH_ASSIGN(
        const auto policy, policies_.of(&tx, approval.org(), approval.terms().policy_version())
    );
    return std::any_of(
        approval.group().begin(),
        approval.group().end(),
        [&](const std::string& name) { return is_member(*policy, name, user); }
    );
}

Result<void> WardenHandlers::settle(
    Work& work, Org& org, Record& record, const v1::Decide& request, const Click& click
) {
    v1::Approval& body = record.body;
    const bool approved = body.state() == ApprovalState::APPROVAL_STATE_APPROVED;
    std::optional<v1::Grant> grant;
    if (approved) {
        BERTH_ASSIGN(grant, grant_of(request, body, random_id("gr"), click.now));
        if (grant) body.set_grant(grant->id());
    }
    BERTH_TRY(repo::update_approval(work.tx(), record));
    work.tell(record, state_name(body.state()));
    work.tell_machine(record);
    fill(work.audit("approval_decided", record), request, click.comment);
    if (!grant) return {};
    BERTH_TRY(
        repo::insert_grant(work.tx(), {*grant, body.origin().agent(), body.origin().machine()})
    );
    ++org.revision;
    BERTH_TRY(repo::update_org(work.tx(), org));
    work.tell(*grant, "made");
    v1::AuditRecord& audited = work.audit("grant_made", record);
    fill(audited, request, {});
    audited.set_subject(grant->id());
    return {};
}

WardenHandlers::Outcome WardenHandlers::decide(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Decide request, decode<v1::Decide>(payload));
    BERTH_TRY(check_words(request));
    const std::string id = normal(request.approval(), "ap");
    const bool remembers = request.scope() > v1::GRANT_SCOPE_ONCE;
    BERTH_ASSIGN(
        Org org,
        repo::lock_org(
            tx, request.actor().org(), remembers ? repo::Hold::kAlone : repo::Hold::kShared
        )
    );
    BERTH_ASSIGN(auto record, repo::lock_approval(tx, id));
    if (!record || record->body.org() != org.org) return no_such_approval(id);
    Click click;
    click.user = request.actor().user();
    // The actor is as the gateway knew it a moment ago; what it told since counts.
    BERTH_ASSIGN(const bool still, repo::may_decide(tx, org.org, click.user));
    click.may_decide = still && may_decide(request.actor());
    BERTH_ASSIGN(click.in_group, in_group(tx, record->body, click.user));
    click.approve = request.approve();
    click.comment = request.comment();
    click.surface = request.surface();
    click.revision = request.revision();
    click.now = context.now;
    click.scope = request.scope();
    click.times = request.times();
    if (request.has_until()) click.until = request.until();
    click.argv_pattern.assign(request.argv_pattern().begin(), request.argv_pattern().end());
    click.edited_argv.assign(request.edited_argv().begin(), request.edited_argv().end());
    Work work(context, tx, org.org);
    if (request.edited_argv_size() > 0 && record->pending())
        return edit(work, org, *record, request, click);
    if (record->pending()) {
        BERTH_TRY(check_scope(request, record->body.terms()));
        BERTH_ASSIGN(const auto denied, denied_since(work, org, *record));
        if (denied && click.may_decide && click.approve) {
            fill(work.audit("decision_refused", *record), request, denied->message);
            BERTH_ASSIGN(auto messages, work.finish());
            return service::refuse_with(*denied, std::move(messages));
        }
    }
    const ClickResult result = warden::click(*record, click);
    switch (result.effect) {
        case ClickEffect::kRepeated: break;
        case ClickEffect::kExpired:
            BERTH_TRY(repo::update_approval(tx, *record));
            if (record->pending()) {
                work.tell(*record, "escalated");
            } else {
                work.tell_machine(*record);
                work.tell(*record, "expired");
                work.audit("approval_expired", *record).set_reason(record->body.comment());
            }
            [[fallthrough]];
        case ClickEffect::kRefused: {
            fill(
                work.audit("decision_refused", *record),
                request,
                result.refusal->code + ": " + result.refusal->message
            );
            BERTH_ASSIGN(auto messages, work.finish());
            return service::refuse_with(*result.refusal, std::move(messages));
        }
        case ClickEffect::kVoted:
            BERTH_TRY(repo::update_approval(tx, *record));
            work.tell(*record, "voted");
            fill(work.audit("approval_voted", *record), request, click.comment);
            break;
        case ClickEffect::kDecided: BERTH_TRY(settle(work, org, *record, request, click)); break;
    }
    service::Decision decision = reply_with(record->body);
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

/// A policy that came since it was asked has the last word against it: then it is denied here.
Result<std::optional<Error>> WardenHandlers::denied_since(
    Work& work, const Org& org, Record& record
) {
    v1::Approval& body = record.body;
    if (body.terms().policy_version() >= org.policy_version) return std::optional<Error>();
    const WallTime now = work.context().now;
    BERTH_ASSIGN(const auto policy, policies_.of(&work.tx(), org.org, org.policy_version));
    const policy::Verdict verdict =
        policy->decide(policy::to_plan(body.plan()), policy::to_origin(body.origin()), now);
    if (verdict.action != policy::Action::kDeny) return std::optional<Error>();
    const std::string why = "denied by rule " + verdict.rule + ": " + verdict.reason;
    decide_at_once(record, false, "berth", why, now);
    BERTH_TRY(repo::update_approval(work.tx(), record));
    work.tell_machine(record);
    work.tell(record, state_name(body.state()));
    work.audit("approval_denied", record).set_reason(why);
    return std::optional<Error>(conflict("denied_by_policy", "it is " + why));
}

/// The edited command is a new plan with an approval of its own, which names the old one's; the old
/// one ends. The held process waits for the new one.
WardenHandlers::Outcome WardenHandlers::edit(
    Work& work, const Org& org, Record& old, const v1::Decide& request, const Click& click
) {
    const v1::Plan& plan = old.body.plan();
    if (plan.argv_size() == 0 || request.edited_argv(0) != plan.argv(0))
        return invalid(
            "bad_edit",
            "the program stays the same; only its arguments may be edited",
            "edited_argv"
        );
    for (const std::string& argument : request.edited_argv()) {
        if (argument.find('\0') != std::string::npos)
            return invalid("bad_edit", "an argument cannot hold a NUL byte", "edited_argv");
    }
    // Which file a name is, and its hash, only the machine can tell: the plan is of the one asked.
    const bool reads =
        !plan.script().path().empty() || policy::is_interpreter(plan.executable().path());
    if (reads && script_of(plan, plan.argv()) != script_of(plan, request.edited_argv()))
        return invalid(
            "bad_edit",
            "the script must stay the same; deny it and let it be asked anew",
            "edited_argv"
        );
    Record made = old;
    v1::Approval& body = made.body;
    body.set_id(random_id("ap"));
    body.clear_votes();
    body.set_revision(1);
    *body.mutable_created_at() = service::to_timestamp(click.now);
    *body.mutable_plan()->mutable_argv() = request.edited_argv();
    body.mutable_plan()->set_replaces(plan.digest());
    policy::Plan judged = policy::to_plan(body.plan());
    body.mutable_plan()->set_digest(policy::digest(judged));
    body.set_shown(policy::show_plan(judged));
    BERTH_ASSIGN(const auto rules, policies_.of(&work.tx(), org.org, org.policy_version));
    const policy::Verdict verdict =
        rules->decide(judged, policy::to_origin(body.origin()), click.now);
    if (verdict.action == policy::Action::kDeny)
        return conflict(
            "denied_by_policy",
            "the edited command is denied by rule " + verdict.rule + ": " + verdict.reason
        );
    // Whoever edits must be one to decide on the old command, and on what it becomes.
    Record asked = old;
    ClickResult result = warden::click(asked, click);
    if (!result.refusal) {
        Click again = click;
        if (verdict.action == policy::Action::kAsk) {
            *body.mutable_terms() = policy::to_terms(verdict, org.policy_version);
            *body.mutable_group() = body.terms().approvers();
            made.asked_groups = 0;
            BERTH_ASSIGN(again.in_group, in_group(work.tx(), body, click.user));
        }
        BERTH_TRY(check_scope(request, body.terms()));
        again.revision = 0;
        result = warden::click(made, again);
    }
    if (result.refusal) {
        fill(
            work.audit("decision_refused", old),
            request,
            result.refusal->code + ": " + result.refusal->message
        );
        BERTH_ASSIGN(auto messages, work.finish());
        return service::refuse_with(*result.refusal, std::move(messages));
    }
    replace(old, click, body.id());
    BERTH_TRY(repo::update_approval(work.tx(), old));  // before the new one takes over what is held
    work.tell(old, "denied");
    work.audit("approval_edited", old).set_reason("see " + body.id());
    BERTH_TRY(repo::insert_approval(work.tx(), made));
    Org changed = org;
    if (result.effect == ClickEffect::kDecided) {
        BERTH_TRY(settle(work, changed, made, request, click));
    } else {
        work.tell(made, "requested");
        fill(work.audit("approval_voted", made), request, click.comment);
    }
    service::Decision decision = reply_with(made.body);
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

/// Who was turned away at a bridge's door is a line of the audit, and nothing else.
WardenHandlers::Outcome WardenHandlers::refused(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Refused request, decode<v1::Refused>(payload));
    if (!is_subject_token(request.org()))
        return invalid("bad_org", "the refusal names no org", "org");
    const auto plain = [](const std::string& text) {
        return is_plain(text) ? text : policy::show_text(text, 256);
    };
    Work work(context, tx, request.org());
    v1::AuditRecord& audited =
        work.audit(request.user().empty() ? "signature_refused" : "stranger_refused");
    audited.set_user(plain(request.user()));
    audited.set_surface(
        plain(request.surface() + (request.from().empty() ? "" : ":") + request.from())
    );
    audited.set_action("deny");
    audited.set_reason(policy::mask(plain(request.reason())));
    audited.set_approval(plain(request.subject()));
    audited.set_subject(audited.approval());
    service::Decision decision = reply_with(common::v1::Empty{});
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

WardenHandlers::Outcome WardenHandlers::revoke_grant(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::RevokeGrant request, decode<v1::RevokeGrant>(payload));
    const common::v1::Actor& actor = request.actor();
    BERTH_ASSIGN(Org org, repo::lock_org(tx, actor.org(), repo::Hold::kAlone));
    BERTH_ASSIGN(auto grant, repo::lock_grant(tx, normal(request.grant(), "gr")));
    // One's own may be given up by anybody.
    if (!grant || grant->body.org() != org.org ||
        (!may_decide(actor) && grant->body.user() != actor.user()))
        return not_found("grant_not_found", "there is no such grant; `berth grants` shows them");
    if (!withdraw(grant->body, actor.user(), context.now)) return reply_with(grant->body);
    Work work(context, tx, org.org);
    BERTH_TRY(repo::update_grant(tx, grant->body, false));
    ++org.revision;
    BERTH_TRY(repo::update_org(tx, org));
    work.tell(grant->body, "revoked");
    v1::AuditRecord& audited = work.audit("grant_revoked");
    audited.set_user(actor.user());
    audited.set_subject(grant->body.id());
    service::Decision decision = reply_with(grant->body);
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

}  // namespace berth::warden
