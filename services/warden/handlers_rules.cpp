// SPDX-License-Identifier: Apache-2.0
// Policies and halts: what changes the rules for everybody at once.
#include "core/text.hpp"
#include "identity/token.hpp"
#include "policy/plan.hpp"
#include "service/proto_time.hpp"
#include "warden/grant.hpp"
#include "warden/halt.hpp"
#include "warden/handlers.hpp"
#include "warden/request.hpp"
#include "warden/settings.hpp"

namespace berth::warden {
namespace {

using service::reply_with;

constexpr std::size_t kMaxReason = 500;

Error needs_admin() { return forbidden("role_missing", "this needs the role admin"); }

v1::Halt with_waiting(const HaltRow& halt) {
    v1::Halt out = halt.body;
    for (const auto& machine : waiting_for(halt.body, halt.asked)) out.add_waiting_for(machine);
    return out;
}

Result<void> check_comment(const std::string& comment) {
    if (!is_plain(comment, kMaxReason))
        return invalid("bad_reason", "give the reason in one line of at most 500 bytes", "comment");
    return {};
}

/// As a reason is kept: a halt never fails for how its reason looks.
std::string one_line(std::string reason) {
    std::replace_if(
        reason.begin(),
        reason.end(),
        [](char c) {
            return !is_plain({&c, 1});
        },
        ' '
    );
    return clipped(trimmed(reason), kMaxReason);
}

}  // namespace

Result<void> WardenHandlers::store_policy(
    Work& work, Org& org, v1::PolicyVersion& policy, const std::string& user
) {
    org.policy_version += 1;
    org.policy_digest = policy.digest();
    ++org.revision;
    policy.set_org(org.org);
    policy.set_version(org.policy_version);
    policy.set_applied_by(user);
    *policy.mutable_applied_at() = service::to_timestamp(work.context().now);
    BERTH_TRY(repo::update_org(work.tx(), org));
    BERTH_TRY(repo::insert_policy(work.tx(), policy));
    work.tell(policy);
    v1::AuditRecord& audited =
        work.audit(policy.rolled_back_to() > 0 ? "policy_rolled_back" : "policy_applied");
    audited.set_user(user);
    audited.set_subject(std::to_string(policy.version()));
    audited.set_digest(policy.digest());
    audited.set_reason(policy.comment());
    return {};
}

WardenHandlers::Outcome WardenHandlers::apply_policy(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::ApplyPolicy request, decode<v1::ApplyPolicy>(payload));
    const common::v1::Actor& actor = request.actor();
    if (!has_role(actor, "admin")) return needs_admin();
    if (request.text().size() > kMaxPolicyText)
        return Error{Fault::kTooLarge, "policy_too_large", "a policy has at most 700 KiB", "text"};
    BERTH_TRY(check_comment(request.comment()));
    const std::string name = request.name().empty() || !is_plain(request.name())
                                 ? std::string("policy.yaml")
                                 : request.name();
    if (const auto parsed = policy::Policy::parse(request.text(), name); !parsed)
        return parsed.error();
    BERTH_ASSIGN(Org org, repo::lock_org(tx, actor.org(), repo::Hold::kAlone));
    if (request.expected_version() != 0 && request.expected_version() != org.policy_version)
        return conflict(
            "policy_moved",
            "the policy is at version " + std::to_string(org.policy_version) +
                " by now; look at what changed"
        );
    v1::PolicyVersion policy;
    policy.set_text(request.text());
    policy.set_digest(hex(identity::sha256(request.text())));
    policy.set_comment(request.comment());
    Work work(context, tx, org.org);
    BERTH_TRY(store_policy(work, org, policy, actor.user()));
    policy.clear_text();
    service::Decision decision = reply_with(policy);
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

WardenHandlers::Outcome WardenHandlers::rollback_policy(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::RollbackPolicy request, decode<v1::RollbackPolicy>(payload));
    const common::v1::Actor& actor = request.actor();
    if (!has_role(actor, "admin")) return needs_admin();
    BERTH_ASSIGN(Org org, repo::lock_org(tx, actor.org(), repo::Hold::kAlone));
    BERTH_ASSIGN(auto policy, repo::find_policy(&tx, org.org, request.version()));
    if (!policy) return not_found("policy_not_found", "the org has no policy of that version");
    if (const auto parsed = policy::Policy::parse(policy->text(), "policy.yaml"); !parsed)
        return parsed.error();
    policy->set_rolled_back_to(request.version());
    policy->set_comment("back to version " + std::to_string(request.version()));
    Work work(context, tx, org.org);
    BERTH_TRY(store_policy(work, org, *policy, actor.user()));
    policy->clear_text();
    service::Decision decision = reply_with(*policy);
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

/// Everything pending, approved but not begun, or remembered inside the scope is void.
Result<void> WardenHandlers::void_scope(Work& work, const v1::Halt& halt) {
    const WallTime now = work.context().now;
    const std::string reason = "halted by " + halt.pressed_by();
    BERTH_ASSIGN(const auto live, repo::live_of_org(work.tx(), work.org()));
    for (const std::string& id : live) {
        BERTH_ASSIGN(auto record, repo::lock_approval(work.tx(), id));
        if (!record || !covers(halt, record->body.origin()) ||
            !revoke(*record, halt.pressed_by(), reason, now))
            continue;
        BERTH_TRY(repo::update_approval(work.tx(), *record));
        work.tell(*record, "revoked");
        work.tell_machine(*record);
        work.audit("approval_revoked", *record).set_reason(reason);
    }
    BERTH_ASSIGN(auto grants, repo::lock_live_grants(work.tx(), work.org()));
    for (GrantRow& grant : grants) {
        if (!covers_grant(halt, grant.body, grant.agent, grant.machine) ||
            !withdraw(grant.body, halt.pressed_by(), now))
            continue;
        BERTH_TRY(repo::update_grant(work.tx(), grant.body, false));
        work.tell(grant.body, "revoked");
        v1::AuditRecord& audited = work.audit("grant_revoked");
        audited.set_user(halt.pressed_by());
        audited.set_subject(grant.body.id());
        audited.set_reason(reason);
    }
    return {};
}

/// A machine that is silent is halted like any other; one of which nothing is known is a mistake
/// that must be seen.
Result<std::string> WardenHandlers::machine_named(
    store::Transaction& tx, const std::string& org, const std::string& name
) {
    for (const char* prefix : {"m", "ls"}) {
        const std::string id = normal(name, prefix);
        BERTH_ASSIGN(std::string machine, repo::find_machine(tx, org, id));
        if (!machine.empty()) return machine;
        if (presences_.machines(org).contains(id)) {
            BERTH_ASSIGN(const auto gone, repo::gone_machines(tx, {id}));
            if (gone.empty()) return id;
        }
    }
    return not_found(
        "machine_not_found",
        "nothing was halted: there is no machine '" + clipped(name, 64) +
            "', and no lease of that name holds one; `berth pool --machines` shows them"
    );
}

WardenHandlers::Outcome WardenHandlers::halt(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::PressHalt request, decode<v1::PressHalt>(payload));
    const common::v1::Actor& actor = request.actor();
    BERTH_TRY(check_press(request));
    BERTH_ASSIGN(Org org, repo::lock_org(tx, actor.org(), repo::Hold::kAlone));
    Work work(context, tx, org.org);
    if (!may_decide(actor)) {
        v1::AuditRecord& audited = work.audit("halt_refused");
        audited.set_user(actor.user());
        audited.set_reason("role missing");
        BERTH_ASSIGN(auto messages, work.finish());
        return service::refuse_with(needs_approver(), std::move(messages));
    }
    std::string target = request.target();
    if (request.scope() == v1::HALT_SCOPE_MACHINE) {
        BERTH_ASSIGN(target, machine_named(tx, org.org, target));
    }
    HaltRow made;
    v1::Halt& body = made.body;
    body.set_id(random_id("hl"));
    body.set_org(org.org);
    body.set_scope(request.scope());
    body.set_target(target);
    body.set_reason(one_line(request.reason()));
    body.set_pressed_by(actor.user());
    *body.mutable_pressed_at() = service::to_timestamp(context.now);
    body.set_revision(1);
    made.asked = presences_.machines(org.org);
    BERTH_ASSIGN(const auto leased, repo::leased_machines(tx, org.org));
    made.asked.insert(leased.begin(), leased.end());
    // One that was heard a moment ago may be gone since.
    BERTH_ASSIGN(const auto gone, repo::gone_machines(tx, {made.asked.begin(), made.asked.end()}));
    for (const std::string& machine : gone) made.asked.erase(machine);
    std::erase_if(made.asked, [&](const std::string& machine) {
        return !concerns_machine(body, machine);
    });
    BERTH_TRY(repo::insert_halt(tx, made));
    BERTH_TRY(void_scope(work, body));
    ++org.revision;
    BERTH_TRY(repo::update_org(tx, org));
    const v1::Halt told = with_waiting(made);
    work.tell(told, "pressed");
    v1::AuditRecord& audited = work.audit("halted");
    audited.set_user(actor.user());
    audited.set_subject(body.id());
    audited.set_reason(
        std::string(scope_name(body.scope())) +
        (body.target().empty() ? "" : " " + policy::show_text(body.target())) +
        (body.reason().empty() ? "" : ": " + body.reason())
    );
    service::Decision decision = reply_with(told);
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

WardenHandlers::Outcome WardenHandlers::resume(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Resume request, decode<v1::Resume>(payload));
    const common::v1::Actor& actor = request.actor();
    BERTH_ASSIGN(Org org, repo::lock_org(tx, actor.org(), repo::Hold::kAlone));
    std::string id = normal(request.halt(), "hl");
    if (id.empty()) {
        BERTH_ASSIGN(const auto halts, repo::halts_in_force(&tx, org.org));
        if (halts.empty()) return not_found("halt_not_found", "no halt is in force");
        if (halts.size() > 1)
            return conflict("several_halts", "several halts are in force; name the one to resume");
        id = halts.front().id();
    }
    BERTH_ASSIGN(auto halt, repo::lock_halt(tx, id));
    if (!halt || halt->body.org() != org.org)
        return not_found("halt_not_found", "there is no halt '" + clipped(id, 64) + "'");
    Work work(context, tx, org.org);
    const auto refuse = [&](const Error& error) -> Outcome {
        v1::AuditRecord& audited = work.audit("resume_refused");
        audited.set_user(actor.user());
        audited.set_subject(id);
        audited.set_reason(error.code);
        BERTH_ASSIGN(auto messages, work.finish());
        return service::refuse_with(error, std::move(messages));
    };
    if (!may_decide(actor)) return refuse(needs_approver());
    if (const auto resumed = warden::resume(halt->body, actor.user(), context.now); !resumed)
        return refuse(resumed.error());
    BERTH_TRY(repo::update_halt(tx, *halt));
    ++org.revision;
    BERTH_TRY(repo::update_org(tx, org));
    work.tell(halt->body, "resumed");
    v1::AuditRecord& audited = work.audit("resumed");
    audited.set_user(actor.user());
    audited.set_subject(id);
    service::Decision decision = reply_with(halt->body);
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

}  // namespace berth::warden
