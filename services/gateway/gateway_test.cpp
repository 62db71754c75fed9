// SPDX-License-Identifier: Apache-2.0
// The whole gateway on real sockets and a real PostgreSQL, with the bus in memory and owners that
// this test plays: what the HTTP API promises, whoever owns leases and runs.
#include "gateway/gateway.hpp"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <latch>
#include <mutex>

#include "berth/gateway/v1/gateway.pb.h"
#include "berth/lease/v1/lease.pb.h"
#include "berth/node/v1/node.pb.h"
#include "berth/run/v1/run.pb.h"
#include "bus/byte_channel.hpp"
#include "core/id.hpp"
#include "core/json.hpp"
#include "gateway/json_body.hpp"
#include "gateway/test_world.hpp"
#include "identity/token.hpp"
#include "net/http_client.hpp"
#include "net/ws_client.hpp"

namespace berth::gateway {
namespace {

using namespace std::chrono_literals;

// Collects what a WebSocket gives, and waits for it.
struct Listener {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::string> messages;
    int code = 0;
    std::string reason;
    std::unique_ptr<net::WsClient> client;
    net::WsRefusal refusal;

    Listener(World& world, const std::string& path, bool by_protocol = false) {
        net::WsClientEvents events;
        events.on_message = [this](std::string_view bytes, bool) {
            const std::lock_guard lock(mutex);
            messages.emplace_back(bytes);
            changed.notify_all();
        };
        events.on_closed = [this](int c, const std::string& r) {
            const std::lock_guard lock(mutex);
            code = c;
            reason = r;
            changed.notify_all();
        };
        net::WsClientOptions options;
        if (by_protocol) {
            options.headers.add(
                "Sec-WebSocket-Protocol", "berth.v1, berth.bearer." + world.admin.reveal()
            );
        } else {
            options.headers.add("Authorization", "Bearer " + world.admin.reveal());
        }
        auto connected = net::WsClient::connect(
            world.gateway->url(), path, options, std::move(events), &refusal
        );
        if (connected) client = std::move(*connected);
    }
    bool wait(const std::function<bool()>& done, milliseconds limit = 8s) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, limit, done);
    }
};

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
        world.code(world.post("/v1/runs", R"({"lease":"x","argv":["a\u0000b"]})")), "bad_argv"
    );
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
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 2s);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(Json::parse(response.body)->string_or("state", ""), "LEASE_STATE_ACTIVE");
}

TEST(GatewayTest, AWaitThatIsOverTellsHowThingsAre) {
    World world;
    const auto begun = std::chrono::steady_clock::now();
    const auto response = world.get("/v1/runs/" + world.run.id() + "?wait=ended&timeout=300ms");
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(Json::parse(response.body)->string_or("state", ""), "RUN_STATE_RUNNING");
    EXPECT_GE(std::chrono::steady_clock::now() - begun, 300ms);
}

TEST(GatewayTest, StreamsTheOrgsEventsAndResumes) {
    World world;
    run::v1::RunChanged change;
    change.mutable_run()->set_id("rn_1");
    world.publish_event("berth.evt.default.run.run.created.rn_1", change, "one");
    world.publish_event("berth.evt.other.run.run.created.rn_2", change, "foreign");
    world.publish_event("berth.evt.default.run.run.started.rn_1", change, "two");
    const auto read = [&](net::HeaderMap headers, const std::string& path, const std::string& last
                      ) {
        net::HttpClient client(world.gateway->url());
        headers.add("Authorization", "Bearer " + world.admin.reveal());
        std::string text;
        auto done = client.stream({"GET", path, headers, "", 8s}, [&](std::string_view bytes) {
            text += bytes;
            return text.find(last) == std::string::npos;
        });
        EXPECT_TRUE(done) << done.error().describe();
        return text;
    };
    const auto all = read({{"Last-Event-ID", "0"}}, "/v1/events", "\"two\"");
    EXPECT_NE(
        all.find(
            "id: 1\nevent: berth.run.v1.RunChanged\ndata: {\"specversion\":\"1.0\",\"id\":\"one\""
        ),
        std::string::npos
    ) << all;
    EXPECT_NE(all.find("\"data\":{\"run\":{\"id\":\"rn_1\""), std::string::npos) << all;
    EXPECT_EQ(all.find("foreign"), std::string::npos);
    const auto rest = read({{"Last-Event-ID", "1"}}, "/v1/events", "\"two\"");
    EXPECT_EQ(rest.find("\"one\""), std::string::npos);
    const auto narrow = read(
        {{"Last-Event-ID", "0"}},
        "/v1/events?subject=berth.evt.default.run.run.started.*",
        "\"two\""
    );
    EXPECT_EQ(narrow.find("\"one\""), std::string::npos);
}

