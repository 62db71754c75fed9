// SPDX-License-Identifier: Apache-2.0
// A gateway for tests: on real sockets and a real PostgreSQL, with the bus in memory and owners
// that the test plays.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <mutex>

#include "berth/gateway/v1/gateway.pb.h"
#include "berth/lease/v1/lease.pb.h"
#include "berth/run/v1/run.pb.h"
#include "bus/memory_bus.hpp"
#include "core/id.hpp"
#include "core/json.hpp"
#include "gateway/gateway.hpp"
#include "gateway/repo.hpp"
#include "identity/token.hpp"
#include "net/http_client.hpp"
#include "support/postgres/postgres_server.hpp"

namespace berth::gateway {

// One server for the program; a schema for each test.
inline testing::PostgresServer& postgres() {
    static testing::PostgresServer server;
    static const auto started = server.start();
    if (!started) throw std::runtime_error(started.error().describe());
    return server;
}

inline store::PoolSettings fresh_schema() {
    static int count = 0;
    store::PoolSettings settings;
    settings.conninfo = postgres().conninfo();
    settings.schema = "gateway_" + std::to_string(++count);
    return settings;
}

inline Json json_of(const net::HttpResponse& response) {
    const auto json = Json::parse(response.body);
    return json ? *json : Json();
}

using Reply = Result<std::pair<std::string, std::string>>;  // type and payload, or a refusal
template <typename T>
Reply ok(const T& message) {
    return std::pair(message.GetTypeName(), message.SerializeAsString());
}

// Everything a test needs: the gateway, and the owners it asks. `decide` plays them; by default a
// lease and a run of everybody's.
struct World {
    bus::MemoryServer server{
        1,
        {},
        {{"CMD", {"berth.cmd.>"}, true},
         {"QRY", {"berth.qry.>"}, true},
         {"EVT", {"berth.evt.>"}},
         {"OUT", {"berth.out.>"}}},
        {{"CMD", "owner", "berth.cmd.>"}, {"QRY", "owner", "berth.qry.>"}}};
    std::unique_ptr<bus::Connection> owner_bus = server.connect();
    std::unique_ptr<bus::Connection> gateway_bus = server.connect();
    store::Pool pool{fresh_schema()};
    metrics::Registry metrics{"gateway"};
    std::mutex mutex;
    std::vector<bus::Message> asked;                   // by mutex
    std::function<Reply(const bus::Message&)> decide;  // set before anything is asked, or by mutex
    lease::v1::Lease lease;                            // by mutex
    run::v1::Run run;                                  // by mutex
    Secret admin = identity::make_token();
    std::string token_file = "/tmp/berth-gateway-test-" + std::to_string(getpid()) + ".token";
    std::unique_ptr<bus::Asker> asker;
    std::vector<std::unique_ptr<bus::Receiver>> owners;
    std::unique_ptr<Gateway> gateway;

