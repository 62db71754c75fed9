// SPDX-License-Identifier: Apache-2.0
// A machine that was taken over: with its own credential it says on the bus whatever it may, and
// tries what it may not. Nobody else notices.
#include <signal.h>

#include <thread>

#include "berth/node/v1/node.pb.h"
#include "berth/prov/v1/prov.pb.h"
#include "berth/run/v1/run.pb.h"
#include "berth/warden/v1/warden.pb.h"
#include "bus/asker.hpp"
#include "bus/connection.hpp"
#include "core/id.hpp"
#include "core/random.hpp"
#include "identity/creds.hpp"
#include "identity/nkeys.hpp"
#include "support/nats/raw_client.hpp"
#include "system.hpp"

namespace berth::testing {
namespace {

class HostileNode : public SystemTest {
protected:
    static constexpr int kLines = 60;

    void SetUp() override {
        for (const char* part : {"gateway", "lease", "prov", "run", "warden", "nats", "postgres"})
            pids_[part] = suite().pid(part);
        bad_lease_ = acquire();
        good_lease_ = acquire();
        bad_ = member(suite().api("GET", "/v1/leases/" + bad_lease_), "machine");
        good_ = member(suite().api("GET", "/v1/leases/" + good_lease_), "machine");
        const auto folder = suite().data() / "machines" / bad_ / "node";
        creds_file_ = folder / "creds";
        const std::string settings = read_file(folder / "node.yaml").value();
        const auto at = settings.find("nats_url: ") + 10;
        nats_url_ = settings.substr(at, settings.find('\n', at) - at);
        good_run_ = start(
            good_lease_,
            "i=0; while [ $i -lt " + std::to_string(kLines) +
                " ]; do echo line $i; i=$((i+1)); sleep 0.02; done"
        );
    }
    void TearDown() override {
        // The neighbour: its run, whole and right.
        const Json end = ended(good_run_);
        EXPECT_EQ(end.string_or("state", ""), "RUN_STATE_SUCCEEDED") << end.dump();
        std::string expected;
        for (int i = 0; i < kLines; ++i) expected += "line " + std::to_string(i) + "\n";
        EXPECT_EQ(suite().berth({"logs", good_run_}).out, expected);
        // The services: the very same processes, and ready.
        for (const auto& [part, pid] : pids_) EXPECT_EQ(suite().pid(part), pid) << part;
        EXPECT_EQ(suite().status().string_or("state", ""), "ready");
        EXPECT_EQ(suite().logs().find("\"level\":\"error\""), std::string::npos) << suite().logs();
        release(bad_lease_);
        release(good_lease_);
        EXPECT_TRUE(machines_gone()) << suite().logs();
    }

