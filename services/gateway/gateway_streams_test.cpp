// SPDX-License-Identifier: Apache-2.0
// What the gateway keeps open, in the world of gateway_test.cpp: events, outputs, attachments to
// runs, and file sync.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <latch>
#include <mutex>

#include "berth/node/v1/node.pb.h"
#include "berth/run/v1/run.pb.h"
#include "bus/byte_channel.hpp"
#include "core/json.hpp"
#include "gateway/gateway.hpp"
#include "gateway/test_world.hpp"
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

    Listener(
        World& world,
        const std::string& path,
        bool by_protocol = false,
        const Secret* token = nullptr
    ) {
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
            options.headers.add(
                "Authorization", "Bearer " + (token != nullptr ? *token : world.admin).reveal()
            );
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
    EXPECT_EQ(read({}, "/v1/events?from=0", "\"two\""), all) << "from the beginning";
    // A place beyond the end is the end: nothing is passed over on the way to it.
    for (const char* far : {"/v1/events?from=999&follow=false", "/v1/events?last_event_id=999"})
        EXPECT_NE(read({}, far, "\n\n").find("id: 3\n\n"), std::string::npos) << far;
    EXPECT_NE(world.get("/v1/events?from=abc").body.find("'from'"), std::string::npos);
}

TEST(GatewayTest, TellsWhereToResumeBeforeTheFirstEvent) {
    World world;
    run::v1::RunChanged change;
    world.publish_event("berth.evt.default.run.run.created.rn_1", change, "one");
    net::HttpClient client(world.gateway->url());
    net::HeaderMap headers;
    headers.add("Authorization", "Bearer " + world.admin.reveal());
    std::string text;
    bool told = false;
    const auto done = client.stream({"GET", "/v1/events", headers, "", 8s}, [&](auto bytes) {
        text += bytes;
        if (!told && text.find("id: 1\n\n") != std::string::npos) {
            told = true;
            world.publish_event("berth.evt.default.run.run.started.rn_1", change, "two");
        }
        return text.find("\"two\"") == std::string::npos;
    });
    EXPECT_TRUE(done) << done.error().describe() << text;
    EXPECT_EQ(text.find("\"one\""), std::string::npos) << "only new ones";
    EXPECT_NE(text.find("id: 2\n"), std::string::npos) << text;
    EXPECT_NE(text.find("\"sequence\":\"2\""), std::string::npos) << text;
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
    std::string unsent;  // the channel's thread
    std::unique_ptr<bus::ByteChannel> channel;
    std::latch opened{1};
    bool echo = false;
    std::atomic<int> exit_code{0};

    Machine(bus::Connection& bus, const std::string& name, bool echoes) : echo(echoes) {
        bus::ByteChannel::Events events;
        events.on_data = [this](std::string_view bytes) {
            opened.wait();
            if (echo)
                answer(bytes);
            else
                channel->consume(bytes.size());
            const std::lock_guard lock(mutex);
            got.append(bytes);
            changed.notify_all();
        };
        events.on_writable = [this] { answer({}); };
        events.on_eof = [this] {
            opened.wait();
            {
                const std::lock_guard lock(mutex);
                eof = true;
                changed.notify_all();
            }
            if (echo) answer({});
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
    /// On the channel's thread, which must not wait here for room: it is the one that learns of it.
    void answer(std::string_view bytes) {
        unsent.append(bytes);
        const std::size_t taken = channel->send(unsent);
        unsent.erase(0, taken);
        channel->consume(taken);
        if (eof && unsent.empty()) channel->finish(exit_code);
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

/// A sync of whatever lease gets the channel "ch_1".
void grant_sync(World& world) {
    const std::lock_guard lock(world.mutex);
    world.decide = [](const bus::Message& message) -> Reply {
        if (message.subject != "berth.cmd.run.open_sync") return internal("default", "");
        run::v1::SyncOpened opened;
        opened.set_channel("ch_1");
        opened.set_machine("m_1");
        return ok(opened);
    };
}

TEST(GatewayTest, SyncCarriesBytesBothWaysAndEndsInOrder) {
    World world;
    grant_sync(world);
    Machine machine(*world.owner_bus, "ch_1", true);
    Listener listener(world, "/v1/leases/calm-otter/sync?delete=1");
    ASSERT_TRUE(listener.client) << listener.refusal.body;
    run::v1::OpenSync command;
    {
        const std::lock_guard lock(world.mutex);
        ASSERT_TRUE(command.ParseFromString(world.asked.front().payload));
    }
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

TEST(GatewayTest, SyncClosesWithTheExitCodeOfTheMachinesRsync) {
    World world;
    grant_sync(world);
    for (const int exit_code : {1, 23, 24, 255}) {
        Machine machine(*world.owner_bus, "ch_1", true);
        machine.exit_code = exit_code;
        Listener listener(world, "/v1/leases/calm-otter/sync");
        ASSERT_TRUE(listener.client) << listener.refusal.body;
        ASSERT_TRUE(listener.client->send_text("eof"));
        ASSERT_TRUE(listener.wait([&] { return listener.code != 0; }));
        EXPECT_EQ(listener.code, 4000 + exit_code) << listener.reason;
    }
}

// One of each kind of stream, held open by one token.
struct HeldOpen {
    World& world;
    Machine input{*world.owner_bus, world.run.id(), false};
    Machine files{*world.owner_bus, "ch_1", true};
    std::unique_ptr<Listener> attached;
    std::unique_ptr<Listener> synced;
    std::latch begun{2};  // events and output are read
    std::future<std::string> events;
    std::future<std::string> output;  // the error's code

    HeldOpen(World& w, const Secret& token) : world(w) {
        grant_sync(world);
        const std::string path = "/v1/runs/" + world.run.id();
        attached = std::make_unique<Listener>(world, path + "/attach?stdin=1", false, &token);
        synced = std::make_unique<Listener>(world, "/v1/leases/calm-otter/sync", false, &token);
        EXPECT_TRUE(attached->client && synced->client);
        world.publish_frame(0, run::v1::STREAM_STDOUT, "first");
        const auto read = [this, &token](std::string what, std::string* text) {
            net::HttpClient client(world.gateway->url());
            bool told = false;
            const net::HeaderMap headers{{"Authorization", "Bearer " + token.reveal()}};
            const auto done = client.stream(
                {"GET", std::move(what), headers, "", 0s},
                [&](std::string_view bytes) {
                    *text += bytes;
                    if (!std::exchange(told, true)) begun.count_down();
                    return true;
                }
            );
            if (!told) begun.count_down();
            return done ? std::to_string(done->status) : done.error().code;
        };
        events = std::async(std::launch::async, [read] {
            std::string text;
            return read("/v1/events", &text) + " " + text;
        });
        output = std::async(std::launch::async, [read, path] {
            std::string text;
            return read(path + "/output?follow=1", &text);
        });
        begun.wait();
    }

    // Whatever was not ended ends now, or the readers would be waited for without end.
    ~HeldOpen() { world.gateway->stop(); }

    void expect_ended(const std::string& code, const std::string& words) {
        for (Listener* socket : {attached.get(), synced.get()}) {
            ASSERT_TRUE(socket->wait([&] { return socket->code != 0; }));
            EXPECT_EQ(socket->code, 1008);
            EXPECT_NE(socket->reason.find(words), std::string::npos) << socket->reason;
        }
        ASSERT_EQ(events.wait_for(8s), std::future_status::ready);
        ASSERT_EQ(output.wait_for(8s), std::future_status::ready);
        const std::string told = events.get();
        EXPECT_EQ(told.substr(0, 3), "200") << "ended, not cut: " << told;
        EXPECT_NE(told.find("event: error\ndata: {"), std::string::npos) << told;
        EXPECT_NE(told.find("\"code\":\"" + code + "\""), std::string::npos) << told;
        EXPECT_EQ(output.get(), "connection_lost") << "cut: it is not the whole";
    }
};

TEST(GatewayTest, ARevokedTokenHoldsNothingOpen) {
    // As where another replica is told of it: this one can only look again.
    World world([](GatewaySettings& settings) { settings.token_cache = 200ms; });
    const Secret token = world.make_token(R"({"user":"bob","roles":["operator"]})");
    HeldOpen held(world, token);
    const auto id = json_of(world.get("/v1/whoami", &token)).string_or("token", "");
    EXPECT_TRUE(*repo::revoke_token(world.pool, "default", "", id));
    held.expect_ended("token_ended", "not valid any more");
}

TEST(GatewayTest, ADisabledUserHoldsNothingOpen) {
    World world([](GatewaySettings& settings) { settings.token_cache = std::chrono::hours{1}; });
    const Secret token = world.make_token(R"({"user":"bob","roles":["operator"]})");
    HeldOpen held(world, token);
    Listener other(world, "/v1/runs/" + world.run.id() + "/attach");
    EXPECT_EQ(world.send({"PATCH", "/v1/users/bob", {}, R"({"disabled":true})"}).status, 200);
    held.expect_ended("token_ended", "not valid any more");
    EXPECT_EQ(other.code, 0) << "somebody else's goes on";
}

TEST(GatewayTest, ALostRoleHoldsNothingOpen) {
    World world([](GatewaySettings& settings) { settings.token_cache = std::chrono::hours{1}; });
    const Secret token = world.make_token(R"({"user":"bob","roles":["operator"]})");
    HeldOpen held(world, token);
    EXPECT_EQ(world.send({"PATCH", "/v1/users/bob", {}, R"({"roles":["admin"]})"}).status, 200);
    EXPECT_EQ(held.attached->code, 0) << "nothing is lost by that";
    EXPECT_EQ(world.send({"PATCH", "/v1/users/bob", {}, R"({"roles":["viewer"]})"}).status, 200);
    held.expect_ended("role_lost", "role");
}

TEST(GatewayTest, AnExpiredTokenHoldsNothingOpen) {
    World world([](GatewaySettings& settings) { settings.token_cache = 200ms; });
    const Secret token = world.make_token(R"({"user":"bob","roles":["operator"]})");
    HeldOpen held(world, token);
    constexpr store::Statement kExpire{
        "UPDATE tokens SET expires_at = now() WHERE owner = 'bob'", "expire"};
    EXPECT_TRUE(world.pool.exec_autocommit(kExpire, {}, store::OnLoss::kRetry));
    held.expect_ended("token_ended", "not valid any more");
}

TEST(GatewayTest, AWithdrawnShareHoldsNothingOpen) {
    World world;
    const Secret token = world.make_token(R"({"user":"bob","roles":["operator"]})");
    HeldOpen held(world, token);
    {
        const std::lock_guard lock(world.mutex);
        world.decide = [](const bus::Message& message) -> Reply {
            if (message.subject == "berth.qry.run.get") return not_found("run_not_found", "no run");
            if (message.subject == "berth.qry.lease.get")
                return not_found("lease_not_found", "there is no such lease");
            return internal("default", "");
        };
    }
    run::v1::RunChanged change;
    world.publish_event("berth.evt.default.run.run.held." + world.run.id(), change);
    lease::v1::ShareChanged withdrawn;
    world.publish_event("berth.evt.default.lease.share.withdrawn." + world.lease.id(), withdrawn);
    EXPECT_TRUE(held.attached->wait([&] { return held.attached->code == 1008; }));
    EXPECT_TRUE(held.synced->wait([&] { return held.synced->code == 1008; }));
    ASSERT_EQ(held.output.wait_for(8s), std::future_status::ready);
    EXPECT_EQ(held.output.get(), "connection_lost");
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
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s);
    EXPECT_TRUE(listener.wait([&] { return listener.code == 1001; }));
}

}  // namespace
}  // namespace berth::gateway
