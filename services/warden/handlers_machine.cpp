// SPDX-License-Identifier: Apache-2.0
// What machines ask and tell: held commands, the last word before they go on, audit, halts done.
#include <algorithm>
#include <set>

#include "core/text.hpp"
#include "policy/plan.hpp"
#include "policy/wire.hpp"
#include "service/proto_time.hpp"
#include "warden/grant.hpp"
#include "warden/halt.hpp"
#include "warden/handlers.hpp"
#include "warden/request.hpp"
#include "warden/settings.hpp"

namespace berth::warden {
namespace {

using service::reply_with;

Error not_its() {
    return forbidden("not_its_org", "the machine has no part in this org, lease or approval");
}

/// Names that become columns, lines and subjects.
Result<void> check_names(const v1::Ask& ask, const std::string& machine) {
    const v1::Origin& origin = ask.origin();
    if (origin.machine() != machine) return not_its();
    if (!is_subject_token(origin.org()) || !is_plain(origin.user()) || !is_plain(origin.lease()) ||
        !is_plain(origin.run()) || !is_plain(origin.profile()) || !is_plain(origin.agent()) ||
        !is_plain(ask.held()) || origin.user().empty() || ask.held().empty())
        return invalid("bad_origin", "the origin's names are not names", "origin");
    return {};
}

/// A lease that waits for its machine has none yet, and who has it now may be told later.
bool is_others(const repo::LeaseRow& lease, const std::string& org, const std::string& machine) {
    return lease.org != org || (!lease.machine.empty() && lease.machine != machine);
}

/// What is known of machine and lease must agree; what is not known yet is left to the machine's
/// own rights.
Result<void> check_belongs(
    store::Transaction& tx, const v1::Origin& origin, const std::string& machine
) {
    BERTH_ASSIGN(const std::string org, repo::org_of_machine(&tx, machine));
    if (!org.empty() && org != origin.org()) return not_its();
    if (origin.lease().empty()) return {};
    BERTH_ASSIGN(const auto lease, repo::find_lease(tx, origin.lease()));
    if (lease && (is_others(*lease, origin.org(), machine) || lease->ended)) return not_its();
    return {};
}

milliseconds timeout_of(const v1::AskTerms& terms) {
    const milliseconds given = service::to_milliseconds(terms.timeout());
    if (given.count() <= 0) return kDefaultTimeout;
    return std::min<milliseconds>(given, kMaxTimeout);
}

/// What a machine can know; every other fact is warden's own to tell.
std::string fact_of(const std::string& fact) {
    for (const char* known :
         {"exec_started",
          "exec_ended",
          "exec_denied",
          "exec_held",
          "exec_abandoned",
          "run_ended",
          "audit_refused"})
        if (fact == known) return fact;
    return "exec_other";
}

/// When a machine says that it was: not to come, and not before it could have been told.
google::protobuf::Timestamp time_of(const v1::AuditRecord& given, WallTime now) {
    if (!given.has_at()) return service::to_timestamp(now);
    const WallTime at = service::to_wall_time(given.at());
    return service::to_timestamp(std::clamp(at, now - kOldestRecord, now));
}

void clean(std::string& text, std::size_t most) {
    if (!is_plain(text, most)) text = policy::show_text(text, most);
}

/// Of a text that is shown already.
void cut(std::string& text, std::size_t most) {
    if (text.size() <= most) return;
    text = clipped(text, most) + "...";
}

}  // namespace

/// The stricter of what the machine's snapshot said (ask) and what the policy says now.
Result<void> WardenHandlers::judge(Work& work, const Org& org, Record& record) {
    v1::Approval& body = record.body;
    const v1::Origin& origin = body.origin();
    const WallTime now = work.context().now;
    BERTH_ASSIGN(const auto halts, repo::halts_in_force(&work.tx(), work.org()));
    for (const v1::Halt& halt : halts) {
        if (!covers(halt, origin)) continue;
        revoke(record, "berth", "halted by " + halt.pressed_by(), now);
        return {};
    }
    BERTH_ASSIGN(const auto policy, policies_.of(&work.tx(), work.org(), org.policy_version));
    const policy::Verdict verdict =
        policy->decide(policy::to_plan(body.plan()), policy::to_origin(origin), now);
    if (verdict.action == policy::Action::kDeny) {
        body.mutable_terms()->set_rule(verdict.rule);
        body.mutable_terms()->set_reason(verdict.reason);
        decide_at_once(
            record, false, "berth", "denied by rule " + verdict.rule + ": " + verdict.reason, now
        );
        return {};
    }
    if (verdict.action == policy::Action::kAsk)
        *body.mutable_terms() = policy::to_terms(verdict, org.policy_version);
    BERTH_ASSIGN(auto grants, repo::lock_live_grants_of(work.tx(), work.org(), origin.user()));
    for (GrantRow& grant : grants) {
        if (!matches(grant.body, body.plan(), origin, now)) continue;
        BERTH_ASSIGN(const auto made_by, repo::find_approval(work.tx(), grant.body.approval()));
        if (!reaches(grant.body, made_by ? made_by->body : v1::Approval(), body, *policy)) continue;
        const bool last = use(grant.body, now);
        BERTH_TRY(repo::update_grant(work.tx(), grant.body, !last));
        work.tell(grant.body, last ? "ended" : "used");
        body.set_grant(grant.body.id());
        decide_at_once(record, true, grant.body.made_by(), "by grant " + grant.body.id(), now);
        return {};
    }
    return {};
}

WardenHandlers::Outcome WardenHandlers::ask(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    if (payload.size() > kMaxAsk)
        return Error{
            Fault::kTooLarge, "plan_too_large", "the plan is too large to be asked", "plan"};
    BERTH_ASSIGN(v1::Ask request, decode<v1::Ask>(payload));
    const std::string machine = machine_of(context);
    BERTH_TRY(check_names(request, machine));
    if (policy::digest(policy::to_plan(request.plan())) != request.plan().digest())
        return invalid("bad_digest", "the plan's digest is not its own", "plan");
    const std::string org_name = request.origin().org();
    BERTH_ASSIGN(const Org org, repo::lock_org(tx, org_name, repo::Hold::kShared));
    BERTH_TRY(check_belongs(tx, request.origin(), machine));
    BERTH_ASSIGN(const auto known, repo::find_held(tx, machine, request.held()));
    if (known && (known->body.plan().digest() == request.plan().digest() ||
                  !known->body.plan().replaces().empty())) {
        v1::Approval told = known->body;
        if (!known->pending()) told.set_comment(words_of(told));
        return reply_with(told);
    }

    Record record;
    record.held = request.held();
    v1::Approval& body = record.body;
    body.set_id(random_id("ap"));
    body.set_org(org_name);
    body.set_state(ApprovalState::APPROVAL_STATE_PENDING);
    *body.mutable_plan() = std::move(*request.mutable_plan());
    *body.mutable_origin() = request.origin();
    *body.mutable_terms() = request.terms();
    *body.mutable_created_at() = service::to_timestamp(context.now);
    body.set_revision(1);
    body.set_shown(policy::show_plan(policy::to_plan(body.plan())));
    Work work(context, tx, org_name);
    BERTH_TRY(judge(work, org, record));
    const milliseconds timeout = timeout_of(body.terms());
    *body.mutable_terms()->mutable_timeout() = service::to_duration(timeout);
    if (record.pending()) {
        *body.mutable_deadline() = service::to_timestamp(context.now + timeout);
        *body.mutable_group() = body.terms().approvers();
    }
    BERTH_TRY(repo::insert_approval(tx, record));
    work.tell(record, record.pending() ? "requested" : state_name(body.state()));
    v1::AuditRecord& audited = work.audit(
        record.pending() ? "approval_requested"
                         : "approval_" + std::string(state_name(body.state())),
        record
    );
    audited.set_action(record.pending() ? "ask" : body.grant().empty() ? "deny" : "allow");
    audited.set_reason(record.pending() ? body.terms().reason() : body.comment());
    service::Decision decision = reply_with(body);
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

WardenHandlers::Outcome WardenHandlers::abandon(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Abandon request, decode<v1::Abandon>(payload));
    const std::string id = normal(request.approval(), "ap");
    BERTH_ASSIGN(auto record, repo::lock_approval(tx, id));
    if (!record) return no_such_approval(id);
    if (record->body.origin().machine() != machine_of(context)) return not_its();
    service::Decision decision = reply_with(common::v1::Empty{});
    const std::string reason =
        request.reason().empty() ? "who asked is gone" : policy::show_text(request.reason());
    if (!warden::abandon(*record, reason, context.now)) return decision;
    Work work(context, tx, record->body.org());
    BERTH_TRY(repo::update_approval(tx, *record));
    work.tell(*record, "abandoned");
    work.audit("approval_abandoned", *record).set_reason(reason);
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

WardenHandlers::Outcome WardenHandlers::claim(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Claim request, decode<v1::Claim>(payload));
    const std::string id = normal(request.approval(), "ap");
    // The org's row first, so that a halt is either seen here or comes after this execution began.
    BERTH_ASSIGN(const std::string org, repo::org_of_approval(tx, id));
    if (org.empty()) return no_such_approval(id);
    BERTH_TRY(repo::lock_org(tx, org, repo::Hold::kShared));
    BERTH_ASSIGN(auto record, repo::lock_approval(tx, id));
    if (!record) return no_such_approval(id);
    if (record->body.origin().machine() != machine_of(context)) return not_its();
    BERTH_ASSIGN(const auto halts, repo::halts_in_force(&tx, org));
    const bool halted = std::any_of(halts.begin(), halts.end(), [&](const v1::Halt& halt) {
        return covers(halt, record->body.origin());
    });
    bool changed = false;
    const v1::Claimed claimed =
        warden::claim(*record, request.digest(), request.held(), halted, changed);
    if (changed) BERTH_TRY(repo::update_approval(tx, *record));
    service::Decision decision = reply_with(claimed);
    if (changed || !claimed.go()) {
        Work work(context, tx, org);
        v1::AuditRecord& audited =
            work.audit(claimed.go() ? "exec_released" : "exec_refused", *record);
        audited.set_action(claimed.go() ? "allow" : "deny");
        audited.set_reason(claimed.reason());
        audited.set_user(record->body.decided_by());
        BERTH_ASSIGN(decision.messages, work.finish());
    }
    return decision;
}

WardenHandlers::Outcome WardenHandlers::halted(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Halted request, decode<v1::Halted>(payload));
    const std::string machine = machine_of(context);
    BERTH_ASSIGN(auto halt, repo::lock_halt(tx, normal(request.halt(), "hl")));
    if (!halt) return not_found("halt_not_found", "there is no such halt");
    BERTH_ASSIGN(const std::string org, repo::org_of_machine(&tx, machine));
    if (!org.empty() && org != halt->body.org()) return not_its();
    v1::HaltAnswer answer = request.answer();
    answer.set_machine(machine);
    clean(*answer.mutable_mechanism(), 64);
    clean(*answer.mutable_error(), 500);
    if (!answer.has_at()) *answer.mutable_at() = service::to_timestamp(context.now);
    service::Decision decision = reply_with(common::v1::Empty{});
    if (!confirm(halt->body, answer)) return decision;
    BERTH_TRY(repo::update_halt(tx, *halt));
    Work work(context, tx, halt->body.org());
    v1::Halt told = halt->body;
    for (const auto& each : waiting_for(told, halt->asked)) told.add_waiting_for(each);
    work.tell(told, "confirmed");
    v1::AuditRecord& audited = work.audit("halt_confirmed");
    audited.set_subject(halt->body.id());
    audited.mutable_origin()->set_machine(machine);
    audited.set_reason(
        answer.error().empty()
            ? answer.mechanism() + ", frozen " + std::to_string(answer.frozen()) + ", killed " +
                  std::to_string(answer.killed())
            : answer.error()
    );
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

WardenHandlers::Outcome WardenHandlers::record(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(v1::Record request, decode<v1::Record>(payload));
    service::Decision decision = reply_with(common::v1::Empty{});
    if (request.records_size() == 0) return decision;
    if (request.records_size() > kMaxRecords)
        return Error{Fault::kTooLarge, "too_many_records", "a batch has at most 1000 records", {}};
    const std::string machine = machine_of(context);
    const std::string org = request.records(0).origin().org().empty()
                                ? request.records(0).org()
                                : request.records(0).origin().org();
    if (!is_subject_token(org)) return invalid("bad_origin", "the records name no org", "org");
    BERTH_ASSIGN(const std::string own, repo::org_of_machine(&tx, machine));
    if (!own.empty() && own != org) return not_its();
    std::set<std::string> leases;
    for (const v1::AuditRecord& given : request.records()) leases.insert(given.origin().lease());
    for (const std::string& id : leases) {
        BERTH_ASSIGN(const auto lease, repo::find_lease(tx, id));
        if (lease && is_others(*lease, org, machine)) return not_its();
    }
    Work work(context, tx, org);
    for (v1::AuditRecord& given : *request.mutable_records()) {
        v1::AuditRecord& kept = work.audit(fact_of(given.fact()));
        const std::string fact = kept.fact();
        kept = std::move(given);
        kept.set_fact(fact);
        *kept.mutable_at() = time_of(kept, context.now);
        kept.mutable_origin()->set_org(org);
        kept.mutable_origin()->set_machine(machine);
        kept.set_user(kept.origin().user());
        kept.clear_surface();
        for (std::string* text :
             {kept.mutable_command(), kept.mutable_reason(), kept.mutable_executable()}) {
            cut(*text, kMaxShown);
            *text = policy::mask(*text);
        }
        for (std::string* text :
             {kept.mutable_user(),
              kept.mutable_surface(),
              kept.mutable_rule(),
              kept.mutable_action(),
              kept.mutable_digest(),
              kept.mutable_output_sha256(),
              kept.mutable_approval(),
              kept.mutable_subject(),
              kept.mutable_origin()->mutable_run(),
              kept.mutable_origin()->mutable_lease(),
              kept.mutable_origin()->mutable_profile(),
              kept.mutable_origin()->mutable_agent(),
              kept.mutable_origin()->mutable_user()})
            clean(*text, 256);
    }
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

WardenHandlers::Outcome WardenHandlers::snapshot(
    const Context& context, const std::string& payload
) {
    BERTH_ASSIGN(const v1::GetSnapshot request, decode<v1::GetSnapshot>(payload));
    const std::string machine = machine_of(context);
    if (request.machine() != machine || !is_subject_token(request.org())) return not_its();
    BERTH_ASSIGN(const std::string own, repo::org_of_machine(&pool_, machine));
    if (!own.empty() && own != request.org()) return not_its();
    v1::Snapshot reply;
    BERTH_ASSIGN(*reply.mutable_beat(), beat(request.org(), context.now));
    if (reply.beat().policy_version() > 0) {
        BERTH_ASSIGN(
            auto policy, repo::find_policy(&pool_, request.org(), reply.beat().policy_version())
        );
        if (!policy) return internal("no_policy", "the policy's text is not stored");
        *reply.mutable_policy() = std::move(*policy);
    } else {
        reply.mutable_policy()->set_org(request.org());
    }
    return reply_with(reply);
}

}  // namespace berth::warden
