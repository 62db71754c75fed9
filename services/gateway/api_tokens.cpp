// SPDX-License-Identifier: Apache-2.0
// /v1/tokens and /v1/whoami: the gateway's own data. An admin manages the tokens of the org, others
// their own.
#include "berth/gateway/v1/gateway.pb.h"
#include "core/id.hpp"
#include "core/text.hpp"
#include "gateway/api.hpp"
#include "identity/token.hpp"
#include "service/proto_time.hpp"
#include "service/request.hpp"

namespace berth::gateway {
namespace {

constexpr std::size_t kMaxLabel = 200;

// The token that `body` asks for, where `by` may make it.
Result<TokenRow> plan_token(const v1::CreateToken& body, const Principal& by) {
    TokenRow row;
    row.org = by.org;
    row.user = body.user().empty() ? by.user : body.user();
    row.label = body.label();
    if (!is_subject_token(row.user))
        return invalid("bad_user", "'user' must be 1 to 64 characters of a-z 0-9 _ -", "user");
    if (row.label.size() > kMaxLabel)
        return invalid("bad_label", "'label' must be at most 200 bytes", "label");
    if (row.user != by.user && !is_admin(by.roles)) {
        return forbidden("role_missing", "only an admin may make tokens for others");
    }
    for (const auto& role : body.roles()) {
        if (!is_role(role))
            return invalid(
                "bad_role", "'roles' may hold viewer, operator, approver and admin", "roles"
            );
        if (!covers(by.roles, role))
            return forbidden("role_missing", "a token cannot have a role its maker does not have");
        row.roles.push_back(role);
    }
    if (row.roles.empty() && row.user == by.user) row.roles = by.roles;
    row.created_at = Clock::system().now();
    if (body.has_expires_at()) {
        row.expires_at = service::to_wall_time(body.expires_at());
        if (*row.expires_at <= row.created_at)
            return invalid("bad_expiry", "'expires_at' must be in the future", "expires_at");
    }
    // Or a sign-in would outlive its end by a token that it made for itself.
    if (by.expires_at && row.user == by.user) {
        if (row.expires_at && *row.expires_at > *by.expires_at)
            return invalid(
                "bad_expiry",
                "the token that asks for it ends before 'expires_at'; sign in again, or leave it "
                "out",
                "expires_at"
            );
        row.expires_at = row.expires_at ? *row.expires_at : *by.expires_at;
    }
    row.id = make_id("tk", row.created_at, Random::system());
    return row;
}

// The text of a token whose request may be repeated: from secrets of both sides, neither of which
// is enough alone.
Secret text_of(Api& api, const CallPtr& call, const std::string& command_id) {
    if (command_id.empty()) return identity::make_token();
    const auto own = token_of(call->request);
    return identity::derive_token(
        api.key, "token " + command_id + " " + (own ? own->reveal() : std::string())
    );
}

}  // namespace

v1::Token to_proto(const TokenRow& row) {
    v1::Token out;
    out.set_id(row.id);
    out.set_user(row.user);
    out.set_org(row.org);
    for (const auto& role : row.roles) out.add_roles(role);
    out.set_label(row.label);
    *out.mutable_created_at() = service::to_timestamp(row.created_at);
    if (row.expires_at) *out.mutable_expires_at() = service::to_timestamp(*row.expires_at);
    if (row.last_used_at) *out.mutable_last_used_at() = service::to_timestamp(*row.last_used_at);
    return out;
}

void on_worker(Api& api, const CallPtr& call, std::function<void()> task) {
    if (!api.workers.run(std::move(task)))
        call->fail(unavailable("overloaded", "too much is waiting already; try again in a moment"));
}

void whoami(Api&, const CallPtr& call) {
    v1::Whoami out;
    out.set_user(call->principal.user);
    out.set_org(call->principal.org);
    for (const auto& role : call->principal.roles) out.add_roles(role);
    out.set_token(call->principal.token_id);
    call->json(200, out);
}

void create_token(Api& api, const CallPtr& call) {
    v1::CreateToken body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    auto row = plan_token(body, call->principal);
    if (!row) return call->fail(row.error());
    auto command_id = command_id_of(*call);
    if (!command_id) return call->fail(command_id.error());
    // The body as it is meant: the same request in other words is the same.
    const std::string request = command_id->empty() ? "" : hex(identity::sha256(serialize(body)));
    on_worker(api, call, [&api, call, row = std::move(*row), key = *command_id, request] {
        const Secret token = text_of(api, call, key);
        const auto made = repo::create_token(
            api.pool, row, identity::hash_token(token), request, is_admin(call->principal.roles)
        );
        if (!made) return call->fail(made.error());
        auto out = to_proto(*made);
        out.set_text(token.reveal());
        call->json(
            201, out, {{"Location", "/v1/tokens/" + made->id}, {"Cache-Control", "no-store"}}
        );
    });
}

void list_tokens(Api& api, const CallPtr& call) {
    common::v1::Page page;
    if (auto read = read_page(call->request.query, page); !read) return call->fail(read.error());
    const int limit = service::page_size(page);
    std::string user = call->request.query.get_or("user", "");
    if (!is_admin(call->principal.roles)) user = call->principal.user;
    if (!is_utf8(user))
        return call->fail(invalid("bad_user", "'user' must be a user's name", "user"));
    on_worker(api, call, [&api, call, limit, user, cursor = page.cursor()] {
        // One more than asked for tells whether there is a next page.
        auto rows = repo::list_tokens(api.pool, call->principal.org, user, cursor, limit + 1);
        if (!rows) return call->fail(rows.error());
        v1::ListTokens out;
        const auto size = std::min(rows->size(), static_cast<std::size_t>(limit));
        for (std::size_t i = 0; i < size; ++i) *out.add_tokens() = to_proto((*rows)[i]);
        if (rows->size() > size) out.set_next_cursor((*rows)[size - 1].id);
        call->json(200, out);
    });
}

void delete_token(Api& api, const CallPtr& call) {
    const Error missing = not_found("token_not_found", "there is no such token");
    auto id = normalize_id("tk", call->param("id"));
    if (!id) return call->fail(missing);
    on_worker(api, call, [&api, call, missing, id = std::move(*id)] {
        const std::string user = is_admin(call->principal.roles) ? "" : call->principal.user;
        auto gone = repo::revoke_token(api.pool, call->principal.org, user, id);
        if (!gone) return call->fail(gone.error());
        if (!*gone) return call->fail(missing);
        api.auth.forget(id);
        api.streams.look_at_token(id);
        call->respond({204});
    });
}

}  // namespace berth::gateway
