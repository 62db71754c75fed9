// SPDX-License-Identifier: Apache-2.0
// What people ask: approvals, grants, policies, halts and the audit.
#include <charconv>

#include "policy/plan.hpp"
#include "service/proto_time.hpp"
#include "warden/halt.hpp"
#include "warden/handlers.hpp"
#include "warden/request.hpp"

namespace berth::warden {
namespace {

using service::reply_with;

/// Who does not decide sees his own.
std::string only_of(const common::v1::Actor& actor) {
    return may_decide(actor) ? std::string() : actor.user();
}

Result<std::uint64_t> number_cursor(const std::string& cursor) {
    std::uint64_t out = 0;
    const auto [end, error] = std::from_chars(cursor.data(), cursor.data() + cursor.size(), out);
    if (error != std::errc() || end != cursor.data() + cursor.size() || out > INT64_MAX)
        return invalid(
            "bad_cursor", "'cursor' must be a next_cursor of an earlier answer", "cursor"
        );
    return out;
}

}  // namespace

WardenHandlers::Outcome WardenHandlers::get_approval(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::GetApproval request, decode<v1::GetApproval>(payload));
    const common::v1::Actor& actor = request.actor();
    BERTH_ASSIGN(auto record, repo::find_approval(pool_, normal(request.approval(), "ap")));
    if (!record || record->body.org() != actor.org() ||
        (!may_decide(actor) && record->body.origin().user() != actor.user()))
        return no_such_approval(request.approval());
    for (v1::EnvChange& change : *record->body.mutable_plan()->mutable_env()) {
        if (policy::is_secret_name(change.name())) change.set_value("***");
    }
    return reply_with(record->body);
}

WardenHandlers::Outcome WardenHandlers::list_approvals(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::ListApprovals request, decode<v1::ListApprovals>(payload));
    BERTH_ASSIGN(const int limit, page_limit(request.page()));
    repo::ListFilter filter;
    filter.org = request.actor().org();
    filter.user = only_of(request.actor());
    if (request.state() != ApprovalState::APPROVAL_STATE_UNSPECIFIED)
        filter.state = state_name(request.state());
    filter.cursor = request.page().cursor();
    filter.limit = limit + 1;  // one more tells whether there is a next page
    BERTH_ASSIGN(const auto approvals, repo::list_approvals(pool_, filter));
    v1::ApprovalsReply reply;
    for (const v1::Approval& approval : approvals) {
        if (reply.approvals_size() == limit) {
            const v1::Approval& last = reply.approvals(limit - 1);
            reply.set_next_cursor(repo::cursor_of(last.created_at(), last.id()));
            break;
        }
        *reply.add_approvals() = brief(approval);
    }
    return reply_with(reply);
}

WardenHandlers::Outcome WardenHandlers::list_grants(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::ListGrants request, decode<v1::ListGrants>(payload));
    BERTH_ASSIGN(const int limit, page_limit(request.page()));
    repo::ListFilter filter;
    filter.org = request.actor().org();
    filter.user = only_of(request.actor());
    filter.cursor = request.page().cursor();
    filter.limit = limit + 1;
    BERTH_ASSIGN(auto grants, repo::list_grants(pool_, filter, request.all()));
    v1::GrantsReply reply;
    for (v1::Grant& grant : grants) {
        if (reply.grants_size() == limit) {
            const v1::Grant& last = reply.grants(limit - 1);
            reply.set_next_cursor(repo::cursor_of(last.made_at(), last.id()));
            break;
        }
        *reply.add_grants() = std::move(grant);
    }
    return reply_with(reply);
}

WardenHandlers::Outcome WardenHandlers::get_policy(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::GetPolicy request, decode<v1::GetPolicy>(payload));
    std::uint64_t version = request.version();
    if (version == 0) {
        BERTH_ASSIGN(const Org org, repo::find_org(&pool_, request.actor().org()));
        version = org.policy_version;
    }
    if (version == 0) {  // no policy is an answer, too
        v1::PolicyVersion none;
        none.set_org(request.actor().org());
        return reply_with(none);
    }
    BERTH_ASSIGN(const auto policy, repo::find_policy(&pool_, request.actor().org(), version));
    if (!policy) return not_found("policy_not_found", "the org has no policy of that version");
    return reply_with(*policy);
}

