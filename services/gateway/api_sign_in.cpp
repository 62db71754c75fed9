// SPDX-License-Identifier: Apache-2.0
// /v1/sign_in: open to anybody, so it tells nothing but what the one signing in may know, and the
// number of sign-ins under way is limited.
#include "berth/gateway/v1/gateway.pb.h"
#include "gateway/address_limit.hpp"
#include "gateway/api.hpp"
#include "gateway/sign_in.hpp"
#include "net/peer.hpp"
#include "service/proto_time.hpp"

namespace berth::gateway {
namespace {

const net::HeaderMap kNoStore{{"Cache-Control", "no-store"}};

// The provider of the path, where it is configured; else the call is answered.
bool known_provider(Api& api, const CallPtr& call) {
    if (api.sign_in.has(call->param("provider"))) return true;
    std::string all;
    for (const auto& each : api.sign_in.providers()) all += (all.empty() ? "" : ", ") + each;
    call->fail(not_found(
        "no_such_provider",
        all.empty() ? "this gateway has no sign-in provider; log in with a token"
                    : "this gateway signs in by: " + all
    ));
    return false;
}

void on_sign_in_thread(Api& api, const CallPtr& call, std::function<void()> task) {
    if (!api.sign_in.run(std::move(task)))
        call->fail(unavailable("overloaded", "too many sign-ins at once; try again in a moment"));
}

}  // namespace

void list_sign_in(Api& api, const CallPtr& call) {
    v1::SignInProviders out;
    for (const auto& each : api.sign_in.providers()) out.add_providers(each);
    call->json(200, out);
}

void begin_sign_in(Api& api, const CallPtr& call) {
    if (!api.sign_ins.take(net::peer_address(call->request), std::chrono::steady_clock::now()))
        return call->fail(too_often());
    if (!known_provider(api, call)) return;
    on_sign_in_thread(api, call, [&api, call] {
        const auto begun = api.sign_in.begin(call->param("provider"));
        if (!begun) return call->fail(begun.error());
        v1::SignInStarted out;
        out.set_login(begun->login.reveal());
        out.set_user_code(begun->device.user_code);
        out.set_verification_uri(begun->device.verification_uri);
        out.set_verification_uri_complete(begun->device.verification_uri_complete);
        *out.mutable_expires_at() = service::to_timestamp(begun->expires_at);
        out.set_interval_s(static_cast<std::uint32_t>(begun->device.interval.count()));
        call->json(201, out, kNoStore);
    });
}

void poll_sign_in(Api& api, const CallPtr& call) {
    if (!known_provider(api, call)) return;
    v1::PollSignIn body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    on_sign_in_thread(api, call, [&api, call, login = Secret(body.login())] {
        auto polled = api.sign_in.poll(call->param("provider"), login);
        if (!polled) return call->fail(polled.error());
        if (const int* interval = std::get_if<int>(&*polled)) {
            v1::SignInPending out;
            out.set_interval_s(static_cast<std::uint32_t>(*interval));
            return call->json(202, out, kNoStore);
        }
        const auto& token = std::get<SignedInToken>(*polled);
        v1::Token out = to_proto(token.row);
        out.set_text(token.text.reveal());
        call->json(200, out, kNoStore);
    });
}

}  // namespace berth::gateway
