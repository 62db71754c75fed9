// SPDX-License-Identifier: Apache-2.0
// Proves against a real server that apply makes, repairs and checks streams and durables, and is
// loud when a server keeps something else than it was asked for.
#include "topology/apply.hpp"

#include <gtest/gtest.h>

#include "support/nats/nats_server.hpp"
#include "support/nats/raw_client.hpp"
#include "topology/rights.hpp"

namespace berth::topology {
namespace {

using berth::testing::NatsServer;
using berth::testing::RawNatsClient;

class Apply : public ::testing::Test {
protected:
    Apply() : server_(NatsServer::start()), client_(server_.port(), {}) {
        client_.subscribe("_INBOX.>");
    }

    Result<std::string> ask(std::string_view subject, std::string_view json) {
        auto answer = client_.request(subject, json, "_INBOX." + std::to_string(++requests_));
        if (!answer) return deadline("timeout", "no answer to " + std::string(subject));
        return *std::move(answer);
    }
    ApiRequest request() {
        return
            [this](std::string_view subject, std::string_view json) { return ask(subject, json); };
    }
    Json config(const std::string& stream) {
        return *Json::parse(ask("$JS.API.STREAM.INFO." + stream, "").value())->find("config");
    }

    NatsServer server_;
    RawNatsClient client_;
    int requests_ = 0;
};

TEST_F(Apply, MakesEverythingThenChangesNothing) {
    const auto first = apply_topology(builtin(), request());
    ASSERT_TRUE(first) << first.error().describe();
    EXPECT_EQ(first->created.size(), builtin().streams.size() + builtin().consumers.size());
    const auto second = apply_topology(builtin(), request());
    ASSERT_TRUE(second) << second.error().describe();
    EXPECT_EQ(second->unchanged.size(), first->created.size());
    EXPECT_TRUE(apply_topology(builtin(), request(), {{}, 1, true}));
    const Json node = config("CMD_NODE");
    EXPECT_TRUE(node.bool_or("discard_new_per_subject", false));
    EXPECT_EQ(node.int_or("max_age", 0), 3'600'000'000'000);
}

TEST_F(Apply, RepairsWhatWasChangedAndKeepsMessages) {
    ASSERT_TRUE(apply_topology(builtin(), request()));
    ASSERT_TRUE(ask("berth.evt.default.lease.lease.created.x", "payload"));
    Json changed = config("EVT");
    changed.set("max_age", std::int64_t{7'000'000'000'000});
    ASSERT_TRUE(ask("$JS.API.STREAM.UPDATE.EVT", changed.dump()));
    EXPECT_EQ(apply_topology(builtin(), request(), {{}, 1, true}).error().code, "differs");
    const auto report = apply_topology(builtin(), request(), {{{"OUT", 1 << 30}}, 1, false});
    ASSERT_TRUE(report) << report.error().describe();
    EXPECT_EQ(report->updated, (std::vector<std::string>{"EVT", "OUT"}));
    EXPECT_EQ(config("OUT").int_or("max_bytes", 0), 1 << 30);
    const auto info = Json::parse(ask("$JS.API.STREAM.INFO.EVT", "").value()).value();
    EXPECT_EQ(info.find("state")->int_or("messages", 0), 1);
}

TEST_F(Apply, AForbiddenChangeIsTheServersWords) {
    ASSERT_TRUE(
        ask("$JS.API.STREAM.CREATE.EVT",
            R"({"name":"EVT","subjects":["berth.evt.>"],"storage":"memory","retention":"limits"})")
    );
    const auto report = apply_topology(builtin(), request());
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code, "jetstream_api");
    EXPECT_NE(report.error().message.find("EVT"), std::string::npos) << report.error().message;
    EXPECT_NE(report.error().message.find("storage"), std::string::npos) << report.error().message;
}

TEST_F(Apply, AnIgnoredFieldFailsLoudly) {
    // A server that answers as if it had never heard of a field: what an old one does.
    const ApiRequest forgetful =
        [this](std::string_view subject, std::string_view json) -> Result<std::string> {
        if (!subject.starts_with("$JS.API.STREAM.CREATE.CMD_NODE")) return ask(subject, json);
        auto body = Json::parse(json).value();
        body.set("discard_new_per_subject", false);
        return ask(subject, body.dump());
    };
    const auto report = apply_topology(builtin(), forgetful);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code, "config_ignored");
    for (const char* word : {"CMD_NODE", "discard_new_per_subject", "wanted true", "got"}) {
        EXPECT_NE(report.error().message.find(word), std::string::npos) << report.error().message;
    }
}

TEST_F(Apply, MachineDurablesComeAndGo) {
    ASSERT_TRUE(apply_topology(builtin(), request()));
    const Consumer durable = consumers_of(builtin(), Machine{"m_1", "default"}).value().front();
    ApplyReport report;
    ASSERT_TRUE(apply_consumer(durable, request(), {}, report));
    ASSERT_TRUE(apply_consumer(durable, request(), {}, report));
    EXPECT_EQ(report.created, std::vector<std::string>{"CMD_NODE/node-m_1"});
    EXPECT_EQ(report.unchanged, std::vector<std::string>{"CMD_NODE/node-m_1"});
    ASSERT_TRUE(ask("berth.cmd.node.m_1.start", "1"));
    ASSERT_TRUE(ask("berth.cmd.node.m_2.start", "2"));
    EXPECT_EQ(purge("CMD_NODE", "berth.cmd.node.m_1.>", request()).value(), 1);
    ASSERT_TRUE(delete_consumer(durable, request()));
    ASSERT_TRUE(delete_consumer(durable, request()));
    Consumer orphan = durable;
    orphan.stream = "NONE";
    EXPECT_FALSE(apply_consumer(orphan, request(), {}, report));
}

TEST_F(Apply, ADeadMachineBlocksNobody) {
    ASSERT_TRUE(apply_topology(builtin(), request()));
    Json small = config("CMD_NODE");
    small.set("max_msgs_per_subject", 2);
    ASSERT_TRUE(ask("$JS.API.STREAM.UPDATE.CMD_NODE", small.dump()));
    ASSERT_TRUE(ask("berth.cmd.node.m_1.start", "1"));
    ASSERT_TRUE(ask("berth.cmd.node.m_1.start", "2"));
    EXPECT_NE(
        ask("berth.cmd.node.m_1.start", "3").value().find("maximum messages per subject"),
        std::string::npos
    );
    EXPECT_EQ(ask("berth.cmd.node.m_2.start", "1").value().find("error"), std::string::npos);
}

TEST_F(Apply, AuditRefusesDeletion) {
    ASSERT_TRUE(apply_topology(builtin(), request()));
    ASSERT_TRUE(ask("berth.audit.default.lease.x", "1"));
    EXPECT_NE(ask("$JS.API.STREAM.PURGE.AUDIT", "").value().find("error"), std::string::npos);
    EXPECT_NE(
        ask("$JS.API.STREAM.MSG.DELETE.AUDIT", R"({"seq":1})").value().find("error"),
        std::string::npos
    );
}

}  // namespace
}  // namespace berth::topology