WardenHandlers::Outcome WardenHandlers::list_policies(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::ListPolicies request, decode<v1::ListPolicies>(payload));
    BERTH_ASSIGN(const int limit, page_limit(request.page()));
    std::uint64_t before = 0;
    if (!request.page().cursor().empty()) {
        BERTH_ASSIGN(before, number_cursor(request.page().cursor()));
    }
    BERTH_ASSIGN(
        auto policies, repo::list_policies(pool_, request.actor().org(), before, limit + 1)
    );
    v1::PoliciesReply reply;
    for (v1::PolicyVersion& policy : policies) {
        if (reply.policies_size() == limit) {
            reply.set_next_cursor(std::to_string(reply.policies(limit - 1).version()));
            break;
        }
        *reply.add_policies() = std::move(policy);
    }
    return reply_with(reply);
}

WardenHandlers::Outcome WardenHandlers::list_halts(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::ListHalts request, decode<v1::ListHalts>(payload));
    BERTH_ASSIGN(const auto halts, repo::list_halts(pool_, request.actor().org(), request.all()));
    v1::HaltsReply reply;
    for (const HaltRow& halt : halts) {
        v1::Halt& out = *reply.add_halts();
        out = halt.body;
        if (!in_force(out)) continue;
        for (const auto& machine : waiting_for(out, halt.asked)) out.add_waiting_for(machine);
    }
    return reply_with(reply);
}

WardenHandlers::Outcome WardenHandlers::query_audit(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::QueryAudit request, decode<v1::QueryAudit>(payload));
    if (!may_decide(request.actor())) return needs_approver();
    BERTH_ASSIGN(const int limit, page_limit(request.page()));
    if (!is_plain(request.user()) || !is_plain(request.run()) || !is_plain(request.fact()))
        return invalid("bad_query", "the query's names are not names", "user");
    repo::AuditFilter filter;
    filter.org = request.actor().org();
    filter.user = request.user();
    filter.run = normal(request.run(), "rn");
    filter.fact = request.fact();
    filter.oldest_first = request.oldest_first();
    if (request.has_since()) filter.since = service::to_wall_time(request.since());
    if (request.has_until()) filter.until = service::to_wall_time(request.until());
    filter.from =
        request.oldest_first() ? std::min<std::uint64_t>(request.from_sequence(), INT64_MAX) : 0;
    if (!request.page().cursor().empty()) {
        BERTH_ASSIGN(filter.from, number_cursor(request.page().cursor()));
    }
    filter.limit = limit + 1;
    BERTH_ASSIGN(auto records, repo::list_audit(pool_, filter));
    v1::AuditReply reply;
    for (v1::AuditRecord& record : records) {
        if (reply.records_size() == limit) {
            // Upwards the next page begins at this record, downwards below the one before it.
            reply.set_next_cursor(std::to_string(
                filter.oldest_first ? record.sequence() : reply.records(limit - 1).sequence()
            ));
            break;
        }
        *reply.add_records() = std::move(record);
    }
    return reply_with(reply);
}

WardenHandlers::Outcome WardenHandlers::verify_audit(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::VerifyAudit request, decode<v1::VerifyAudit>(payload));
    if (!may_decide(request.actor())) return needs_approver();
    ChainHead verified;
    if (request.after_sequence() > 0) {
        if (request.after_sequence() > INT64_MAX)
            return invalid("bad_sequence", "there is no such record", "after_sequence");
        verified = {request.after_sequence(), request.previous()};
    }
    const std::string& org = request.actor().org();
    std::vector<Link> links;
    BERTH_ASSIGN(auto verdict, repo::verify_audit(pool_, org, verified, links));
    // A chain that contradicts itself needs no second witness.
    if (verdict.first_bad() != 0) return reply_with(verdict);
    BERTH_ASSIGN(
        Reflection seen,
        mirror_.compare(
            org, links, request.stream_position(), !verdict.more(), Clock::system().now()
        )
    );
    if (seen.first_bad == 0 && !verdict.more() && seen.furthest > verdict.records()) {
        // Recorded since, or cut off here.
        BERTH_ASSIGN(const ChainHead now, repo::audit_head(pool_, org));
        if (seen.furthest > now.sequence) {
            seen.first_bad = now.sequence + 1;
            seen.reason = "stream AUDIT has it, and it is missing in the table";
        }
    }
    verdict.set_stream_position(seen.next);
    if (seen.first_bad != 0) {
        verdict.set_whole(false);
        verdict.set_more(false);
        verdict.set_first_bad(seen.first_bad);
        verdict.set_reason(seen.reason);
    }
    return reply_with(verdict);
}

}  // namespace berth::warden
