// SPDX-License-Identifier: Apache-2.0
// /v1/chat: a person's own links to chat platforms, and the codes that make them.
#include <array>

#include "berth/gateway/v1/chat.pb.h"
#include "core/id.hpp"
#include "core/random.hpp"
#include "gateway/api.hpp"
#include "gateway/chat_handlers.hpp"
#include "gateway/repo_chat.hpp"
#include "identity/token.hpp"
#include "log/log.hpp"
#include "service/proto_time.hpp"

namespace berth::gateway {
namespace {

// Crockford's base32: nothing in it is read or heard as something else. 40 bits, ten minutes and a
// few tries an hour leave nothing to guess.
constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::size_t kLetters = 8;

std::string make_code() {
    std::string out;
    for (std::size_t i = 0; i < kLetters; ++i) {
        if (i == kLetters / 2) out.push_back('-');
        out.push_back(kAlphabet[Random::system().below(kAlphabet.size())]);
    }
    return out;
}

}  // namespace

void create_chat_code(Api& api, const CallPtr& call) {
    on_worker(api, call, [&api, call] {
        const auto& who = call->principal;
        const std::string code = make_code();
        const WallTime expires_at = Clock::system().now() + kChatCodeLife;
        const auto stored = repo::set_chat_code(
            api.pool, who.org, who.user, identity::hash_token(Secret(plain_code(code))), expires_at
        );
        if (!stored) return call->fail(stored.error());
        v1::ChatCode out;
        out.set_code(code);
        *out.mutable_expires_at() = service::to_timestamp(expires_at);
        call->json(201, out, {{"Cache-Control", "no-store"}});
    });
}

void list_chat_links(Api& api, const CallPtr& call) {
    on_worker(api, call, [&api, call] {
        const auto links =
            repo::list_chat_links(api.pool, call->principal.org, call->principal.user);
        if (!links) return call->fail(links.error());
        v1::ChatLinks out;
        for (const auto& row : *links) {
            auto* link = out.add_links();
            link->set_platform(row.platform);
            link->set_person_id(row.person_id);
            link->set_person_name(row.person_name);
            *link->mutable_linked_at() = service::to_timestamp(row.linked_at);
        }
        call->json(200, out);
    });
}

void drop_chat_link(Api& api, const CallPtr& call) {
    on_worker(api, call, [&api, call] {
        const auto& who = call->principal;
        const auto gone =
            repo::drop_chat_link(api.pool, who.org, who.user, call->param("platform"));
        if (!gone) return call->fail(gone.error());
        if (!*gone)
            return call->fail(not_found("link_not_found", "you are not linked to this platform"));
        log::info(
            "a chat identity was unlinked",
            {{"org", who.org}, {"user", who.user}, {"platform", call->param("platform")}}
        );
        call->respond({204});
    });
}

}  // namespace berth::gateway
