// SPDX-License-Identifier: Apache-2.0
// Proves against a real server, started on the generated configuration, what each user may and may
// not do.
#include "topology/rights.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "identity/creds.hpp"
#include "support/nats/nats_server.hpp"
#include "support/nats/raw_client.hpp"
#include "support/temporary_folder.hpp"
#include "topology/apply.hpp"
#include "topology/deployment.hpp"

namespace berth::topology {
namespace {

using berth::testing::NatsServer;
using berth::testing::NatsServerOptions;
using berth::testing::RawNatsClient;
using identity::KeyKind;
using identity::KeyPair;
using Users = std::set<std::string>;

constexpr milliseconds kPatience{10'000};

WallTime now() { return Clock::system().now(); }

RawNatsClient::Login login_of(std::string jwt, const Secret& seed) {
    const KeyPair key = KeyPair::from_seed(seed).value();
    return {std::move(jwt), [key](std::string_view nonce) { return key.sign(nonce); }};
}

/// One server in operator mode for all tests: they only look at rights.
class RightsTest : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        folder_ = std::make_unique<testing::TemporaryFolder>();
        deployment_ = std::make_unique<Deployment>(
            generate(builtin(), folder_->path() / "d", {}, now()).value()
        );
        NatsServerOptions options;
        options.conf = deployment_->conf;
        server_ = std::make_unique<NatsServer>(NatsServer::start(options));
        account_ = std::make_unique<KeyPair>(
            KeyPair::from_seed(identity::read_seed(deployment_->account_seed).value()).value()
        );
        auto topology_user = client("topology");
        topology_user->subscribe("_INBOX.topology.>");
        int requests = 0;
        const auto report = apply_topology(
            builtin(),
            [&](std::string_view subject, std::string_view json) -> Result<std::string> {
                auto answer = topology_user->request(
                    subject, json, "_INBOX.topology.r" + std::to_string(++requests)
                );
                if (!answer) return deadline("timeout", "no answer to " + std::string(subject));
                return *std::move(answer);
            }
        );
        ASSERT_TRUE(report) << report.error().describe();
    }
    static void TearDownTestSuite() {
        server_.reset();
        account_.reset();
        deployment_.reset();
        folder_.reset();
    }

    static std::unique_ptr<RawNatsClient> client(const std::string& user) {
        const auto creds = identity::read_creds(deployment_->creds.at(user)).value();
        return std::make_unique<RawNatsClient>(server_->port(), login_of(creds.jwt, creds.seed));
    }
    struct MachineUser {
        KeyPair key = KeyPair::create(KeyKind::kUser);
        RawNatsClient::Login login;
    };
    static MachineUser machine_user(
        const std::string& machine, milliseconds lifetime = milliseconds{0}
    ) {
        MachineUser out;
        out.login = renewed(out.key, machine, lifetime);
        return out;
    }
    static RawNatsClient::Login renewed(
        const KeyPair& key, const std::string& machine, milliseconds lifetime
    ) {
        return login_of(
            mint_machine_user(
                builtin(), *account_, {machine, "acme"}, key.public_key(), now(), lifetime
            )
                .value(),
            key.seed()
        );
    }