TEST(GatewayTest, GivesTheRawOutput) {
    World world;
    world.publish_frame(0, run::v1::STREAM_STDOUT, "out1");
    world.publish_frame(4, run::v1::STREAM_STDERR, std::string("e\0r", 3));
    world.publish_frame(7, run::v1::STREAM_STDOUT, "out2");
    const std::string path = "/v1/runs/" + world.run.id() + "/output";
    EXPECT_EQ(world.get(path).body, std::string("out1e\0rout2", 11));
    EXPECT_EQ(world.get(path + "?stream=stderr").body, std::string("e\0r", 3));
    EXPECT_EQ(world.get(path + "?stream=stdout&offset=2").body, "t1out2");
    auto following =
        std::async(std::launch::async, [&] { return world.get(path + "?follow=1&offset=7").body; });
    world.publish_frame(11, run::v1::STREAM_STDOUT, "out3");
    world.publish_frame(15, run::v1::STREAM_UNSPECIFIED, "", true);
    EXPECT_EQ(following.get(), "out2out3");
}

TEST(GatewayTest, AttachReplaysFollowsAndEnds) {
    World world;
    world.publish_frame(0, run::v1::STREAM_STDOUT, "before");
    {
        Listener listener(world, "/v1/runs/" + world.run.id() + "/attach");
        ASSERT_TRUE(listener.client);
        ASSERT_TRUE(listener.wait([&] { return listener.messages.size() == 1; }));
        world.publish_frame(6, run::v1::STREAM_STDERR, "after");
        world.publish_frame(11, run::v1::STREAM_UNSPECIFIED, "", true);
        ASSERT_TRUE(listener.wait([&] { return listener.code != 0; }));
        EXPECT_EQ(listener.code, 1000);
        ASSERT_EQ(listener.messages.size(), 3U);
        run::v1::OutputFrame frame;
        ASSERT_TRUE(frame.ParseFromString(listener.messages[2]));
        EXPECT_EQ(frame.end().exit_code(), 37);
    }
    // A browser's way in, from an offset on.
    Listener late(world, "/v1/runs/" + world.run.id() + "/attach?offset=6", true);
    ASSERT_TRUE(late.client) << late.refusal.body;
    ASSERT_TRUE(late.wait([&] { return late.code != 0; }));
    ASSERT_EQ(late.messages.size(), 2U);
    run::v1::OutputFrame frame;
    ASSERT_TRUE(frame.ParseFromString(late.messages[0]));
    EXPECT_EQ(frame.data(), "after");
}

TEST(GatewayTest, AttachEndsThoughTheLastFrameWasLost) {
    World world;
    world.publish_frame(0, run::v1::STREAM_STDOUT, "partial");
    Listener listener(world, "/v1/runs/" + world.run.id() + "/attach");
    ASSERT_TRUE(listener.client);
    ASSERT_TRUE(listener.wait([&] { return listener.messages.size() == 1; }));
    run::v1::RunChanged change;
    {
        const std::lock_guard lock(world.mutex);
        world.run.set_state(run::v1::RUN_STATE_LOST);
        world.run.set_reason("the machine died");
        world.run.set_failure_origin("berth");
        world.run.set_revision(2);
        *change.mutable_run() = world.run;
    }
    world.publish_event("berth.evt.default.run.run.lost." + world.run.id(), change);
    ASSERT_TRUE(listener.wait([&] { return listener.code != 0; }, 12s));
    EXPECT_EQ(listener.code, 1000);
    ASSERT_EQ(listener.messages.size(), 2U);
    run::v1::OutputFrame frame;
    ASSERT_TRUE(frame.ParseFromString(listener.messages[1]));
    EXPECT_EQ(frame.end().state(), run::v1::RUN_STATE_LOST);
    EXPECT_EQ(frame.end().reason(), "the machine died");
    EXPECT_EQ(frame.end().origin(), "berth");
}

TEST(GatewayTest, AttachIsRefusedBeforeItIsOpened) {
    World world;
    {
        const std::lock_guard lock(world.mutex);
        world.decide = [](const bus::Message&) -> Reply {
            return not_found("run_not_found", "there is no such run");
        };
    }
    Listener listener(world, "/v1/runs/" + world.run.id() + "/attach");
    EXPECT_FALSE(listener.client);
    EXPECT_EQ(listener.refusal.status, 404);
    EXPECT_NE(listener.refusal.body.find("run_not_found"), std::string::npos);
}

// The other end of a byte channel, as a machine has it.
struct Machine {
    std::mutex mutex;
    std::condition_variable changed;
    std::string got;
    bool eof = false;
    unsigned rows = 0;
    std::unique_ptr<bus::ByteChannel> channel;
    std::latch opened{1};
    bool echo = false;

    Machine(bus::Connection& bus, const std::string& name, bool echoes) : echo(echoes) {
        bus::ByteChannel::Events events;
        events.on_data = [this](std::string_view bytes) {
            opened.wait();
            if (echo) {
                std::string rest(bytes);
                while (!rest.empty()) {
                    rest.erase(0, channel->send(rest));
                    // Room is told on the thread that waits here.
                    if (!rest.empty()) std::this_thread::sleep_for(1ms);
                }
            }
            channel->consume(bytes.size());
            const std::lock_guard lock(mutex);
            got.append(bytes);
            changed.notify_all();
        };
        events.on_eof = [this] {
            opened.wait();
            if (echo) channel->finish(0);
            const std::lock_guard lock(mutex);
            eof = true;
            changed.notify_all();
        };
        events.on_resize = [this](unsigned r, unsigned) {
            const std::lock_guard lock(mutex);
            rows = r;
            changed.notify_all();
        };
        const std::string base = "berth.io.m_1." + name;
        channel =
            std::move(*bus::ByteChannel::open(bus, {base + ".out", base + ".in"}, std::move(events))
            );
        opened.count_down();
    }
    bool wait(const std::function<bool()>& done) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, 8s, done);
    }
};

