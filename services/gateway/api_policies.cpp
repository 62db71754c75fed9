// SPDX-License-Identifier: Apache-2.0
// /v1/policy, /v1/policies and /v1/halts: the rules of an org, and stopping everything.
#include <charconv>

#include "berth/gateway/v1/gateway.pb.h"
#include "berth/warden/v1/warden.pb.h"
#include "gateway/api.hpp"

namespace berth::gateway {
namespace {

using warden::v1::Halt;
using warden::v1::PolicyVersion;

Result<std::uint64_t> read_version(const std::string& text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value == 0)
        return not_found("policy_not_found", "there is no policy of that version");
    return value;
}

Result<warden::v1::HaltScope> read_halt_scope(const std::string& text) {
    if (text.empty() || text == "org") return warden::v1::HALT_SCOPE_ORG;
    if (text == "owner") return warden::v1::HALT_SCOPE_OWNER;
    if (text == "agent") return warden::v1::HALT_SCOPE_AGENT;
    if (text == "machine") return warden::v1::HALT_SCOPE_MACHINE;
    return invalid("bad_scope", "'scope' must be org, owner, agent or machine", "scope");
}

void answer_policy(Api& api, const CallPtr& call, std::uint64_t version) {
    warden::v1::GetPolicy query;
    fill_actor(call->principal, *query.mutable_actor());
    query.set_version(version);
    ask<PolicyVersion>(
        api,
        call,
        "berth.qry.warden.policy",
        query,
        {},
        [call](const PolicyVersion& policy) { call->json(200, policy); }
    );
}

}  // namespace

void get_policy(Api& api, const CallPtr& call) { answer_policy(api, call, 0); }

void get_policy_version(Api& api, const CallPtr& call) {
    const auto version = read_version(call->param("version"));
    if (!version) return call->fail(version.error());
    answer_policy(api, call, *version);
}

void put_policy(Api& api, const CallPtr& call) {
    v1::PolicyBody body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    warden::v1::ApplyPolicy command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_text(body.text());
    command.set_name(body.name());
    command.set_comment(body.comment());
    command.set_expected_version(body.expected_version());
    ask<PolicyVersion>(
        api,
        call,
        "berth.cmd.warden.apply_policy",
        command,
        std::move(*id),
        [call](const PolicyVersion& policy) { call->json(200, policy); }
    );
}

void list_policies(Api& api, const CallPtr& call) {
    warden::v1::ListPolicies query;
    fill_actor(call->principal, *query.mutable_actor());
    if (auto page = read_page(call->request.query, *query.mutable_page()); !page)
        return call->fail(page.error());
    ask<warden::v1::PoliciesReply>(
        api,
        call,
        "berth.qry.warden.policies",
        query,
        {},
        [call](const warden::v1::PoliciesReply& reply) { call->json(200, reply); }
    );
}

void rollback_policy(Api& api, const CallPtr& call) {
    const auto version = read_version(call->param("version"));
    if (!version) return call->fail(version.error());
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    warden::v1::RollbackPolicy command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_version(*version);
    ask<PolicyVersion>(
        api,
        call,
        "berth.cmd.warden.rollback_policy",
        command,
        std::move(*id),
        [call](const PolicyVersion& policy) { call->json(200, policy); }
    );
}

void press_halt(Api& api, const CallPtr& call) {
    v1::HaltBody body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    const auto scope = read_halt_scope(body.scope());
    if (!scope) return call->fail(scope.error());
    warden::v1::PressHalt command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_scope(*scope);
    command.set_target(body.target());
    command.set_reason(body.reason());
    ask<Halt>(
        api,
        call,
        "berth.cmd.warden.halt",
        command,
        std::move(*id),
        [call](const Halt& halt) { call->json(201, halt); }
    );
}

void list_halts(Api& api, const CallPtr& call) {
    warden::v1::ListHalts query;
    fill_actor(call->principal, *query.mutable_actor());
    query.set_all(call->request.query.flag("all"));
    ask<warden::v1::HaltsReply>(
        api,
        call,
        "berth.qry.warden.halts",
        query,
        {},
        [call](const warden::v1::HaltsReply& reply) { call->json(200, reply); }
    );
}

void resume_halt(Api& api, const CallPtr& call) {
    if (!plausible_id(call->param("id")))
        return call->fail(not_found("halt_not_found", "there is no such halt"));
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    warden::v1::Resume command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_halt(call->param("id"));
    ask<Halt>(
        api,
        call,
        "berth.cmd.warden.resume",
        command,
        std::move(*id),
        [call](const Halt& halt) { call->json(200, halt); }
    );
}

}  // namespace berth::gateway
