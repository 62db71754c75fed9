// SPDX-License-Identifier: Apache-2.0
// What is served from memory: status, the API's description, the status page and the health answer.
#include "gateway/api.hpp"
#include "gateway/embedded.hpp"

namespace berth::gateway {
namespace {

// The page loads nothing and talks to nobody but its own server.
constexpr const char* kPagePolicy =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src "
    "'self'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

}  // namespace

std::string_view openapi_json() { return kOpenapiJson; }

void get_status(Api& api, const CallPtr& call) {
    call->json(200, api.presences.status(call->principal.org, Clock::system().now()));
}

void get_openapi(Api&, const CallPtr& call) {
    call->respond({200, "application/json", {}, std::string(openapi_json())});
}

void get_page(Api&, const CallPtr& call) {
    call->respond(
        {200,
         "text/html; charset=utf-8",
         {{"Content-Security-Policy", kPagePolicy},
          {"Referrer-Policy", "no-referrer"},
          {"X-Content-Type-Options", "nosniff"}},
         std::string(kPageHtml)}
    );
}

void get_health(Api&, const CallPtr& call) { call->respond({200, "text/plain", {}, "ok\n"}); }

}  // namespace berth::gateway