    static inline std::unique_ptr<testing::TemporaryFolder> folder_;
    static inline std::unique_ptr<Deployment> deployment_;
    static inline std::unique_ptr<NatsServer> server_;
    static inline std::unique_ptr<KeyPair> account_;
};

bool refused(const std::vector<std::string>& errors) {
    return std::any_of(errors.begin(), errors.end(), [](const auto& line) {
        return line.find("Permissions Violation") != std::string::npos;
    });
}

/// A subject a pattern matches.
std::string example(std::string pattern) {
    for (auto at = pattern.find('*'); at != std::string::npos; at = pattern.find('*'))
        pattern.replace(at, 1, "x");
    if (pattern.back() == '>') pattern.replace(pattern.size() - 1, 1, "x.y");
    return pattern;
}

TEST_F(RightsTest, EveryUserMayDoWhatItsListSays) {
    for (const User& user : builtin().users) {
        const auto may = permissions_of(builtin(), user.name).value();
        const auto connection = client(user.name);
        ASSERT_FALSE(connection->closed()) << user.name << " cannot log in";
        for (const auto& pattern : may.sub_allow)
            EXPECT_TRUE(connection->subscribe(pattern).empty()) << user.name << " " << pattern;
        // An empty request: rights are checked before the API reads it. Purging and creating say
        // "bad request".
        for (const auto& pattern : may.pub_allow)
            EXPECT_TRUE(connection->publish(example(pattern), "-").empty())
                << user.name << " " << pattern;
        EXPECT_FALSE(connection->closed());
    }
}

// Written by hand, not derived from users.yaml: who may publish what; everybody else must be
// refused.
/// The chat bridges, which are alike, and these.
Users bridges_and(Users others) {
    others.insert({"slack", "telegram", "discord", "whatsapp"});
    return others;
}

TEST_F(RightsTest, PublishingIsForWhomItShouldBe) {
    const std::map<std::string, Users> who{
        {"berth.cmd.lease.acquire", bridges_and({"gateway"})},
        {"berth.cmd.lease.attach", {"gateway", "run"}},
        {"berth.cmd.lease.release", bridges_and({"gateway"})},
        {"berth.cmd.run.start", bridges_and({"gateway"})},
        {"berth.cmd.prov.create", {"lease"}},
        {"berth.cmd.prov.destroy", {"lease"}},
        {"berth.cmd.prov.renew.m_1", {}},
        {"berth.cmd.node.m_1.start", {"run"}},
        {"berth.cmd.node.m_1.decide", {"run", "warden"}},  // run tells machines everything
        {"berth.cmd.warden.decide", bridges_and({"gateway"})},
        {"berth.cmd.warden.refused", bridges_and({"gateway"})},
        {"berth.cmd.warden.ask.m_1", {}},
        {"berth.cmd.warden.claim.m_1", {}},
        {"berth.cmd.warden.record.m_1", {}},
        {"berth.qry.warden.audit", {"gateway"}},
        {"berth.qry.warden.snapshot.m_1", {}},
        {"berth.warden.acme", {"warden"}},
        {"berth.qry.lease.get", bridges_and({"gateway"})},
        {"berth.qry.run.get", bridges_and({"gateway"})},
        {"berth.qry.run.list", bridges_and({"gateway"})},
        {"berth.rpl.gateway.i.lease.j.c", {"lease"}},
        {"berth.rpl.gateway.i.run.j.c", {"run"}},
        {"berth.rpl.run.i.node.m_1.c", {}},
        {"berth.rpl.lease.i.prov.j.c", {"prov"}},
        {"berth.evt.acme.lease.lease.created.x", {"lease"}},
        {"berth.evt.acme.run.run.ended.x", {"run"}},
        {"berth.evt.acme.prov.machine.ready.m_1", {"prov"}},
        {"berth.evt.acme.warden.approval.approved.x", {"warden"}},
        {"berth.evt.acme.node.run.ended.m_1", {}},
        {"berth.out.acme.m_1.rn_1", {}},
        {"berth.io.m_1.c.in", {"gateway"}},
        {"berth.io.m_1.c.out", {}},
        {"berth.live.gateway.i", {"gateway"}},
        {"berth.live.node.m_1", {}},
        {"berth.audit.acme.x.y", {"warden"}},
        {"berth.dlq.cmd_run.run",
         bridges_and({"gateway", "lease", "prov", "run", "warden", "webhook", "topology"})},
        {"berth.cmd.prov.reader", {"gateway"}},
        {"berth.cmd.webhook.add", {"gateway"}},
        {"berth.qry.webhook.deliveries", {"gateway"}},
        {"berth.cmd.run.cancel", bridges_and({"gateway"})},
        {"berth.cmd.lease.share", {"gateway"}},
        {"berth.cmd.warden.apply_policy", {"gateway"}},
        {"berth.cmd.gateway.link_person", bridges_and({})},
        {"berth.qry.gateway.person", bridges_and({})},
        {"$JS.API.CONSUMER.MSG.NEXT.EVT.slack-run", {"slack", "gateway"}},
        {"berth.rpl.slack.i.gateway.j.c", {"gateway"}},
        {"berth.rpl.gateway.i.webhook.j.c", {"webhook"}},
        {"berth.evt.acme.webhook.subscriber.disabled.x", {"webhook"}},
        {"$JS.API.CONSUMER.MSG.NEXT.EVT.webhook", {"webhook", "gateway"}},
        {"$JS.API.CONSUMER.DURABLE.CREATE.EVT.reader-x", {"prov", "topology"}},
        {"$JS.API.CONSUMER.MSG.NEXT.EVT.reader-x", {"gateway"}},
        {"$JS.API.CONSUMER.DELETE.EVT.reader-x", {"prov", "gateway"}},
        {"$JS.API.CONSUMER.MSG.NEXT.CMD_LEASE.lease", {"lease"}},
        {"$JS.API.CONSUMER.MSG.NEXT.CMD_RUN.run", {"run"}},
        {"$JS.API.CONSUMER.MSG.NEXT.EVT.run-node",
         {"run", "gateway"}},  // the gateway reads all of EVT anyway
        {"$JS.ACK.CMD_LEASE.lease.1.1.1.1.1", {"lease"}},
        {"$JS.ACK.CMD_NODE.node-m_1.1.1.1.1.1", {"prov"}},
        {"$JS.API.CONSUMER.CREATE.EVT", {"gateway"}},
        {"$JS.API.CONSUMER.CREATE.OUT.n.berth.out.acme.>", bridges_and({"gateway"})},
        {"$JS.API.CONSUMER.CREATE.CMD_LEASE", {}},
        {"$JS.API.CONSUMER.CREATE.RPL", {}},
        {"$JS.API.CONSUMER.DURABLE.CREATE.CMD_NODE.node-m_1", {"prov", "topology"}},
        {"$JS.API.CONSUMER.DURABLE.CREATE.CMD_RUN.x", {"topology"}},
        {"$JS.API.CONSUMER.DELETE.CMD_NODE.node-m_1", {"prov"}},
        {"$JS.API.CONSUMER.DELETE.CMD_RUN.run", {}},
        {"$JS.API.STREAM.CREATE.EVT", {"topology"}},
        {"$JS.API.STREAM.UPDATE.EVT", {"topology"}},
        {"$JS.API.STREAM.CREATE.OTHER", {}},
        {"$JS.API.STREAM.DELETE.EVT", {}},
        {"$JS.API.STREAM.PURGE.CMD_NODE", {"prov"}},
        {"$JS.API.STREAM.PURGE.OUT", {"run"}},
        {"$JS.API.STREAM.PURGE.EVT", {}},
        {"$JS.API.STREAM.MSG.GET.CMD_NODE", {"prov"}},
        {"$JS.API.STREAM.MSG.GET.EVT", {}},
        {"$JS.API.STREAM.NAMES", {}},
        {"$SYS.REQ.SERVER.PING", {}},
        {"_INBOX.lease.x.1", {}},
        {"anything", {}},
    };
    for (const User& user : builtin().users) {
        const auto connection = client(user.name);
        for (const auto& [subject, allowed] : who) {
            EXPECT_EQ(!refused(connection->publish(subject, "-")), allowed.contains(user.name))
                << user.name << " " << subject;
        }
        EXPECT_FALSE(connection->closed()) << user.name;
    }
}

TEST_F(RightsTest, ListeningIsForWhomItShouldBe) {
    const Users all =
        bridges_and({"gateway", "lease", "prov", "run", "warden", "webhook", "topology", "monitor"}
        );
    const std::map<std::string, Users> who{
        {">", {}},
        {"berth.>", {}},
        {"$JS.>", {}},
        {"$SYS.>", {}},
        {"_INBOX.>", {}},
        {"_INBOX.prov.>", {"prov"}},
        {"_INBOX.node.m_1.>", {}},
        {"berth.rpl.>", {}},
        {"berth.rpl.gateway.>", {"gateway"}},
        {"berth.rpl.lease.>", {"lease"}},
        {"berth.rpl.run.i.>", {"run"}},
        {"berth.rpl.node.m_1.>", {}},
        {"berth.cmd.>", {}},
        {"berth.cmd.lease.acquire", {}},
        {"berth.evt.>", {"gateway"}},
        {"berth.out.>", {}},
        {"berth.io.*.*.out", {"gateway"}},
        {"berth.io.m_1.c.in", {}},
        {"berth.live.>", {"gateway", "monitor"}},
        {"berth.live.node.>", {"gateway", "monitor", "prov", "run", "warden"}},
        {"berth.evt.*.warden.>", {"gateway", "warden"}},
        {"berth.warden.acme", {}},
        {"berth.audit.>", {}},
        {"berth.dlq.>", {}},
    };
    for (const User& user : builtin().users) {
        EXPECT_TRUE(all.contains(user.name)) << "a user this table does not know: " << user.name;
        const auto connection = client(user.name);
        for (const auto& [subject, allowed] : who) {
            EXPECT_EQ(!refused(connection->subscribe(subject)), allowed.contains(user.name))
                << user.name << " " << subject;
        }
        EXPECT_FALSE(connection->closed()) << user.name;
    }
}

TEST_F(RightsTest, AMachineReachesItsOwnAndNothingOfAnothers) {
    RawNatsClient machine(server_->port(), machine_user("m_1").login);
    ASSERT_FALSE(machine.closed());
    for (const char* own :
         {"berth.rpl.run.i.node.m_1.c",
          "berth.evt.acme.node.run.started.m_1",
          "berth.out.acme.m_1.rn_1",
          "berth.io.m_1.c.out",
          "berth.live.node.m_1",
          "berth.cmd.prov.renew.m_1",
          "berth.cmd.warden.ask.m_1",
          "berth.cmd.warden.abandon.m_1",
          "berth.cmd.warden.claim.m_1",
          "berth.cmd.warden.halted.m_1",
          "berth.cmd.warden.record.m_1",
          "berth.qry.warden.snapshot.m_1",
          "berth.dlq.cmd_node.node-m_1",
          "$JS.API.CONSUMER.MSG.NEXT.CMD_NODE.node-m_1",
          "$JS.ACK.CMD_NODE.node-m_1.1.1.1.1.1"}) {
        EXPECT_TRUE(machine.publish(own, "-").empty()) << own;
    }
    for (const char* own :
         {"berth.rpl.node.m_1.>", "berth.io.m_1.*.in", "berth.warden.acme", "_INBOX.node.m_1.>"})
        EXPECT_TRUE(machine.subscribe(own).empty()) << own;
    for (const char* other :
         {"berth.rpl.run.i.node.m_2.c",
          "berth.rpl.run.i.run.m_1.c",
          "berth.evt.acme.node.run.started.m_2",
          "berth.evt.globex.node.run.started.m_1",
          "berth.evt.acme.run.run.ended.m_1",
          "berth.out.acme.m_2.rn_1",
          "berth.out.globex.m_1.rn_1",
          "berth.io.m_2.c.out",
          "berth.io.m_1.c.in",
          "berth.live.node.m_2",
          "berth.cmd.prov.renew.m_2",
          "berth.cmd.warden.ask.m_2",
          "berth.cmd.warden.claim.m_2",
          "berth.cmd.warden.record.m_2",
          "berth.cmd.warden.decide",
          "berth.cmd.warden.resume",
          "berth.qry.warden.snapshot.m_2",
          "berth.qry.warden.audit",
          "berth.warden.acme",
          "berth.audit.acme.exec_ended.1",
          "berth.evt.acme.warden.approval.approved.x",
          "berth.cmd.prov.create",
          "berth.cmd.node.m_2.start",
          "berth.cmd.node.m_1.start",
          "berth.cmd.lease.attach",
          "berth.cmd.run.start",
          "berth.qry.lease.get",
          "berth.dlq.cmd_node.node-m_2",
          "$JS.API.CONSUMER.MSG.NEXT.CMD_NODE.node-m_2",
          "$JS.ACK.CMD_NODE.node-m_2.1.1.1.1.1",
          "$JS.API.CONSUMER.CREATE.CMD_NODE",
          "$JS.API.CONSUMER.CREATE.OUT",
          "$JS.API.CONSUMER.DURABLE.CREATE.CMD_NODE.node-m_1",
          "$JS.API.STREAM.INFO.CMD_NODE",
          "$JS.API.STREAM.PURGE.CMD_NODE",
          "_INBOX.node.m_2.x",
          "_INBOX.run.x"}) {
        EXPECT_TRUE(refused(machine.publish(other, "-"))) << other;
    }
    for (const char* other :
         {">",
          "berth.cmd.node.m_1.>",
          "berth.rpl.node.m_2.>",
          "berth.io.m_2.*.in",
          "berth.io.*.*.in",
          "berth.io.m_1.*.out",
          "berth.live.>",
          "berth.warden.globex",
          "berth.warden.>",
          "berth.evt.>",
          "berth.out.acme.m_1.>",
          "_INBOX.node.>",
          "_INBOX.node.m_2.>",
          "_INBOX.>"}) {
        EXPECT_TRUE(refused(machine.subscribe(other))) << other;
    }
    EXPECT_FALSE(machine.closed());
}

TEST_F(RightsTest, AMachinePullsItsCommandsAndNoOthers) {
    auto prov = client("prov");
    prov->subscribe("_INBOX.prov.>");
    int requests = 0;
    const ApiRequest ask = [&](std::string_view subject,
                               std::string_view json) -> Result<std::string> {
        auto answer = prov->request(subject, json, "_INBOX.prov.q" + std::to_string(++requests));
        if (!answer) return deadline("timeout", "no answer");
        return *std::move(answer);
    };
    ApplyReport report;
    const Consumer durable = consumers_of(builtin(), Machine{"m_7", "acme"}).value().front();
    const auto made = apply_consumer(durable, ask, {}, report);
    ASSERT_TRUE(made) << made.error().describe();
    auto run = client("run");
    run->subscribe("_INBOX.run.>");
    ASSERT_TRUE(run->request("berth.cmd.node.m_8.start", "another's", "_INBOX.run.1"));
    ASSERT_TRUE(run->request("berth.cmd.node.m_7.start", "mine", "_INBOX.run.2"));
    RawNatsClient machine(server_->port(), machine_user("m_7").login);
    machine.subscribe("_INBOX.node.m_7.>");
    machine.publish(
        "$JS.API.CONSUMER.MSG.NEXT.CMD_NODE.node-m_7",
        R"({"batch":10,"expires":5000000000})",
        "_INBOX.node.m_7.pull"
    );
    const auto command = machine.next(kPatience);
    ASSERT_TRUE(command);
    EXPECT_EQ(command->payload, "mine");
    EXPECT_EQ(command->subject, "berth.cmd.node.m_7.start");
    EXPECT_EQ(
        machine.request(command->reply, "+ACK", "_INBOX.node.m_7.ack").value_or("none"), ""
    );  // AckSync: confirmed
    EXPECT_EQ(purge("CMD_NODE", "berth.cmd.node.m_7.>", ask).value(), 0)
        << "the acknowledged command is gone";
    ASSERT_TRUE(delete_consumer(durable, ask));
    EXPECT_EQ(purge("CMD_NODE", "berth.cmd.node.m_8.>", ask).value(), 1);
}

TEST_F(RightsTest, AReaderHearsItsOrgAndPullsItsOwnDurableAndNothingElse) {
    auto prov = client("prov");
    prov->subscribe("_INBOX.prov.>");
    int requests = 0;
    const ApiRequest ask = [&](std::string_view subject,
                               std::string_view json) -> Result<std::string> {
        auto answer = prov->request(subject, json, "_INBOX.prov.e" + std::to_string(++requests));
        if (!answer) return deadline("timeout", "no answer");
        return *std::move(answer);
    };
    const EventReader mine{"rd_1", "acme"};
    std::vector<Consumer> durables;
    for (const EventReader& each : {mine, EventReader{"rd_2", "globex"}}) {
        ApplyReport report;
        durables.push_back(consumers_of(builtin(), each).value().front());
        const auto made = apply_consumer(durables.back(), ask, {}, report);
        ASSERT_TRUE(made) << made.error().describe();
    }
    const KeyPair key = KeyPair::create(KeyKind::kUser);
    const auto jwt = mint_reader_user(
        builtin(), *account_, mine, key.public_key(), now(), std::chrono::hours(1)
    );
    ASSERT_TRUE(jwt) << jwt.error().describe();
    RawNatsClient reader(server_->port(), login_of(*jwt, key.seed()));
    ASSERT_FALSE(reader.closed());
    for (const char* other :
         {">",
          "berth.>",
          "berth.evt.>",
          "berth.evt.*.>",
          "berth.evt.globex.>",
          "berth.evt.globex.run.run.ended.x",
          "berth.out.acme.>",
          "berth.live.>",
          "berth.rpl.>",
          "berth.cmd.>",
          "_INBOX.>",
          "_INBOX.gateway.>",
          "_INBOX.reader.rd_2.>"})
        EXPECT_TRUE(refused(reader.subscribe(other))) << other;
    for (const char* other :
         {"berth.evt.acme.run.run.ended.x",
          "berth.cmd.lease.acquire",
          "berth.live.reader.x",
          "berth.dlq.evt.reader",
          "$JS.API.CONSUMER.MSG.NEXT.EVT.reader-rd_2",
          "$JS.API.CONSUMER.MSG.NEXT.EVT.webhook",
          "$JS.API.CONSUMER.CREATE.EVT",
          "$JS.API.CONSUMER.CREATE.EVT.x.berth.evt.globex.>",
          "$JS.API.CONSUMER.DURABLE.CREATE.EVT.reader-rd_1",
          "$JS.API.CONSUMER.DELETE.EVT.reader-rd_1",
          "$JS.API.CONSUMER.NAMES.EVT",
          "$JS.API.STREAM.INFO.EVT",
          "$JS.API.STREAM.MSG.GET.EVT",
          "$JS.API.STREAM.PURGE.EVT",
          "$JS.ACK.EVT.reader-rd_2.1.1.1.1.1"})
        EXPECT_TRUE(refused(reader.publish(other, "-"))) << other;
    ASSERT_TRUE(reader.subscribe("_INBOX.reader.rd_1.>").empty());
    auto lease = client("lease");
    lease->subscribe("_INBOX.lease.>");
    ASSERT_TRUE(lease->request("berth.evt.globex.lease.lease.x.1", "theirs", "_INBOX.lease.1"));
    ASSERT_TRUE(lease->request("berth.evt.acme.lease.lease.x.2", "mine", "_INBOX.lease.2"));
    reader.publish(
        "$JS.API.CONSUMER.MSG.NEXT.EVT.reader-rd_1",
        R"({"batch":1000,"expires":5000000000})",
        "_INBOX.reader.rd_1.pull"
    );
    auto pulled = reader.next(kPatience);
    while (pulled && pulled->payload == "-")
        pulled = reader.next(kPatience);  // other tests' events
    ASSERT_TRUE(pulled);
    EXPECT_EQ(pulled->payload, "mine") << "the durable's filter is its org";
    EXPECT_EQ(reader.request(pulled->reply, "+ACK", "_INBOX.reader.rd_1.ack").value_or("none"), "");
    ASSERT_TRUE(reader.subscribe("berth.evt.acme.>").empty());
    ASSERT_TRUE(lease->request("berth.evt.acme.lease.lease.x.3", "live", "_INBOX.lease.3"));
    const auto heard = reader.next(kPatience);
    ASSERT_TRUE(heard);
    EXPECT_EQ(heard->payload, "live");
    // Dropped: the durable is gone, and the pull with it.
    ASSERT_TRUE(delete_consumer(durables[0], ask));
    const auto none = reader.request(
        "$JS.API.CONSUMER.MSG.NEXT.EVT.reader-rd_1",
        R"({"batch":1,"no_wait":true})",
        "_INBOX.reader.rd_1.again"
    );
    EXPECT_TRUE(!none || none->find("mine") == std::string::npos);
    ASSERT_TRUE(delete_consumer(durables[1], ask));
}

TEST_F(RightsTest, AnExpiredUserIsOutAndARenewedOneContinues) {
    const auto user = machine_user("m_9", std::chrono::seconds(2));
    RawNatsClient first(server_->port(), user.login);
    EXPECT_TRUE(first.publish("berth.live.node.m_9", "-").empty());
    EXPECT_FALSE(first.closed());
    EXPECT_TRUE(first.await_close(kPatience)) << "still connected past its expiry";
    EXPECT_TRUE(std::any_of(first.errors().begin(), first.errors().end(), [](const auto& line) {
        return line.find("Expired") != std::string::npos;
    }));
    // Inside the very second of its expiry the server lets it log in and throws it out at once;
    // later it refuses.
    RawNatsClient again(server_->port(), user.login);
    EXPECT_TRUE(again.await_close(std::chrono::seconds(1))) << "came back with an expired JWT";
    RawNatsClient renewed_client(server_->port(), renewed(user.key, "m_9", milliseconds{0}));
    EXPECT_FALSE(renewed_client.closed());
    EXPECT_TRUE(renewed_client.publish("berth.live.node.m_9", "-").empty());
}

TEST_F(RightsTest, StrangersDoNotGetIn) {
    EXPECT_TRUE(RawNatsClient(server_->port(), {}).closed());
    // A user signed by an account the operator does not know.
    const KeyPair foreign = KeyPair::create(KeyKind::kAccount);
    const KeyPair key = KeyPair::create(KeyKind::kUser);
    const auto jwt =
        mint_machine_user(builtin(), foreign, {"m_1", "acme"}, key.public_key(), now());
    EXPECT_TRUE(RawNatsClient(server_->port(), login_of(jwt.value(), key.seed())).closed());
    // A stolen JWT without its seed.
    const auto stolen = machine_user("m_1").login.jwt;
    EXPECT_TRUE(RawNatsClient(server_->port(), login_of(stolen, key.seed())).closed());
}

}  // namespace
}  // namespace berth::topology