TEST(GatewayTest, AttachFeedsStdin) {
    World world;
    Machine machine(*world.owner_bus, world.run.id(), false);
    Listener listener(world, "/v1/runs/" + world.run.id() + "/attach?stdin=1");
    ASSERT_TRUE(listener.client) << listener.refusal.body;
    const auto feed = [&](const std::function<void(node::v1::ChannelFrame&)>& fill) {
        node::v1::ChannelFrame frame;
        fill(frame);
        ASSERT_TRUE(listener.client->send_binary(frame.SerializeAsString()));
    };
    feed([](auto& frame) { frame.set_data("hello "); });
    feed([](auto& frame) {
        frame.set_rows(50);
        frame.set_cols(100);
    });
    feed([](auto& frame) {
        frame.set_data("world");
        frame.set_eof(true);
    });
    EXPECT_TRUE(machine.wait([&] { return machine.eof && machine.rows == 50; }));
    EXPECT_EQ(machine.got, "hello world");
    world.publish_frame(0, run::v1::STREAM_UNSPECIFIED, "", true);
    ASSERT_TRUE(listener.wait([&] { return listener.code != 0; }));
    EXPECT_EQ(listener.code, 1000);
}

TEST(GatewayTest, InputToAnAttachmentWithoutIsAnError) {
    World world;
    Listener listener(world, "/v1/runs/" + world.run.id() + "/attach");
    ASSERT_TRUE(listener.client);
    ASSERT_TRUE(listener.client->send_binary(std::string("\x12\x01x", 3)));
    ASSERT_TRUE(listener.wait([&] { return listener.code != 0; }));
    EXPECT_EQ(listener.code, 1008);
}

TEST(GatewayTest, SyncCarriesBytesBothWaysAndEndsInOrder) {
    World world;
    {
        const std::lock_guard lock(world.mutex);
        world.decide = [](const bus::Message& message) -> Reply {
            if (message.subject != "berth.cmd.run.open_sync") return internal("default", "");
            run::v1::SyncOpened opened;
            opened.set_channel("ch_1");
            opened.set_machine("m_1");
            return ok(opened);
        };
    }
    Machine machine(*world.owner_bus, "ch_1", true);
    Listener listener(world, "/v1/leases/calm-otter/sync?delete=1");
    ASSERT_TRUE(listener.client) << listener.refusal.body;
    run::v1::OpenSync command;
    ASSERT_TRUE(command.ParseFromString(world.last().payload));
    EXPECT_TRUE(command.delete_extraneous());
    // Several windows' worth, so that credit has to come back.
    constexpr std::size_t kTotal = 12U << 20U;
    std::string block(32U << 10U, '\0');
    std::string sent;
    for (std::size_t at = 0; at < kTotal; at += block.size()) {
        for (std::size_t i = 0; i < block.size(); i += 512) block[i] = static_cast<char>(at >> 15U);
        sent += block;
        ASSERT_TRUE(listener.client->send_binary(block));
    }
    ASSERT_TRUE(listener.client->send_text("eof"));
    ASSERT_TRUE(listener.wait([&] { return listener.code != 0; }, 60s));
    EXPECT_EQ(listener.code, 1000) << listener.reason;
    std::string back;
    for (const auto& piece : listener.messages) back += piece;
    EXPECT_TRUE(back == sent) << back.size();
}

TEST(GatewayTest, OneUserHoldsOnlySoManyStreams) {
    World world([](GatewaySettings& settings) { settings.streams_per_user = 2; });
    Listener a(world, "/v1/runs/" + world.run.id() + "/attach");
    Listener b(world, "/v1/runs/" + world.run.id() + "/attach");
    ASSERT_TRUE(a.client && b.client);
    Listener c(world, "/v1/runs/" + world.run.id() + "/attach");
    EXPECT_FALSE(c.client);
    EXPECT_EQ(c.refusal.status, 429);
    a.client.reset();
    const auto until = std::chrono::steady_clock::now() + 5s;
    bool again = false;
    while (!again && std::chrono::steady_clock::now() < until) {
        again = Listener(world, "/v1/runs/" + world.run.id() + "/attach").client != nullptr;
    }
    EXPECT_TRUE(again);
}

TEST(GatewayTest, StopsWithOpenStreams) {
    World world;
    Listener listener(world, "/v1/runs/" + world.run.id() + "/attach");
    ASSERT_TRUE(listener.client);
    const auto begun = std::chrono::steady_clock::now();
    world.gateway->stop();
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 4s);
    EXPECT_TRUE(listener.wait([&] { return listener.code == 1001; }));
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

}  // namespace
}  // namespace berth::gateway