    std::unique_ptr<bus::Connection> connect() const {
        bus::ConnectSettings settings;
        settings.url = nats_url_;
        settings.name = "hostile";
        settings.inbox_prefix = "_INBOX.node." + bad_;
        settings.credentials = bus::credentials_from_file(creds_file_.string());
        auto connection = bus::connect(std::move(settings));
        if (!connection) throw std::runtime_error(connection.error().describe());
        return std::move(*connection);
    }
    std::unique_ptr<RawNatsClient> raw() const {
        const auto creds = identity::read_creds(creds_file_).value();
        auto key =
            std::make_shared<identity::KeyPair>(identity::KeyPair::from_seed(creds.seed).value());
        const int port = std::stoi(nats_url_.substr(nats_url_.rfind(':') + 1));
        return std::make_unique<RawNatsClient>(
            port,
            RawNatsClient::Login{
                creds.jwt, [key](std::string_view nonce) { return key->sign(nonce); }}
        );
    }
    std::string out_subject(const std::string& run) const {
        return "berth.out.default." + bad_ + "." + run;
    }
    static std::string frame(std::uint64_t offset, std::string_view data, int stream = 1) {
        run::v1::OutputFrame frame;
        frame.set_offset(offset);
        frame.set_stream(static_cast<run::v1::Stream>(stream));
        frame.set_data(std::string(data));
        return frame.SerializeAsString();
    }
    static std::string ended_event(const std::string& run, std::uint64_t bytes) {
        node::v1::RunEnded event;
        event.set_run(run);
        event.mutable_ended_at()->set_seconds(std::time(nullptr));
        event.mutable_end()->set_state(run::v1::RUN_STATE_SUCCEEDED);
        event.mutable_end()->set_exit_code(0);
        event.set_output_bytes(bytes);
        return event.SerializeAsString();
    }
    /// A message as a node's own: with the headers that services ask for.
    static bus::Message as_event(std::string subject, std::string payload, std::string type) {
        bus::Message message;
        message.subject = std::move(subject);
        message.payload = std::move(payload);
        const std::string id = make_ulid(Clock::system().now(), Random::system());
        message.headers = {
            {std::string(bus::kMsgId), id},
            {std::string(bus::kCeSpecVersion), "1.0"},
            {std::string(bus::kCeId), id},
            {std::string(bus::kCeType), std::move(type)},
            {std::string(bus::kCeSource), "berth/node/hostile"},
            {std::string(bus::kCeTime), to_rfc3339(Clock::system().now())}};
        return message;
    }

