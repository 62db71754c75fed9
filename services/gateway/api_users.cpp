// SPDX-License-Identifier: Apache-2.0
// /v1/users: an admin's list of who may do what in the org.
#include <algorithm>

#include "berth/gateway/v1/gateway.pb.h"
#include "core/id.hpp"
#include "core/text.hpp"
#include "gateway/api.hpp"
#include "gateway/repo_users.hpp"
#include "log/log.hpp"
#include "service/proto_time.hpp"
#include "service/request.hpp"

namespace berth::gateway {
namespace {

constexpr std::size_t kMaxSubject = 255;  // OpenID Connect Core: sub

v1::User to_proto(const UserRow& row) {
    v1::User out;
    out.set_name(row.name);
    out.set_org(row.org);
    for (const auto& role : row.roles) out.add_roles(role);
    out.set_disabled(row.disabled);
    *out.mutable_created_at() = service::to_timestamp(row.created_at);
    for (const auto& each : row.identities) {
        auto* identity = out.add_identities();
        identity->set_provider(each.provider);
        identity->set_subject(each.subject);
        identity->set_login(each.login);
    }
    return out;
}

template <typename Names>
Result<std::vector<std::string>> read_roles(const Names& names) {
    std::vector<std::string> out;
    for (const auto& name : names) {
        if (!is_role(name))
            return invalid(
                "bad_role", "'roles' may hold viewer, operator, approver and admin", "roles"
            );
        if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
    }
    return out;
}

// The user of the path, where it can be one; else the call is answered.
bool plausible_user(const CallPtr& call) {
    if (is_subject_token(call->param("name"))) return true;
    call->fail(not_found("user_not_found", "there is no such user"));
    return false;
}

bool known_kind(const CallPtr& call) {
    const auto& provider = call->param("provider");
    if (provider == "github" || provider == "oidc") return true;
    call->fail(invalid("bad_provider", "the provider must be github or oidc", "provider"));
    return false;
}

// Answers with the user as it is after a change.
void answer_user(Api& api, const CallPtr& call, const std::string& name, int status) {
    const auto row = repo::get_user(api.pool, call->principal.org, name);
    if (!row) return call->fail(row.error());
    call->json(status, to_proto(*row));
}

void told(const CallPtr& call, const char* what, const std::string& user) {
    log::info(what, {{"org", call->principal.org}, {"user", user}, {"by", call->principal.user}});
}

}  // namespace

void list_users(Api& api, const CallPtr& call) {
    common::v1::Page page;
    if (auto read = read_page(call->request.query, page); !read) return call->fail(read.error());
    const int limit = service::page_size(page);
    on_worker(api, call, [&api, call, limit, cursor = page.cursor()] {
        auto rows = repo::list_users(api.pool, call->principal.org, cursor, limit + 1);
        if (!rows) return call->fail(rows.error());
        v1::ListUsers out;
        const auto size = std::min(rows->size(), static_cast<std::size_t>(limit));
        for (std::size_t i = 0; i < size; ++i) *out.add_users() = to_proto((*rows)[i]);
        if (rows->size() > size) out.set_next_cursor((*rows)[size - 1].name);
        call->json(200, out);
    });
}

void get_user(Api& api, const CallPtr& call) {
    if (!plausible_user(call)) return;
    on_worker(api, call, [&api, call] { answer_user(api, call, call->param("name"), 200); });
}

void create_user(Api& api, const CallPtr& call) {
    v1::CreateUser body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    if (!is_subject_token(body.name()))
        return call->fail(
            invalid("bad_user", "'name' must be 1 to 64 characters of a-z 0-9 _ -", "name")
        );
    auto roles = read_roles(body.roles());
    if (!roles) return call->fail(roles.error());
    if (roles->empty())
        return call->fail(invalid("bad_role", "say which 'roles' the user has", "roles"));
    on_worker(api, call, [&api, call, name = body.name(), roles = std::move(*roles)] {
        const auto added = repo::add_user(api.pool, call->principal.org, name, roles);
        if (!added) return call->fail(added.error());
        told(call, "a user was added", name);
        answer_user(api, call, name, 201);
    });
}

void change_user(Api& api, const CallPtr& call) {
    if (!plausible_user(call)) return;
    v1::ChangeUser body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    auto roles = read_roles(body.roles());
    if (!roles) return call->fail(roles.error());
    std::optional<bool> disabled;
    if (body.has_disabled()) disabled = body.disabled();
    on_worker(api, call, [&api, call, disabled, roles = std::move(*roles)] {
        const std::string& name = call->param("name");
        service::Context cause;
        cause.now = Clock::system().now();
        cause.command_id = make_ulid(cause.now, Random::system());
        cause.correlation_id = cause.command_id;
        auto done = repo::change_user(api.pool, call->principal.org, name, roles, disabled, cause);
        if (!done) return call->fail(done.error());
        if (api.relay != nullptr) api.relay->publish_committed({std::move(*done)});
        api.auth.forget_user(call->principal.org, name);
        api.streams.look_at_user(call->principal.org, name);
        told(call, "a user was changed", name);
        answer_user(api, call, name, 200);
    });
}

void link_identity(Api& api, const CallPtr& call) {
    if (!plausible_user(call) || !known_kind(call)) return;
    v1::LinkIdentity body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    if (body.subject().empty() || body.subject().size() > kMaxSubject)
        return call->fail(invalid(
            "bad_subject",
            "'subject' must be the provider's own id of the person (GitHub: the number)",
            "subject"
        ));
    on_worker(api, call, [&api, call, subject = body.subject()] {
        const auto done = repo::link_identity(
            api.pool, call->principal.org, call->param("name"), call->param("provider"), subject
        );
        if (!done) return call->fail(done.error());
        told(call, "an identity was linked", call->param("name"));
        answer_user(api, call, call->param("name"), 200);
    });
}

void unlink_identity(Api& api, const CallPtr& call) {
    if (!plausible_user(call)) return;
    // Chat platforms, too: an admin ends what only the person could begin.
    if (!is_subject_token(call->param("provider")))
        return call->fail(invalid("bad_provider", "there is no such provider", "provider"));
    on_worker(api, call, [&api, call] {
        const auto done = repo::unlink_identity(
            api.pool, call->principal.org, call->param("name"), call->param("provider")
        );
        if (!done) return call->fail(done.error());
        told(call, "an identity was unlinked", call->param("name"));
        call->respond({204});
    });
}

}  // namespace berth::gateway
