// SPDX-License-Identifier: Apache-2.0
// The whole gateway on real sockets and a real PostgreSQL, with the bus in memory and owners that
// this test plays: what the HTTP API promises, whoever owns leases and runs.
#include "gateway/gateway.hpp"

#include <gtest/gtest.h>

#include <future>

#include "berth/gateway/v1/gateway.pb.h"
#include "berth/lease/v1/lease.pb.h"
#include "berth/run/v1/run.pb.h"
#include "berth/warden/v1/warden.pb.h"
#include "core/json.hpp"
#include "gateway/test_world.hpp"
#include "identity/token.hpp"
#include "net/http_client.hpp"

namespace berth::gateway {
namespace {

using namespace std::chrono_literals;

TEST(GatewayTest, TheRunsOfALeaseAreFoundByItsName) {
    World world;
    const auto asked_for = [&] {
        run::v1::List query;
        EXPECT_TRUE(query.ParseFromString(world.last().payload));
        return query.lease();
    };
    EXPECT_EQ(world.get("/v1/runs?lease=calm-otter").status, 200);
    EXPECT_EQ(asked_for(), world.lease.id());
    bool any = true;  // by the world's mutex
    {
        const std::lock_guard lock(world.mutex);
        world.decide = [&](const bus::Message& message) -> Reply {
            if (message.subject == "berth.qry.lease.get")
                return not_found("lease_not_found", "there is no such lease");
            if (message.subject != "berth.qry.run.list" || !any) return internal("default", "");
            run::v1::ListReply reply;
            reply.add_runs()->set_id("rn_1");
            return ok(reply);
        };
    }
    const auto unknown = world.get("/v1/runs?lease=no-otter");
    EXPECT_EQ(unknown.status, 404);
    EXPECT_EQ(world.code(unknown), "lease_not_found");
    const std::string by_id = "/v1/runs?lease=" + world.lease.id();
    EXPECT_EQ(world.get(by_id).status, 200) << "one's own of before, on a lease lent no more";
    {
        const std::lock_guard lock(world.mutex);
        any = false;
    }
    EXPECT_EQ(world.get(by_id).status, 404);
}

TEST(GatewayTest, RefusesWhoIsNotKnown) {
    World world;
    net::HttpClient client(world.gateway->url());
    auto response = client.send({"GET", "/v1/whoami"});
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status, 401);
    EXPECT_EQ(response->headers.get("WWW-Authenticate"), "Bearer realm=\"berth\"");
    EXPECT_EQ(world.code(*response), "unauthenticated");
    const Secret wrong = identity::make_token();
    EXPECT_EQ(world.get("/v1/whoami", &wrong).status, 401);
    const Secret nonsense("x");
    EXPECT_EQ(world.get("/v1/whoami", &nonsense).status, 401);
    EXPECT_EQ(client.send({"GET", "/v1/whoami?token=" + world.admin.reveal()})->status, 401);
    for (const char* path : {"/", "/healthz", "/v1/openapi.json"})
        EXPECT_EQ(client.send({"GET", path})->status, 200) << path;
    EXPECT_EQ(client.send({"GET", "/nowhere"})->status, 404);
    EXPECT_EQ(world.asks(), 0U);
}

TEST(GatewayTest, KnowsTheBootstrapTokenAndItsRole) {
    World world;
    const auto response = world.get("/v1/whoami");
    ASSERT_EQ(response.status, 200) << response.body;
    const auto json = Json::parse(response.body);
    EXPECT_EQ(json->string_or("user", ""), "admin");
    EXPECT_EQ(json->string_or("org", ""), "default");
    EXPECT_TRUE(json->string_or("token", "").starts_with("tk_"));
    EXPECT_EQ(response.body.find(world.admin.reveal()), std::string::npos);
}

TEST(GatewayTest, SaysWhatAPathTakes) {
    World world;
    const auto wrong = world.send({"PUT", "/v1/leases"});
    EXPECT_EQ(wrong.status, 405);
    EXPECT_EQ(wrong.headers.get("Allow"), "GET, HEAD, OPTIONS, POST");
    EXPECT_EQ(world.code(wrong), "method_not_allowed");
    const auto options = world.send({"OPTIONS", "/v1/leases/x"});
    EXPECT_EQ(options.status, 204);
    EXPECT_EQ(options.headers.get("Allow"), "DELETE, GET, HEAD, OPTIONS");
}

TEST(GatewayTest, AcquiresWithTheCallersWordsAndKey) {
    World world;
    net::HttpRequest request{
        "POST",
        "/v1/leases",
        {{"Idempotency-Key", "k1"}},
        R"({"profile":"big","ttl":"90m","one_shot":true,"label":"wt"})"};
    const auto response = world.send(request);
    ASSERT_EQ(response.status, 201) << response.body;
    EXPECT_EQ(response.headers.get("Location"), "/v1/leases/" + world.lease.id());
    EXPECT_EQ(Json::parse(response.body)->string_or("slug", ""), "calm-otter");
    const auto asked = world.last();
    EXPECT_EQ(asked.subject, "berth.cmd.lease.acquire");
    lease::v1::Acquire command;
    ASSERT_TRUE(command.ParseFromString(asked.payload));
    EXPECT_EQ(command.profile(), "big");
    EXPECT_EQ(command.ttl().seconds(), 5400);
    EXPECT_TRUE(command.one_shot());
    EXPECT_EQ(command.actor().user(), "admin");
    EXPECT_EQ(command.actor().roles(0), "admin");
    EXPECT_EQ(asked.header(bus::kCeId), identity::derive_command_id("default", "admin", "k1"));
    // The same key gives the same command, whatever attempt it is.
    world.send(request);
    EXPECT_EQ(world.last().header(bus::kCeId), asked.header(bus::kCeId));
    EXPECT_EQ(world.last().payload, asked.payload);
    // Without one each request is its own.
    world.post("/v1/leases", "");
    const std::string first(world.last().header(bus::kCeId));
    {
        const std::lock_guard lock(world.mutex);
        world.lease.set_state(lease::v1::LEASE_STATE_PENDING);
    }
    EXPECT_EQ(world.post("/v1/leases", "{}").status, 202);
    EXPECT_NE(world.last().header(bus::kCeId), first);
}

TEST(GatewayTest, AnswersBadInputWithAProblemAndAsksNobody) {
    World world;
    EXPECT_EQ(world.code(world.post("/v1/leases", R"({"ttl":"-5m"})")), "bad_duration");
    EXPECT_EQ(world.code(world.post("/v1/leases", R"({"profil":"x"})")), "unknown_field");
    EXPECT_EQ(world.code(world.post("/v1/leases", "{")), "bad_body");
    EXPECT_EQ(world.post("/v1/leases", "{").status, 400);
    EXPECT_EQ(
        world.send({"POST", "/v1/leases", {{"Content-Type", "text/plain"}}, "{}"}).status, 415
    );
    EXPECT_EQ(world.send({"POST", "/v1/leases", {{"Idempotency-Key", "a b"}}, "{}"}).status, 400);
    EXPECT_EQ(world.post("/v1/leases", std::string(2U << 20U, 'x')).status, 413);
    EXPECT_EQ(world.code(world.get("/v1/leases?limit=101")), "bad_limit");
    EXPECT_EQ(world.code(world.get("/v1/leases/x?wait=forever")), "bad_wait");
    EXPECT_EQ(world.get("/v1/leases/..%2f..").status, 404);
    EXPECT_EQ(world.get("/v1/leases/A%20B").status, 404);
    EXPECT_EQ(world.code(world.post("/v1/runs", R"({"lease":"x"})")), "bad_argv");
    EXPECT_EQ(world.code(world.post("/v1/runs", R"({"argv":["ls"]})")), "bad_lease");
    EXPECT_EQ(
        world.code(world.post("/v1/runs", R"({"lease":"x","argv":["a\u0000b"]})")), "bad_body"
    );
    EXPECT_EQ(
        world.code(world.post("/v1/runs", R"({"lease":"x","argv_bytes":["YQBi"]})")), "bad_argv"
    );
    const auto nul = world.post("/v1/leases", R"({"label":"a\u0000b"})");
    EXPECT_EQ(world.code(nul), "bad_body");
    EXPECT_EQ(json_of(nul).string_or("field", ""), "label");
    EXPECT_EQ(world.get("/v1/tokens?user=a%00b").status, 400);
    EXPECT_EQ(world.code(world.post("/v1/runs/x/signal", R"({"signal":99})")), "bad_signal");
    EXPECT_EQ(world.code(world.get("/v1/runs/x/output?offset=-1")), "bad_offset");
    EXPECT_EQ(world.code(world.get("/v1/events?subject=berth.evt.other.>")), "bad_subject");
    EXPECT_EQ(world.code(world.get("/v1/events?subject=berth.cmd.>")), "bad_subject");
    EXPECT_EQ(world.code(world.get("/v1/runs/x/attach")), "upgrade_required");
    EXPECT_EQ(world.asks(), 0U);
}

TEST(GatewayTest, HandsOnWhatTheOwnerRefuses) {
    World world([](GatewaySettings& settings) { settings.ask_timeout = 300ms; });
    {
        const std::lock_guard lock(world.mutex);
        world.decide = [](const bus::Message& message) -> Reply {
            if (message.subject == "berth.cmd.lease.heartbeat")
                return conflict("lease_ended", "the lease ended");
            if (message.subject == "berth.cmd.lease.acquire")
                return Error{Fault::kLimit, "lease_limit", "too many", "profile"};
            if (message.subject == "berth.cmd.run.cancel") return internal("silence", "");
            return not_found("lease_not_found", "there is no such lease");
        };
    }
    const auto ended = world.post("/v1/leases/x/heartbeat", "");
    EXPECT_EQ(ended.status, 409);
    EXPECT_EQ(world.code(ended), "lease_ended");
    const auto limit = world.post("/v1/leases", "{}");
    EXPECT_EQ(limit.status, 429);
    EXPECT_EQ(Json::parse(limit.body)->string_or("field", ""), "profile");
    EXPECT_EQ(world.get("/v1/leases/x").status, 404);
    EXPECT_EQ(world.send({"DELETE", "/v1/leases/x"}).status, 404);
    const auto silent = world.post("/v1/runs/x/cancel", "");
    EXPECT_EQ(silent.status, 504);
    EXPECT_EQ(world.code(silent), "no_answer");
}

TEST(GatewayTest, ARoleBoundsWhatATokenMayDo) {
    World world;
    const Secret viewer = world.make_token(R"({"roles":["viewer"],"user":"vera"})");
    const Secret worker = world.make_token(R"({"roles":["operator"],"user":"olga","label":"ci"})");
    EXPECT_EQ(world.get("/v1/leases", &viewer).status, 200);
    const auto refused = world.post("/v1/leases", "{}", &viewer);
    EXPECT_EQ(refused.status, 403);
    EXPECT_EQ(world.code(refused), "role_missing");
    EXPECT_EQ(world.post("/v1/runs", R"({"lease":"x","argv":["ls"]})", &viewer).status, 403);
    EXPECT_EQ(world.post("/v1/tokens", "{}", &viewer).status, 403);
    EXPECT_EQ(world.post("/v1/leases", "{}", &worker).status, 201);
    EXPECT_EQ(world.post("/v1/tokens", R"({"roles":["admin"]})", &worker).status, 403);
    EXPECT_EQ(
        world.post("/v1/tokens", R"({"user":"vera","roles":["operator"]})", &worker).status, 403
    );
    // The actor is the token's, not the admin's that made it.
    lease::v1::Acquire command;
    ASSERT_TRUE(command.ParseFromString(world.last().payload));
    EXPECT_EQ(command.actor().user(), "olga");
    EXPECT_EQ(command.actor().roles_size(), 1);
    // Each sees its own tokens, the admin all of them.
    EXPECT_EQ(
        Json::parse(world.get("/v1/tokens", &worker).body)->find("tokens")->as_array()->size(), 1U
    );
    const auto all = Json::parse(world.get("/v1/tokens?limit=2").body);
    EXPECT_EQ(all->find("tokens")->as_array()->size(), 2U);
    const auto rest =
        Json::parse(world.get("/v1/tokens?limit=2&cursor=" + all->string_or("next_cursor", "")).body
        );
    EXPECT_EQ(rest->find("tokens")->as_array()->size(), 1U);
    EXPECT_EQ(rest->string_or("next_cursor", "x"), "");
}

TEST(GatewayTest, ARevokedTokenIsRefusedAtOnceHereAndSoonElsewhere) {
    World world([](GatewaySettings& settings) { settings.token_cache = 300ms; });
    const Secret token = world.make_token(R"({"roles":["operator"],"user":"olga"})");
    const auto who = world.get("/v1/whoami", &token);
    ASSERT_EQ(who.status, 200);
    const auto id = Json::parse(who.body)->string_or("token", "");
    EXPECT_EQ(world.send({"DELETE", "/v1/tokens/" + id}).status, 204);
    EXPECT_EQ(world.get("/v1/whoami", &token).status, 401);
    EXPECT_EQ(world.send({"DELETE", "/v1/tokens/" + id}).status, 404);
    // Revoked behind the gateway's back, as another replica would.
    const Secret other = world.make_token(R"({"roles":["operator"],"user":"olga"})");
    ASSERT_EQ(world.get("/v1/whoami", &other).status, 200);
    ASSERT_TRUE(world.pool.exec_autocommit(
        store::Statement("UPDATE tokens SET revoked_at = now() WHERE owner = 'olga'")
    ));
    const auto until = std::chrono::steady_clock::now() + 5s;
    int status = 200;
    while (status == 200 && std::chrono::steady_clock::now() < until)
        status = world.get("/v1/whoami", &other).status;
    EXPECT_EQ(status, 401);
}

TEST(GatewayTest, AHeartbeatReadsNoTable) {
    World world;
    ASSERT_EQ(world.get("/v1/whoami").status, 200);
    ASSERT_TRUE(world.pool.exec_autocommit(store::Statement("DROP TABLE tokens CASCADE")));
    for (int i = 0; i < 20; ++i)
        ASSERT_EQ(world.post("/v1/leases/calm-otter/heartbeat", "").status, 200);
}

TEST(GatewayTest, AWaitEndsWithTheEvent) {
    World world;
    {
        const std::lock_guard lock(world.mutex);
        world.lease.set_state(lease::v1::LEASE_STATE_PENDING);
    }
    auto waiting = std::async(std::launch::async, [&] {
        return world.get("/v1/leases/calm-otter?wait=active&timeout=20s");
    });
    // The first look, and the second one that follows the watch.
    const auto until = std::chrono::steady_clock::now() + 5s;
    while (world.asks() < 2 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    lease::v1::LeaseChanged change;
    {
        const std::lock_guard lock(world.mutex);
        world.lease.set_state(lease::v1::LEASE_STATE_ACTIVE);
        *change.mutable_lease() = world.lease;
    }
    const auto begun = std::chrono::steady_clock::now();
    world.publish_event("berth.evt.default.lease.lease.activated." + world.lease.id(), change);
    const auto response = waiting.get();
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s) << "half of its wait";
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(Json::parse(response.body)->string_or("state", ""), "LEASE_STATE_ACTIVE");
}

TEST(GatewayTest, ToTryAgainIsSaidOnlyWhereThatMayHelp) {
    World world;
    const auto detail = [&world](const char* reason) {
        {
            const std::lock_guard lock(world.mutex);
            world.lease.set_state(lease::v1::LEASE_STATE_FAILED);
            world.lease.set_end_reason(reason);
        }
        const auto response = world.get("/v1/leases/calm-otter?wait=active&timeout=20s");
        EXPECT_EQ(response.status, 503) << response.body;
        return Json::parse(response.body).value().string_or("detail", "");
    };
    EXPECT_NE(detail("capacity_exhausted").find("try again later"), std::string::npos);
    EXPECT_EQ(detail("host_key_mismatch").find("try again later"), std::string::npos);
}

TEST(GatewayTest, ALeaseWithoutAMachineIsAProblemWithEachAttemptForWhoeverWaitedForIt) {
    World world;
    {
        const std::lock_guard lock(world.mutex);
        world.lease.set_state(lease::v1::LEASE_STATE_FAILED);
        world.lease.set_end_reason("capacity_exhausted");
        world.lease.set_end_detail("no room: cx22 in fsn1: resource_unavailable");
        lease::v1::Attempt& attempt = *world.lease.add_attempts();
        attempt.set_provider("hetzner");
        attempt.set_target("cx22 in fsn1");
        attempt.set_code("resource_unavailable");
    }
    for (const auto& response :
         {world.get("/v1/leases/calm-otter?wait=active&timeout=20s"),
          world.post("/v1/leases?wait=active", "{}")}) {
        EXPECT_EQ(response.status, 503) << response.body;
        EXPECT_EQ(response.headers.get("Content-Type"), "application/problem+json");
        const auto problem = Json::parse(response.body);
        ASSERT_TRUE(problem);
        EXPECT_EQ(problem->string_or("code", ""), "capacity_exhausted");
        EXPECT_NE(problem->string_or("detail", "").find("calm-otter"), std::string::npos);
        const Json* attempts = problem->find("attempts");
        ASSERT_TRUE(attempts != nullptr && attempts->as_array()->size() == 1) << response.body;
        const Json& attempt = attempts->as_array()->front();
        EXPECT_EQ(attempt.string_or("provider", ""), "hetzner");
        EXPECT_EQ(attempt.string_or("target", ""), "cx22 in fsn1");
        EXPECT_EQ(attempt.string_or("code", ""), "resource_unavailable");
    }
    const auto plain = world.get("/v1/leases/calm-otter");
    EXPECT_EQ(plain.status, 200) << "a look at it is no failure";
    EXPECT_NE(plain.body.find("\"attempts\":[{"), std::string::npos) << plain.body;
    EXPECT_EQ(world.get("/v1/leases/calm-otter?wait=gone").status, 400);
    EXPECT_EQ(world.post("/v1/leases?wait=gone", "{}").status, 400);
}

TEST(GatewayTest, AWaitThatIsOverTellsHowThingsAre) {
    World world;
    const auto begun = std::chrono::steady_clock::now();
    const auto response = world.get("/v1/runs/" + world.run.id() + "?wait=ended&timeout=300ms");
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(Json::parse(response.body)->string_or("state", ""), "RUN_STATE_RUNNING");
    EXPECT_GE(std::chrono::steady_clock::now() - begun, 300ms);
}

TEST(GatewayTest, ShowsWhoIsAlive) {
    World world;
    v1::ServicePresence presence;
    presence.set_ready(true);
    ASSERT_TRUE(world.owner_bus->publish_plain("berth.live.lease.i1", presence.SerializeAsString())
    );
    const auto until = std::chrono::steady_clock::now() + 5s;
    std::string body;
    while (body.find("\"i1\"") == std::string::npos && std::chrono::steady_clock::now() < until)
        body = world.get("/v1/status").body;
    EXPECT_NE(body.find("\"name\":\"lease\",\"instance\":\"i1\",\"ready\":true"), std::string::npos)
        << body;
}

TEST(GatewayTest, NothingIsDecidedByLeavingItOut) {
    World world;
    for (const char* body : {"{}", R"({"comment":"fine"})", R"({"approve":null})"}) {
        const auto refused = world.post("/v1/approvals/ap_1/decide", body);
        EXPECT_EQ(refused.status, 400) << body << refused.body;
        EXPECT_EQ(world.code(refused), "bad_body") << body;
        EXPECT_EQ(Json::parse(refused.body)->string_or("field", ""), "approve");
    }
    EXPECT_EQ(world.asks(), 0U);
    EXPECT_EQ(world.post("/v1/approvals/ap_1/decide", R"({"approve":false})").status, 200);
    warden::v1::Decide command;
    ASSERT_TRUE(command.ParseFromString(world.last().payload));
    EXPECT_FALSE(command.approve());
}

// The audit says where a decision was made; what a chat platform's was is its bridge's to say.
TEST(GatewayTest, AClientNamesNoSurfaceButItsOwn) {
    World world;
    const auto decide = [&](const std::string& more) {
        return world.post("/v1/approvals/ap_1/decide", R"({"approve":true)" + more + "}");
    };
    const auto refused = decide(R"(,"surface":"slack")");
    EXPECT_EQ(refused.status, 400) << refused.body;
    EXPECT_EQ(world.code(refused), "bad_surface");
    EXPECT_EQ(Json::parse(refused.body)->string_or("field", ""), "surface");
    EXPECT_EQ(world.asks(), 0U);
    for (const auto& [more, wanted] : std::vector<std::pair<std::string, std::string>>{
             {"", "api"}, {R"(,"surface":"cli")", "cli"}, {R"(,"surface":"web")", "web"}}) {
        EXPECT_EQ(decide(more).status, 200);
        warden::v1::Decide command;
        ASSERT_TRUE(command.ParseFromString(world.last().payload));
        EXPECT_EQ(command.surface(), wanted);
    }
}

}  // namespace
}  // namespace berth::gateway
