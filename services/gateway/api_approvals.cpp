// SPDX-License-Identifier: Apache-2.0
// /v1/approvals and /v1/grants: what waits for a person, and what persons said may be repeated.
#include "berth/gateway/v1/gateway.pb.h"
#include "berth/warden/v1/warden.pb.h"
#include "gateway/api.hpp"

namespace berth::gateway {
namespace {

using warden::v1::Approval;

Error no_such_approval() { return not_found("approval_not_found", "there is no such approval"); }

Result<warden::v1::GrantScope> read_grant_scope(const std::string& text) {
    if (text.empty() || text == "once") return warden::v1::GRANT_SCOPE_ONCE;
    if (text == "session") return warden::v1::GRANT_SCOPE_SESSION;
    if (text == "times") return warden::v1::GRANT_SCOPE_TIMES;
    if (text == "until") return warden::v1::GRANT_SCOPE_UNTIL;
    return invalid("bad_scope", "'scope' must be once, session, times or until", "scope");
}

/// Which of the gateway's own clients it was; a chat platform is its bridge's word alone.
Result<std::string> read_surface(const std::string& text) {
    if (text.empty()) return std::string("api");
    if (text == "api" || text == "cli" || text == "web") return text;
    return invalid("bad_surface", "'surface' must be api, cli or web", "surface");
}

Result<warden::v1::ApprovalState> read_state(const net::Query& query) {
    const auto text = query.get("state");
    if (!text) return warden::v1::APPROVAL_STATE_UNSPECIFIED;
    // "pending" of APPROVAL_STATE_PENDING
    std::string name = "APPROVAL_STATE_";
    for (const char c : *text) name += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    warden::v1::ApprovalState value{};
    if (!warden::v1::ApprovalState_Parse(name, &value) || value == 0)
        return invalid(
            "bad_state",
            "'state' must be pending, approved, denied, expired, revoked or abandoned",
            "state"
        );
    return value;
}

}  // namespace

void list_approvals(Api& api, const CallPtr& call) {
    warden::v1::ListApprovals query;
    fill_actor(call->principal, *query.mutable_actor());
    if (auto page = read_page(call->request.query, *query.mutable_page()); !page)
        return call->fail(page.error());
    const auto state = read_state(call->request.query);
    if (!state) return call->fail(state.error());
    query.set_state(*state);
    ask<warden::v1::ApprovalsReply>(
        api,
        call,
        "berth.qry.warden.approvals",
        query,
        {},
        [call](const warden::v1::ApprovalsReply& reply) { call->json(200, reply); }
    );
}

void get_approval(Api& api, const CallPtr& call) {
    if (!plausible_id(call->param("id"))) return call->fail(no_such_approval());
    warden::v1::GetApproval query;
    fill_actor(call->principal, *query.mutable_actor());
    query.set_approval(call->param("id"));
    ask<Approval>(
        api,
        call,
        "berth.qry.warden.approval",
        query,
        {},
        [call](const Approval& approval) { call->json(200, approval); }
    );
}

void decide_approval(Api& api, const CallPtr& call) {
    if (!plausible_id(call->param("id"))) return call->fail(no_such_approval());
    v1::DecideBody body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    if (!body.has_approve())
        return call->fail(
            invalid("bad_body", "say what is decided: approve is true or false", "approve")
        );
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    const auto scope = read_grant_scope(body.scope());
    if (!scope) return call->fail(scope.error());
    auto surface = read_surface(body.surface());
    if (!surface) return call->fail(surface.error());
    warden::v1::Decide command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_approval(call->param("id"));
    command.set_approve(body.approve());
    command.set_comment(body.comment());
    command.set_surface(std::move(*surface));
    command.set_revision(body.revision());
    command.set_scope(*scope);
    command.set_times(body.times());
    if (body.has_until()) *command.mutable_until() = body.until();
    *command.mutable_argv_pattern() = body.argv_pattern();
    for (const auto& argument : body.edited_argv()) command.add_edited_argv(argument);
    ask<Approval>(
        api,
        call,
        "berth.cmd.warden.decide",
        command,
        std::move(*id),
        [call](const Approval& approval) { call->json(200, approval); }
    );
}

void list_grants(Api& api, const CallPtr& call) {
    warden::v1::ListGrants query;
    fill_actor(call->principal, *query.mutable_actor());
    if (auto page = read_page(call->request.query, *query.mutable_page()); !page)
        return call->fail(page.error());
    query.set_all(call->request.query.flag("all"));
    ask<warden::v1::GrantsReply>(
        api,
        call,
        "berth.qry.warden.grants",
        query,
        {},
        [call](const warden::v1::GrantsReply& reply) { call->json(200, reply); }
    );
}

void revoke_grant(Api& api, const CallPtr& call) {
    if (!plausible_id(call->param("id")))
        return call->fail(not_found("grant_not_found", "there is no such grant"));
    warden::v1::RevokeGrant command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_grant(call->param("id"));
    ask<warden::v1::Grant>(
        api,
        call,
        "berth.cmd.warden.revoke_grant",
        command,
        {},
        [call](const warden::v1::Grant& grant) { call->json(200, grant); }
    );
}

}  // namespace berth::gateway
