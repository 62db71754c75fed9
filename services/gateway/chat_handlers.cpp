// SPDX-License-Identifier: Apache-2.0
// The gateway's own commands and questions; everything else on the bus it asks of others.
#include "gateway/chat_handlers.hpp"

#include "berth/gateway/v1/chat.pb.h"
#include "core/id.hpp"
#include "core/text.hpp"
#include "gateway/repo_chat.hpp"
#include "identity/token.hpp"
#include "log/log.hpp"
#include "service/request.hpp"

namespace berth::gateway {
namespace {

using service::Context;
using service::Decision;

constexpr std::size_t kMaxPerson = 255;
constexpr std::size_t kMaxCode = 64;

v1::PersonReply to_reply(const PersonRow& person) {
    v1::PersonReply reply;
    reply.set_disabled(person.disabled);
    if (person.disabled) return reply;
    reply.set_known(true);
    reply.mutable_actor()->set_org(person.org);
    reply.mutable_actor()->set_user(person.user);
    for (const auto& role : person.roles) reply.mutable_actor()->add_roles(role);
    return reply;
}

template <typename Request>
Result<void> check(const Request& request) {
    if (!is_subject_token(request.org())) return invalid("bad_org", "no org is named", "org");
    // The providers of sign-ins are not a bridge's to speak for.
    if (!is_subject_token(request.platform()) || request.platform() == "github" ||
        request.platform() == "oidc")
        return invalid("bad_platform", "no chat platform is named", "platform");
    if (request.person_id().empty() || request.person_id().size() > kMaxPerson)
        return invalid("bad_person", "no person is named", "person_id");
    return {};
}

Result<Decision> who_is(store::Pool& pool, const std::string& payload) {
    BERTH_ASSIGN(const auto asked, service::decode<v1::PersonAsked>(payload));
    BERTH_TRY(check(asked));
    BERTH_ASSIGN(
        const auto person, repo::find_person(pool, asked.org(), asked.platform(), asked.person_id())
    );
    return service::reply_with(person ? to_reply(*person) : v1::PersonReply());
}

Result<Decision> link(const Context& context, const std::string& payload, store::Transaction& tx) {
    BERTH_ASSIGN(const auto request, service::decode<v1::LinkPerson>(payload));
    BERTH_TRY(check(request));
    if (request.code().size() > kMaxCode || request.person_name().size() > kMaxPerson)
        return invalid("bad_person", "code or name is too long", "code");
    const auto linked = repo::link_person(
        tx,
        {request.org(),
         request.platform(),
         request.person_id(),
         request.person_name(),
         identity::hash_token(Secret(plain_code(request.code())))},
        context.now
    );
    // A wrong try must be remembered, so this refusal commits.
    if (!linked && linked.error().code == "bad_code")
        return service::refuse_with(linked.error(), {});
    if (!linked) return linked.error();
    log::info(
        "a chat identity was linked",
        {{"org", linked->org}, {"user", linked->user}, {"platform", request.platform()}}
    );
    return service::reply_with(to_reply(*linked));
}

}  // namespace

std::string plain_code(std::string_view typed) {
    std::string out;
    for (char c : typed) {
        if (c == ' ' || c == '-') continue;
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
        out.push_back(c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c);
    }
    return out;
}

void bind_chat(service::Handlers& handlers, store::Pool& pool) {
    handlers.query("person", [&pool](const Context&, const std::string& payload) {
        return who_is(pool, payload);
    });
    handlers.command("link_person", link);
}

}  // namespace berth::gateway