    std::map<std::string, pid_t> pids_;
    std::string bad_lease_;
    std::string good_lease_;
    std::string bad_;
    std::string good_;
    std::string good_run_;
    std::string nats_url_;
    std::filesystem::path creds_file_;
};

TEST_F(HostileNode, NothingOfAnotherMachineOrServiceIsInItsReach) {
    const auto client = raw();
    ASSERT_FALSE(client->closed());
    const std::vector<std::string> forbidden{
        "berth.out.default." + good_ + "." + good_run_,
        "berth.out.other." + bad_ + "." + good_run_,
        "berth.evt.default.node.run.ended." + good_,
        "berth.evt.default.prov.machine.gone." + good_,
        "berth.evt.default.lease.lease.released." + good_lease_,
        "berth.cmd.node." + good_ + ".start",
        "berth.cmd.node." + bad_ + ".start",
        "berth.cmd.lease.release",
        "berth.cmd.run.start",
        "berth.cmd.prov.destroy",
        "berth.cmd.prov.renew." + good_,
        "berth.qry.lease.list",
        "berth.cmd.warden.decide",
        "berth.cmd.warden.resume",
        "berth.cmd.warden.ask." + good_,
        "berth.cmd.warden.claim." + good_,
        "berth.qry.warden.audit",
        "berth.qry.warden.snapshot." + good_,
        "berth.warden.default",
        "berth.rpl.gateway.x.lease.y.z",
        "berth.rpl.run.x.node." + good_ + ".z",
        "berth.io." + good_ + "." + good_run_ + ".out",
        "berth.io." + good_ + "." + good_run_ + ".in",
        "berth.io." + bad_ + ".x.in",
        "berth.live.node." + good_,
        "berth.live.lease.x",
        "berth.dlq.cmd_lease.lease",
        "berth.audit.default.x.y",
        "$JS.API.STREAM.DELETE.OUT",
        "$JS.API.STREAM.PURGE.OUT",
        "$JS.API.STREAM.CREATE.MINE",
        "$JS.API.CONSUMER.CREATE.OUT",
        "$JS.API.CONSUMER.DURABLE.CREATE.CMD_NODE.mine",
        "$JS.API.CONSUMER.DELETE.CMD_NODE.node-" + good_,
        "$JS.API.CONSUMER.MSG.NEXT.CMD_NODE.node-" + good_,
        "$JS.ACK.CMD_NODE.node-" + good_ + ".1.1.1.1.1",
        "$SYS.REQ.SERVER.PING",
    };
    for (const std::string& subject : forbidden) {
        const auto errors = client->publish(subject, "x");
        ASSERT_EQ(errors.size(), 1U) << subject;
        EXPECT_NE(errors[0].find("Permissions Violation"), std::string::npos) << errors[0];
    }
    for (const std::string& subject :
         {std::string(">"),
          std::string("berth.>"),
          std::string("berth.out.>"),
          std::string("berth.evt.>"),
          std::string("berth.rpl.>"),
          std::string("_INBOX.>"),
          std::string("_INBOX.gateway.>"),
          "_INBOX.node." + good_ + ".>",
          "berth.io." + good_ + ".*.in",
          "berth.rpl.node." + good_ + ".>"}) {
        EXPECT_FALSE(client->subscribe(subject).empty()) << subject;
    }
    EXPECT_TRUE(client->publish(out_subject("rn_x"), "mine").empty()) << "its own is allowed";
}

TEST_F(HostileNode, FramesOutOfOrderOrWithGapsNeverReachAReader) {
    const auto connection = connect();
    Suite::CommandOptions options;
    options.no_input = false;  // the input channel is open: it is spoken to as well
    auto reader = suite().start(
        run_sh(
            "echo begun; read line; echo got $line; i=0; while [ $i -lt 50 ]; do echo right $i; "
            "i=$((i+1)); sleep 0.02; done; exit 6",
            {"--no-sync", "--lease", bad_lease_}
        ),
        options
    );
    ASSERT_TRUE(reader->wait_out("begun\n")) << suite().logs();
    const auto runs = json_of(suite().api("GET", "/v1/runs?lease=" + bad_lease_).body);
    const std::string run = runs.find("runs")->as_array()->front().string_or("id", "");
    SeededRandom random(7);
    const auto lies = [&] {
        for (const std::uint64_t offset :
             {std::uint64_t{0},
              std::uint64_t{3},
              std::uint64_t{1} << 20U,
              std::uint64_t{1} << 40U,
              ~std::uint64_t{0}}) {
            EXPECT_TRUE(connection->publish_plain(out_subject(run), frame(offset, "EVIL\n")));
            EXPECT_TRUE(connection->publish_plain(out_subject(run), frame(offset, "EVIL\n", 99)));
            EXPECT_TRUE(connection->publish_plain(
                out_subject(run), frame(offset, std::string(900'000, 'E'))
            ));
        }
        std::string noise(1'000, '\0');
        for (char& c : noise) c = static_cast<char>(random.below(256));
        EXPECT_TRUE(connection->publish_plain(out_subject(run), noise));
        EXPECT_TRUE(connection->publish_plain(out_subject(run), ""));
        const std::string channel = "berth.io." + bad_ + "." + run + ".out";
        EXPECT_TRUE(connection->publish_plain(channel, noise));
        node::v1::ChannelFrame credit;
        credit.set_offset(~std::uint64_t{0});
        credit.set_data(std::string(60'000, 'E'));
        credit.set_window(1U << 16U);
        EXPECT_TRUE(connection->publish_plain(channel, credit.SerializeAsString()));
    };
    lies();
    reader->write_in("hello\n");
    ASSERT_TRUE(reader->wait_out("right 20\n")) << reader->out();
    lies();
    const Said said = reader->finish();
    std::string expected = "begun\ngot hello\n";
    for (int i = 0; i < 50; ++i) expected += "right " + std::to_string(i) + "\n";
    EXPECT_TRUE(said.out == expected) << said.out.substr(0, 2'000);
    EXPECT_EQ(said.exit_code, 6) << said.err;
    const Said logs = suite().berth({"logs", run});
    EXPECT_TRUE(logs.out == expected) << logs.out.substr(0, 2'000);
    EXPECT_EQ(logs.exit_code, 0) << logs.err;
}

TEST_F(HostileNode, OutputThatIsMissingIsToldToEveryReader) {
    const auto connection = connect();
    auto reader =
        suite().start(run_sh("echo here; sleep 300", {"--no-sync", "--lease", bad_lease_}), {});
    ASSERT_TRUE(reader->wait_out("here\n")) << suite().logs();
    const auto runs = json_of(suite().api("GET", "/v1/runs?lease=" + bad_lease_).body);
    const std::string run = runs.find("runs")->as_array()->front().string_or("id", "");
    // It says that the run ended well and wrote 1000 bytes; five of them are in the stream.
    ASSERT_TRUE(connection->publish_wait(as_event(
        "berth.evt.default.node.run.ended." + bad_,
        ended_event(run, 1'000),
        "berth.node.v1.RunEnded"
    )));
    const Said said = reader->finish();
    EXPECT_EQ(said.out, "here\n");
    EXPECT_NE(said.err.find("the output is incomplete"), std::string::npos) << said.err;
    const Said attached = suite().berth({"attach", run});
    EXPECT_EQ(attached.out, "here\n");
    EXPECT_NE(attached.err.find("the output is incomplete"), std::string::npos) << attached.err;
    const Said logs = suite().berth({"logs", run});
    EXPECT_EQ(logs.out, "here\n");
    EXPECT_EQ(logs.exit_code, 1) << "a cut is no end";
    EXPECT_NE(logs.err.find("incomplete"), std::string::npos) << logs.err;
}

TEST_F(HostileNode, ItEndsStartsAndRenewsNothingOfItsNeighbour) {
    const auto connection = connect();
    node::v1::RunStarted started;
    started.set_run(good_run_);
    const std::string base = "berth.evt.default.node.run.";
    ASSERT_TRUE(connection->publish_wait(
        as_event(base + "ended." + bad_, ended_event(good_run_, 0), "berth.node.v1.RunEnded")
    ));
    ASSERT_TRUE(connection->publish_wait(
        as_event(base + "started." + bad_, started.SerializeAsString(), "berth.node.v1.RunStarted")
    ));
    // It lists the neighbour's run as its own, and asks for the neighbour's credential.
    node::v1::Presence presence;
    presence.set_machine(good_);
    presence.set_org("default");
    ASSERT_TRUE(connection->publish_plain("berth.live.node." + bad_, presence.SerializeAsString()));
    const auto key = identity::KeyPair::create(identity::KeyKind::kUser);
    prov::v1::Renew renew;
    renew.set_machine(good_);
    renew.set_user_public_key(key.public_key());
    renew.set_nonce("n");
    renew.set_signature("nonsense");
    auto ask =
        as_event("berth.cmd.prov.renew." + bad_, renew.SerializeAsString(), "berth.prov.v1.Renew");
    const std::string mine = "berth.rpl.node." + bad_;
    ask.headers.emplace_back(bus::kReplyTo, mine);
    std::mutex mutex;
    std::condition_variable heard;
    std::string status;
    const auto answers = connection->subscribe(mine + ".>", [&](bus::Message message) {
        const std::lock_guard lock(mutex);
        status = message.header(bus::kStatus);
        heard.notify_all();
    });
    ASSERT_TRUE(answers) << answers.error().describe();
    ASSERT_TRUE(connection->publish_wait(ask));
    std::unique_lock lock(mutex);
    EXPECT_TRUE(heard.wait_for(lock, seconds{10}, [&] { return !status.empty(); }));
    EXPECT_EQ(status, "failure");
}

TEST_F(HostileNode, WhatItTellsWardenIsOfItsOwnRunsAndUnderItsOwnName) {
    const auto connection = connect();
    const auto asker = bus::Asker::create(*connection, {"node", bad_});
    ASSERT_TRUE(asker) << asker.error().describe();
    const auto tell = [&](const google::protobuf::Message& message, const std::string& verb) {
        bus::Ask ask;
        ask.subject = "berth.cmd.warden." + verb;
        ask.type = message.GetTypeName();
        ask.payload = message.SerializeAsString();
        ask.timeout = seconds{10};
        const auto answer = (*asker)->ask_wait(std::move(ask));
        return answer ? std::string("taken") : answer.error().code;
    };
    const auto stored = [](const std::string& filter) {
        const Json page = json_of(suite().api("GET", "/v1/audit?limit=100&" + filter).body);
        const Json* records = page.find("records");
        return records == nullptr || records->as_array() == nullptr ? Json::Array{}
                                                                    : *records->as_array();
    };
    warden::v1::Record batch;
    warden::v1::AuditRecord& record = *batch.add_records();
    record.set_fact("exec_ended");
    record.set_user("somebody");
    record.set_command("rm -rf /");
    record.mutable_origin()->set_org("default");
    record.mutable_origin()->set_machine(good_);
    record.mutable_origin()->set_lease(good_lease_);
    record.mutable_origin()->set_run(good_run_);
    EXPECT_EQ(tell(batch, "record." + bad_), "not_its_org");
    EXPECT_TRUE(stored("run=" + good_run_).empty()) << "of its neighbour it tells nothing";
    EXPECT_NE(tell(batch, "record." + good_), "taken") << "nor in its neighbour's name";
    EXPECT_TRUE(stored("run=" + good_run_).empty());
    record.mutable_origin()->set_org("other");
    record.mutable_origin()->set_lease(bad_lease_);
    EXPECT_EQ(tell(batch, "record." + bad_), "not_its_org");
    record.mutable_origin()->set_org("default");
    record.mutable_origin()->set_run("rn_own");
    record.set_fact("approval_decided");
    EXPECT_EQ(tell(batch, "record." + bad_), "taken");
    const auto own = stored("run=rn_own");
    ASSERT_EQ(own.size(), 1U);
    EXPECT_EQ(own[0].string_or("fact", ""), "exec_other") << "no decision is a machine's to tell";
    EXPECT_EQ(own[0].find("origin")->string_or("machine", ""), bad_);
    EXPECT_NE(own[0].string_or("user", ""), "somebody");
    // Neither does it ask in its neighbour's name.
    warden::v1::Ask ask;
    ask.set_held("h");
    ask.mutable_plan()->add_argv("ls");
    *ask.mutable_origin() = record.origin();
    ask.mutable_origin()->set_user("somebody");
    ask.mutable_origin()->set_machine(good_);
    EXPECT_EQ(tell(ask, "ask." + bad_), "not_its_org");
    ask.mutable_origin()->set_machine(bad_);
    ask.mutable_origin()->set_lease(good_lease_);
    EXPECT_NE(tell(ask, "ask." + bad_), "taken");
}

TEST_F(HostileNode, RubbishOnEverySubjectItMaySpeakOnDisturbsNobody) {
    const auto connection = connect();
    const std::string own = start(bad_lease_, "echo mine; sleep 300");
    ASSERT_TRUE(suite().eventually([&] {
        return member(suite().api("GET", "/v1/runs/" + own), "state") == "RUN_STATE_RUNNING";
    }));
    const auto status = json_of(suite().api("GET", "/v1/status").body);
    std::vector<std::string> repliers;  // reply subjects of real askers, where they can be known
    for (const char* token : {"gateway", "run", "lease", "prov"}) {
        repliers.push_back(std::string("berth.rpl.") + token + ".x");
        for (const Json& service : status.find("services") == nullptr
                                       ? Json::Array{}
                                       : *status.find("services")->as_array()) {
            if (service.string_or("service", service.string_or("name", "")) == token)
                repliers.push_back(
                    std::string("berth.rpl.") + token + "." + service.string_or("instance", "y")
                );
        }
    }
    std::vector<std::string> subjects{
        "berth.evt.default.node.run.started." + bad_,
        "berth.evt.default.node.run.ended." + bad_,
        "berth.evt.default.node.run.surprise." + bad_,
        "berth.evt.default.node.surprise.ended." + bad_,
        out_subject(own),
        out_subject("rn_00000000000000000000000000"),
        "berth.io." + bad_ + "." + own + ".out",
        "berth.live.node." + bad_,
        "berth.cmd.prov.renew." + bad_,
        "berth.cmd.warden.ask." + bad_,
        "berth.cmd.warden.claim." + bad_,
        "berth.cmd.warden.abandon." + bad_,
        "berth.cmd.warden.halted." + bad_,
        "berth.cmd.warden.record." + bad_,
        "berth.qry.warden.snapshot." + bad_,
        "berth.dlq.cmd_node.node-" + bad_};
    for (const std::string& replier : repliers)
        subjects.push_back(replier + ".node." + bad_ + ".00000000000000000000000000");
    SeededRandom random(11);
    std::vector<std::string> payloads{"", std::string(1, '\0'), std::string(100, '\xff')};
    for (int i = 0; i < 4; ++i) {
        std::string noise(static_cast<std::size_t>(1U << (4 * i)), '\0');
        for (char& c : noise) c = static_cast<char>(random.below(256));
        payloads.push_back(noise);
    }
    payloads.emplace_back(900'000, 'x');
    // Well-formed and absurd.
    node::v1::RunEnded absurd;
    absurd.set_run(own);
    absurd.mutable_ended_at()->set_seconds(std::numeric_limits<std::int64_t>::max());
    absurd.mutable_ended_at()->set_nanos(std::numeric_limits<std::int32_t>::min());
    absurd.mutable_end()->set_state(static_cast<run::v1::RunState>(999));
    absurd.mutable_end()->set_reason(std::string(10'000, '\x01'));
    absurd.set_output_bytes(~std::uint64_t{0});
    payloads.push_back(absurd.SerializeAsString());
    node::v1::RunStarted early;
    early.set_run(own);
    early.mutable_started_at()->set_seconds(std::numeric_limits<std::int64_t>::min());
    payloads.push_back(early.SerializeAsString());
    for (const std::string& subject : subjects) {
        for (const std::string& payload : payloads) {
            EXPECT_TRUE(connection->publish_plain(subject, payload));  // no header at all
            for (const char* cause :
                 {"", "x", "x/y-z", "/--", "00000000000000000000000000/x-1-1"}) {
                auto message = as_event(subject, payload, "berth.node.v1.RunEnded");
                message.headers.emplace_back(bus::kCausationId, cause);
                message.headers.emplace_back(
                    bus::kStatus, payload.size() % 2 == 0 ? "ok" : "failure"
                );
                message.headers.emplace_back(bus::kReplyTo, "berth.rpl.gateway.>");
                message.headers.emplace_back(bus::kDeadline, "yesterday");
                EXPECT_TRUE(connection->publish_plain(subject, message.payload, message.headers));
                if (payload.size() > 100'000) break;  // once is enough of the large one
            }
        }
    }
    ASSERT_TRUE(connection->flush(seconds{20}));
    // Everybody answers, at once, and the work goes on; on the hostile machine too.
    EXPECT_EQ(suite().api("GET", "/v1/whoami").status, 200);
    EXPECT_EQ(suite().api("POST", "/v1/leases/" + good_lease_ + "/heartbeat").status, 200);
    const Said said =
        suite().berth({"run", "--no-sync", "--profile", "default", "--", "echo", "others work"});
    EXPECT_EQ(said.exit_code, 0) << said.err;
    EXPECT_EQ(said.out, "others work\n");
    EXPECT_EQ(suite().api("POST", "/v1/runs/" + own + "/cancel", R"({"grace":"1s"})").status, 200);
    EXPECT_NE(ended(own).string_or("state", ""), "RUN_STATE_RUNNING");
}

TEST_F(HostileNode, MoreThanAMessageMayHoldEndsItsConnectionOnly) {
    const auto client = raw();
    ASSERT_FALSE(client->closed());
    client->publish(out_subject("rn_x"), std::string(2U << 20U, 'x'));
    EXPECT_TRUE(client->await_close(seconds{10}));
    EXPECT_FALSE(raw()->closed()) << "the next one is welcome";
}

}  // namespace
}  // namespace berth::testing
