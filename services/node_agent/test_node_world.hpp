// SPDX-License-Identifier: Apache-2.0
// For tests: a real bus with Berth's streams, one machine on it, and its node agent.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <condition_variable>
#include <mutex>

#include "berth/common/v1/common.pb.h"
#include "berth/node/v1/node.pb.h"
#include "berth/run/v1/run.pb.h"
#include "bus/asker.hpp"
#include "core/id.hpp"
#include "node_agent/node.hpp"
#include "node_agent/test_machine.hpp"
#include "support/nats/nats_server.hpp"

namespace berth::node::testing {

using berth::testing::NatsServer;

/// What came out of one run, as a client reads it: only the frame that begins where it stands.
struct Output {
    std::string out;
    std::string err;
    std::uint64_t reached = 0;
    std::uint64_t frames = 0;
    std::optional<run::v1::OutputFrame::End> end;
};

/// A bus with Berth's streams, one machine, and its node agent.
class World {
public:
    explicit World(const std::string& guard = "none") : nats(NatsServer::start()) {
        connection = bus::connect({.url = nats.url(),
                                   .name = "test",
                                   .inbox_prefix = "_INBOX.test",
                                   .credentials = {},
                                   .on_closed = {}}
        ).value();
        stream("CMD_NODE", "berth.cmd.node.>", R"("retention":"workqueue")");
        stream("RPL", "berth.rpl.>", R"("storage":"file")");
        stream("EVT", "berth.evt.>", R"("storage":"file")");
        stream("OUT", "berth.out.>", R"("storage":"file","discard":"new")");
        stream("LIVE", "berth.live.>", R"("storage":"file")");
        request(
            "$JS.API.CONSUMER.DURABLE.CREATE.CMD_NODE.node-m_1",
            R"({"stream_name":"CMD_NODE","config":{"durable_name":"node-m_1","ack_policy":"explicit","ack_wait":3000000000,"filter_subject":"berth.cmd.node.m_1.>"}})"
        );
        asker = bus::Asker::create(*connection, {"run", "t1"}).value();
        std::ofstream(machine.dir / "node/node.yaml")
            << "machine: m_1\norg: acme\nlease: ls_1\nslug: calm-otter\nnats_url: " << nats.url()
            << "\nnetwork: false\nguard: " << guard << "\n";
    }
    ~World() {
        if (agent.pid() != 0) agent.kill();
        (void)destroy_machine(machine.dir);
    }

    void request(const std::string& subject, const std::string& json) {
        const auto answer = connection->request(subject, json, milliseconds{5000});
        ASSERT_TRUE(answer) << answer.error().describe();
        ASSERT_EQ(answer->find("\"error\""), std::string::npos) << *answer;
    }
    void stream(const std::string& name, const std::string& subject, const std::string& more) {
        request(
            "$JS.API.STREAM.CREATE." + name,
            R"({"name":")" + name + R"(","subjects":[")" + subject +
                R"("],"duplicate_window":120000000000,)" + more + "}"
        );
    }
    void start_agent() {
        process::SpawnSpec spec;
        spec.argv = {binary("berth-node").string(), "--dir", machine.dir.string()};
        agent = process::spawn(spec).value();
    }

    v1::Start command(const std::string& run, const std::string& script) {
        v1::Start start;
        start.set_run(run);
        start.set_org("acme");
        for (const std::string& word : {std::string("sh"), std::string("-c"), script})
            start.add_argv(word);
        return start;
    }
    Result<bus::Answer> ask(
        const std::string& verb,
        const google::protobuf::Message& message,
        milliseconds timeout = kPatience
    ) {
        bus::Ask question;
        question.subject = "berth.cmd.node.m_1." + verb;
        question.type = message.GetTypeName();
        question.payload = message.SerializeAsString();
        question.timeout = timeout;
        return asker->ask_wait(std::move(question));
    }

    /// Reads a stream until `enough`; false when the time is up.
    bool read(
        const std::string& name,
        const std::string& filter,
        const std::function<bool(const bus::Message&)>& enough,
        milliseconds patience = kPatience
    ) {
        std::mutex mutex;
        std::condition_variable changed;
        bool done = false;
        auto reader =
            connection->read({.stream = name, .filter = filter}, [&](bus::ReadMessage message) {
                const std::lock_guard lock(mutex);
                if (!done && enough(message.message)) {
                    done = true;
                    changed.notify_all();
                }
                return !done;
            });
        EXPECT_TRUE(reader);
        std::unique_lock lock(mutex);
        const bool in_time = changed.wait_for(lock, patience, [&] { return done; });
        lock.unlock();
        (*reader)->stop();
        return in_time;
    }
    Output output(const std::string& run, milliseconds patience = kPatience) {
        Output output;
        EXPECT_TRUE(read(
            "OUT",
            "berth.out.acme.m_1." + run,
            [&](const bus::Message& message) {
                run::v1::OutputFrame frame;
                EXPECT_TRUE(frame.ParseFromString(message.payload));
                if (frame.offset() != output.reached) return false;
                if (frame.has_end()) output.end = frame.end();
                (frame.stream() == run::v1::STREAM_STDERR ? output.err : output.out) +=
                    frame.data();
                output.reached += frame.data().size();
                ++output.frames;
                return output.end.has_value();
            },
            patience
        )) << "no end of "
           << run << " in time; reached " << output.reached;
        return output;
    }
    v1::RunEnded ended(const std::string& run) {
        v1::RunEnded event;
        EXPECT_TRUE(read(
            "EVT",
            "berth.evt.acme.node.run.ended.m_1",
            [&](const bus::Message& message) {
                EXPECT_TRUE(event.ParseFromString(message.payload));
                return event.run() == run;
            }
        ));
        return event;
    }
    bool gone(const std::string& run) {
        return eventually([&] { return !fs::exists(machine.folder(run)); });
    }

    NatsServer nats;
    Machine machine;
    std::unique_ptr<bus::Connection> connection;
    std::unique_ptr<bus::Asker> asker;
    process::Child agent;
};

}  // namespace berth::node::testing
