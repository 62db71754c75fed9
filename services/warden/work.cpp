// SPDX-License-Identifier: Apache-2.0
// What each change tells to whom.
#include "warden/work.hpp"

#include "berth/node/v1/node.pb.h"
#include "policy/plan.hpp"
#include "service/proto_time.hpp"
#include "warden/settings.hpp"

namespace berth::warden {

using service::make_command;
using service::make_event;

void Work::tell(const Record& record, std::string_view fact) {
    v1::ApprovalChanged event;
    *event.mutable_approval() = brief(record.body);
    messages_.push_back(make_event(
        context_, kToken, org_, "approval", fact, record.body.id(), record.body.revision(), event
    ));
}

void Work::tell(const v1::Grant& grant, std::string_view fact) {
    v1::GrantChanged event;
    *event.mutable_grant() = grant;
    messages_.push_back(
        make_event(context_, kToken, org_, "grant", fact, grant.id(), grant.revision(), event)
    );
}

void Work::tell(const v1::Halt& halt, std::string_view fact) {
    v1::HaltChanged event;
    *event.mutable_halt() = halt;
    messages_.push_back(
        make_event(context_, kToken, org_, "halt", fact, halt.id(), halt.revision(), event)
    );
}

void Work::tell(const v1::PolicyVersion& policy) {
    v1::PolicyApplied event;
    *event.mutable_policy() = policy;
    event.mutable_policy()->clear_text();
    messages_.push_back(
        make_event(context_, kToken, org_, "policy", "applied", org_, policy.version(), event)
    );
}

void Work::tell_machine(const Record& record) {
    const v1::Approval& body = record.body;
    node::v1::Decide decide;
    decide.set_approval(body.id());
    decide.set_digest(body.plan().digest());
    decide.set_held(record.held);
    decide.set_approve(body.state() == ApprovalState::APPROVAL_STATE_APPROVED);
    decide.set_reason(words_of(body));
    if (body.terms().has_execution_timeout())
        *decide.mutable_execution_timeout() = body.terms().execution_timeout();
    if (!body.plan().replaces().empty()) *decide.mutable_edited_argv() = body.plan().argv();
    // Ahead of the approval's own events, and not in their line: somebody waits for it.
    messages_.insert(
        messages_.begin(),
        make_command(
            context_,
            kToken,
            "berth.cmd.node." + body.origin().machine() + ".decide",
            "decide/" + body.id() + "/" + std::to_string(body.revision()),
            "decide/" + record.held,
            decide,
            kDecideDeadline
        )
    );
}

v1::AuditRecord& Work::audit(std::string_view fact) {
    v1::AuditRecord& out = audit_.emplace_back();
    out.set_fact(std::string(fact));
    *out.mutable_at() = service::to_timestamp(context_.now);
    return out;
}

v1::AuditRecord& Work::audit(std::string_view fact, const Record& record) {
    const v1::Approval& body = record.body;
    v1::AuditRecord& out = audit(fact);
    *out.mutable_origin() = body.origin();
    out.set_user(body.origin().user());
    out.set_rule(body.terms().rule());
    out.set_digest(body.plan().digest());
    out.set_command(policy::show_masked_argv({body.plan().argv().begin(), body.plan().argv().end()})
    );
    out.set_executable(policy::show_text(body.plan().executable().path()));
    out.set_approval(body.id());
    out.set_subject(body.id());
    return out;
}

Result<std::vector<store::OutboxMessage>> Work::finish() {
    BERTH_TRY(repo::append_audit(tx_, org_, audit_));
    for (const v1::AuditRecord& record : audit_) {
        const std::string sequence = std::to_string(record.sequence());
        // No order among them: each names its place in the chain.
        messages_.push_back(make_command(
            context_,
            kToken,
            "berth.audit." + org_ + "." + record.fact() + "." + sequence,
            "audit/" + org_ + "/" + sequence,
            "",
            record,
            milliseconds{0}
        ));
    }
    audit_.clear();
    return std::move(messages_);
}

}  // namespace berth::warden