    explicit World(std::function<void(GatewaySettings&)> adjust = {}) {
        lease.set_id("ls_" + make_ulid(Clock::system().now(), Random::system()));
        lease.set_slug("calm-otter");
        lease.set_org("default");
        lease.set_state(lease::v1::LEASE_STATE_ACTIVE);
        run.set_id("rn_" + make_ulid(Clock::system().now(), Random::system()));
        run.set_org("default");
        run.set_machine("m_1");
        run.set_state(run::v1::RUN_STATE_RUNNING);
        (*run.mutable_started_at()).set_seconds(1);
        const auto migrated = store::migrate(pool, pool.settings().schema, migrations());
        if (!migrated) throw std::runtime_error(migrated.error().describe());
        std::ofstream(token_file) << admin.reveal() << "\n";
        auto made = bus::Asker::create(*gateway_bus, {"gateway", "g1", milliseconds{2'000}});
        asker = std::move(*made);
        for (const char* stream : {"CMD", "QRY"}) {
            auto receiver = owner_bus->consume(
                {stream, "owner", 2}, [this](bus::Delivery delivery) { own(std::move(delivery)); }
            );
            owners.push_back(std::move(*receiver));
        }
        GatewaySettings settings;
        settings.bootstrap_token_file = token_file;
        if (adjust) adjust(settings);
        gateway = std::make_unique<Gateway>(
            settings, Gateway::Parts{*gateway_bus, *asker, pool, metrics}
        );
        if (const auto started = gateway->start(); !started)
            throw std::runtime_error(started.error().describe());
    }
    ~World() {
        gateway->stop();
        owners.clear();
        gateway.reset();
        asker.reset();
        unlink(token_file.c_str());
    }

    void own(bus::Delivery delivery) {
        const auto& message = delivery.message();
        Reply reply = default_reply(message);
        bus::Headers headers;
        std::string payload;
        if (reply) {
            headers = {
                {std::string(bus::kStatus), "ok"}, {std::string(bus::kCeType), reply->first}};
            payload = reply->second;
        } else {
            common::v1::Failure failure;
            failure.set_fault(std::string(to_string(reply.error().fault)));
            failure.set_code(reply.error().code);
            failure.set_message(reply.error().message);
            failure.set_field(reply.error().field);
            headers = {
                {std::string(bus::kStatus), "failure"},
                {std::string(bus::kCeType), failure.GetTypeName()}};
            payload = failure.SerializeAsString();
        }
        headers.emplace_back(bus::kCausationId, std::string(message.header(bus::kMsgId)));
        const auto service = message.subject.substr(10, message.subject.find('.', 10) - 10);
        if (reply || reply.error().code != "silence") {
            (void)owner_bus->publish_plain(
                bus::reply_subject(
                    message.header(bus::kReplyTo), service, "o1", message.header(bus::kCeId)
                ),
                payload,
                headers
            );
        }
        delivery.ack();
    }

    Reply default_reply(const bus::Message& message) {
        const std::lock_guard lock(mutex);
        asked.push_back(message);
        if (decide) {
            auto reply = decide(message);
            if (reply || reply.error().code != "default") return reply;
        }
        if (message.subject == "berth.qry.lease.list") return ok(lease::v1::ListReply());
        if (message.subject == "berth.qry.run.list") return ok(run::v1::ListReply());
        if (message.subject == "berth.cmd.run.signal") return ok(common::v1::Empty());
        if (message.subject.find(".warden.") != std::string::npos) return ok(common::v1::Empty());
        if (message.subject.find(".lease.") != std::string::npos) return ok(lease);
        return ok(run);
    }

    bus::Message last() {
        const std::lock_guard lock(mutex);
        return asked.empty() ? bus::Message{} : asked.back();
    }
    std::size_t asks() {
        const std::lock_guard lock(mutex);
        return asked.size();
    }

    net::HttpResponse send(net::HttpRequest request, const Secret* token = nullptr) {
        net::HttpClient client(gateway->url());
        request.headers.add(
            "Authorization", "Bearer " + (token != nullptr ? *token : admin).reveal()
        );
        if (!request.body.empty() && !request.headers.has("Content-Type"))
            request.headers.add("Content-Type", "application/json");
        auto response = client.send(request);
        if (!response) throw std::runtime_error(response.error().describe());
        return std::move(*response);
    }
    net::HttpResponse get(const std::string& path, const Secret* token = nullptr) {
        return send({"GET", path}, token);
    }
    net::HttpResponse post(
        const std::string& path, const std::string& body, const Secret* token = nullptr
    ) {
        return send({"POST", path, {}, body}, token);
    }
    Secret make_token(const std::string& body) {
        const auto response = post("/v1/tokens", body);
        EXPECT_EQ(response.status, 201) << response.body;
        return Secret(Json::parse(response.body)->string_or("text", ""));
    }
    std::string code(const net::HttpResponse& response) {
        EXPECT_EQ(response.headers.get("Content-Type"), "application/problem+json");
        const auto json = Json::parse(response.body);
        EXPECT_TRUE(json && !json->string_or("request_id", "").empty());
        return json ? json->string_or("code", "") : "";
    }
    void publish_frame(
        std::uint64_t offset, run::v1::Stream stream, const std::string& data, bool end = false
    ) {
        run::v1::OutputFrame frame;
        frame.set_offset(offset);
        frame.set_stream(stream);
        frame.set_data(data);
        if (end) frame.mutable_end()->set_exit_code(37);
        bus::Message message{"berth.out.default.m_1." + run.id(), {}, frame.SerializeAsString()};
        ASSERT_TRUE(owner_bus->publish_wait(std::move(message)));
    }
    void publish_event(
        const std::string& subject,
        const google::protobuf::Message& payload,
        const std::string& id = "e1"
    ) {
        bus::Message message{
            subject,
            {{"ce-id", id}, {"ce-type", payload.GetTypeName()}, {"ce-source", "berth/test"}},
            payload.SerializeAsString()};
        ASSERT_TRUE(owner_bus->publish_wait(std::move(message)));
    }
};

}  // namespace berth::gateway
