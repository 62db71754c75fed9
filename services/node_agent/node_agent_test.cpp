// SPDX-License-Identifier: Apache-2.0
// Proves the node agent on a real nats-server: runs start once, and their output is whole over kill
// -9.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <condition_variable>
#include <mutex>

#include "berth/common/v1/common.pb.h"
#include "berth/node/v1/node.pb.h"
#include "berth/run/v1/run.pb.h"
#include "bus/asker.hpp"
#include "bus/byte_channel.hpp"
#include "core/id.hpp"
#include "node_agent/node.hpp"
#include "node_agent/test_warden.hpp"
#include "process/file_lock.hpp"
#include "service/proto_time.hpp"
#include "support/nats/nats_server.hpp"
#include "support/sanitized.hpp"

namespace berth::node::testing {
namespace {

TEST(NodeAgent, RunsACommandAndTellsItAll) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    world.start_agent();
    const auto reply = world.ask(
        "start",
        world.command("rn_1", "echo out; echo err >&2; echo $BERTH_RUN $BERTH_SLUG; pwd; exit 37")
    );
    ASSERT_TRUE(reply) << reply.error().describe();
    EXPECT_EQ(reply->type, "berth.common.v1.Empty");
    const Output output = world.output("rn_1");
    EXPECT_EQ(output.out, "out\nrn_1 calm-otter\n/workspace\n");
    EXPECT_EQ(output.err, "err\n");
    EXPECT_EQ(output.end->exit_code(), 37);
    EXPECT_EQ(output.end->origin(), "remote");
    const v1::RunEnded ended = world.ended("rn_1");
    EXPECT_EQ(ended.end().state(), run::v1::RUN_STATE_FAILED);
    EXPECT_EQ(ended.output_bytes(), output.reached);
    EXPECT_TRUE(world.gone("rn_1"));
    EXPECT_TRUE(process::FileLock::is_held(world.machine.dir / "node/lock"));
}

TEST(NodeAgent, NeverStartsTwice) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    world.start_agent();
    const v1::Start start = world.command("rn_1", "echo x >> /workspace/count; sleep 0.2");
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(world.ask("start", start));  // while it runs
    world.output("rn_1");
    ASSERT_TRUE(world.gone("rn_1"));
    ASSERT_TRUE(world.ask("start", start));  // after it ended and its folder is gone
    world.agent.kill();
    world.start_agent();
    ASSERT_TRUE(world.ask("start", start));  // by another node agent
    ASSERT_TRUE(world.ask("start", world.command("rn_2", "true")));
    world.output("rn_2");
    EXPECT_EQ(read_file(world.machine.dir / "workspace/count").value(), "x\n");
}

TEST(NodeAgent, OutputIsWholeOverKillsInTheMiddle) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    world.start_agent();
    ASSERT_TRUE(world.ask(
        "start",
        world.command(
            "rn_1",
            "echo x >> /workspace/count; i=0; while [ $i -lt 40 ]; do seq $((i*5000+1)) "
            "$((i*5000+5000)); sleep 0.02; i=$((i+1)); done; exit 5"
        )
    ));
    for (int kill = 0; kill < 4; ++kill) {
        std::this_thread::sleep_for(milliseconds{100 + 70 * kill}
        );  // any moment is a good one to die
        world.agent.kill();
        world.start_agent();
    }
    const Output output = world.output("rn_1");
    std::string expected;
    for (int i = 1; i <= 200'000; ++i) expected += std::to_string(i) + "\n";
    EXPECT_TRUE(output.out == expected) << output.out.size() << " of " << expected.size();
    EXPECT_EQ(output.end->exit_code(), 5);
    EXPECT_EQ(world.ended("rn_1").output_bytes(), expected.size());
    EXPECT_EQ(read_file(world.machine.dir / "workspace/count").value(), "x\n");
    EXPECT_TRUE(world.gone("rn_1"));
}

TEST(NodeAgent, OutputIsWholeOverARestartOfTheBusAndAFullStream) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    world.request(
        "$JS.API.STREAM.UPDATE.OUT",
        R"({"name":"OUT","subjects":["berth.out.>"],"storage":"file","discard":"new","duplicate_window":120000000000,"max_bytes":3000000})"
    );
    world.start_agent();
    ASSERT_TRUE(world.ask(
        "start",
        world.command("rn_1", "head -c 8000000 /dev/zero | tr '\\0' y; sleep 0.3; echo end >&2")
    ));
    ASSERT_TRUE(eventually([&] {
        const auto info =
            world.connection->request("$JS.API.STREAM.INFO.OUT", "", milliseconds{2000});
        const auto at = info ? info->find("\"bytes\":") : std::string::npos;
        return at != std::string::npos &&
               std::strtoull(info->c_str() + at + 8, nullptr, 10) > 2'900'000;
    }));
    world.request(
        "$JS.API.STREAM.UPDATE.OUT",
        R"({"name":"OUT","subjects":["berth.out.>"],"storage":"file","discard":"new","duplicate_window":120000000000,"max_bytes":-1})"
    );
    world.nats.kill9();
    world.nats.restart();
    const Output output = world.output("rn_1", milliseconds{30'000});
    EXPECT_EQ(output.out.size(), 8'000'000U);
    EXPECT_EQ(output.err, "end\n");
    EXPECT_EQ(output.end->state(), run::v1::RUN_STATE_SUCCEEDED);
}

TEST(NodeAgent, ALostSupervisorIsALostRunAndALateStartNeverRuns) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    world.start_agent();
    ASSERT_TRUE(world.ask("start", world.command("rn_1", "echo before; exec sleep 600")));
    ASSERT_TRUE(eventually([&] {
        return SpoolReader::extent(world.machine.folder("rn_1") / "spool").second == 7;
    }));
    const auto record =
        StartedRecord::decode(read_file(world.machine.folder("rn_1") / "started").value()).value();
    ASSERT_TRUE(record.supervisor.signal(SIGKILL));
    const Output lost = world.output("rn_1");
    EXPECT_EQ(lost.out, "before\n");
    EXPECT_EQ(lost.end->state(), run::v1::RUN_STATE_LOST);
    EXPECT_EQ(world.ended("rn_1").end().origin(), "berth");

    v1::Start late = world.command("rn_2", "echo x >> /workspace/count");
    *late.mutable_start_by() = service::to_timestamp(Clock::system().now() - seconds{5});
    EXPECT_EQ(world.ask("start", late).error().code, "start_expired");
    EXPECT_EQ(world.ended("rn_2").end().state(), run::v1::RUN_STATE_LOST);
    EXPECT_FALSE(fs::exists(world.machine.dir / "workspace/count"));
}

TEST(NodeAgent, StartsWhatWasRecordedAndNotStarted) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    const Settings settings = load_settings(world.machine.dir).value();
    ASSERT_TRUE(Run::record(settings, world.command("rn_1", "echo late but whole")));
    world.start_agent();
    EXPECT_EQ(world.output("rn_1").out, "late but whole\n");
}

TEST(NodeAgent, SignalsAndCancels) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    world.start_agent();
    v1::Signal signal;
    signal.set_run("rn_0");
    signal.set_signal(SIGINT);
    EXPECT_EQ(world.ask("signal", signal).error().code, "run_not_found");
    ASSERT_TRUE(world.ask(
        "start", world.command("rn_1", "trap '' INT; sleep 600 & echo up; wait; sleep 600")
    ));
    ASSERT_TRUE(eventually([&] {
        return SpoolReader::extent(world.machine.folder("rn_1") / "spool").second == 3;
    }));
    signal.set_run("rn_1");
    *signal.mutable_kill_after() = service::to_duration(milliseconds{100});
    ASSERT_TRUE(world.ask("signal", signal));
    EXPECT_EQ(world.output("rn_1").end->state(), run::v1::RUN_STATE_CANCELED);
}

TEST(NodeAgent, ACancelThatComesRightBehindTheStartIsNotLost) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    world.start_agent();
    for (int i = 0; i < 5; ++i) {
        const std::string run = "rn_" + std::to_string(i);
        ASSERT_TRUE(world.ask("start", world.command(run, "sleep 600")));
        v1::Signal signal;
        signal.set_run(run);
        signal.set_signal(SIGINT);
        *signal.mutable_kill_after() = service::to_duration(milliseconds{100});
        const auto asked = world.ask("signal", signal);
        ASSERT_TRUE(asked) << asked.error().describe();
        EXPECT_EQ(world.ended(run).end().state(), run::v1::RUN_STATE_CANCELED);
    }
}

v1::Cleaned cleaned(World& world, const std::string& lease) {
    v1::Cleaned event;
    EXPECT_TRUE(world.read(
        "EVT",
        "berth.evt.acme.node.machine.cleaned.m_1",
        [&](const bus::Message& message) {
            EXPECT_TRUE(event.ParseFromString(message.payload));
            return event.lease() == lease;
        }
    ));
    return event;
}

v1::Clean clean_command(const std::string& lease) {
    v1::Clean clean;
    clean.set_lease(lease);
    return clean;
}

TEST(NodeAgent, ACleaningEndsWhatRunsAndLeavesNothingOfTheLastOwner) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    world.start_agent();
    v1::Start start = world.command(
        "rn_1",
        "echo secret > /workspace/token; echo secret > /home/berth/.netrc; echo secret > /tmp/x; "
        "mkdir /workspace/shut && echo y > /workspace/shut/y && chmod 0 /workspace/shut; "
        "setsid sleep 1000 & echo on; sleep 1000"
    );
    start.set_lease("ls_1");
    ASSERT_TRUE(world.ask("start", start));
    ASSERT_TRUE(eventually([&] { return fs::exists(world.machine.dir / "workspace/shut"); }));
    const auto holder = read_file(world.machine.dir / "node/holder");
    ASSERT_TRUE(world.ask("clean", clean_command("ls_1")));
    EXPECT_EQ(cleaned(world, "ls_1").error(), "");
    EXPECT_EQ(world.ended("rn_1").end().state(), run::v1::RUN_STATE_CANCELED);
    for (const char* folder : {"workspace", "home", "tmp"})
        EXPECT_TRUE(fs::is_empty(world.machine.dir / folder)) << folder;
    EXPECT_FALSE(fs::exists(world.machine.dir / "node/trash"));
    ASSERT_TRUE(holder);
    EXPECT_FALSE(process::ProcessId::parse(*holder)->alive()) << "its namespaces went too";
    // What was asked for by the last owner and comes late never runs; the next owner's does.
    v1::Start late = world.command("rn_2", "echo late > /workspace/late");
    late.set_lease("ls_1");
    ASSERT_TRUE(world.ask("start", late));
    EXPECT_EQ(world.ended("rn_2").end().state(), run::v1::RUN_STATE_LOST);
    v1::OpenSync sync;
    sync.set_channel("ch_late");
    sync.set_lease("ls_1");
    EXPECT_EQ(world.ask("open_sync", sync).error().code, "lease_ended") << "nor does its sync";
    v1::Start next =
        world.command("rn_3", "ls -A /workspace /home/berth /tmp; ps ax | grep -c slee[p]");
    next.set_lease("ls_2");
    ASSERT_TRUE(world.ask("start", next));
    EXPECT_EQ(world.output("rn_3").out, "/home/berth:\n\n/tmp:\n\n/workspace:\n0\n");
}

TEST(NodeAgent, ACleaningSurvivesAKillAndIsNeverRepeatedForTheNextOwner) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    fs::create_directories(world.machine.dir / "node/trash/workspace-0/deep/er");
    std::ofstream(world.machine.dir / "node/trash/workspace-0/deep/er/file") << "left";
    std::ofstream(world.machine.dir / "workspace/file") << "left";
    std::ofstream(world.machine.dir / "node/cleaning") << "ls_1";  // as a killed agent leaves it
    world.start_agent();
    EXPECT_EQ(cleaned(world, "ls_1").error(), "");
    EXPECT_TRUE(fs::is_empty(world.machine.dir / "workspace"));
    EXPECT_FALSE(fs::exists(world.machine.dir / "node/trash"));
    std::ofstream(world.machine.dir / "workspace/next") << "the next owner's";
    ASSERT_TRUE(world.ask("clean", clean_command("ls_1")));
    world.agent.kill();
    world.start_agent();
    ASSERT_TRUE(world.ask("clean", clean_command("ls_1"))) << "known as done";
    EXPECT_TRUE(fs::exists(world.machine.dir / "workspace/next"));
}

TEST(NodeAgent, FeedsStdinThroughAChannel) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    world.start_agent();
    v1::Start start = world.command("rn_1", "wc -c; echo end");
    start.set_stdin(true);
    ASSERT_TRUE(world.ask("start", start));
    const std::string sent(3'000'000, 'z');
    std::mutex mutex;
    std::size_t done = 0;
    bus::ByteChannel* raw = nullptr;
    const auto pump = [&] {
        const std::lock_guard lock(mutex);
        if (raw == nullptr) return;
        while (done < sent.size()) {
            const std::size_t taken = raw->send(std::string_view(sent).substr(done));
            done += taken;
            if (taken == 0) return;
        }
        raw->finish();
        raw = nullptr;
    };
    auto channel = bus::ByteChannel::open(
        *world.connection,
        {.send_subject = "berth.io.m_1.rn_1.in", .receive_subject = "berth.io.m_1.rn_1.out"},
        {[](std::string_view) {},
         [] {},
         pump,
         [](unsigned, unsigned) {},
         [](const Result<void>&, int) {}}
    );
    ASSERT_TRUE(channel);
    {
        const std::lock_guard lock(mutex);
        raw = channel->get();
    }
    pump();
    EXPECT_EQ(world.output("rn_1").out, "3000000\nend\n");
}

TEST(NodeAgent, SyncsAWorkingTreeWithARealRsyncClient) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    world.start_agent();
    v1::OpenSync open;
    open.set_channel("ch_1");
    ASSERT_TRUE(world.ask("open_sync", open));
    const fs::path source = world.machine.dir / "source";
    fs::create_directories(source / "deep/er");
    std::ofstream(source / "deep/er/file") << std::string(300'000, 'd');
    std::ofstream(source / "top") << "top";
    std::ofstream(world.machine.dir / "workspace/stale") << "must go";
    std::ofstream(world.machine.dir / "list", std::ios::binary)
        << std::string("deep/er/file\0top\0stale\0", 23);
    // rsync's remote shell, which must end when the other side has: joins its stdin and stdout to
    // two fifos, which this test carries over the channel.
    const fs::path to = world.machine.dir / "to", from = world.machine.dir / "from",
                   shell = world.machine.dir / "shell";
    ASSERT_EQ(::mkfifo(to.c_str(), 0600), 0);
    ASSERT_EQ(::mkfifo(from.c_str(), 0600), 0);
    std::ofstream(shell) << "#!/bin/sh\necho \"$@\" > " << (world.machine.dir / "asked").string()
                         << "\nexec 3<&0; cat <&3 > " << to.string() << " & cat " << from.string()
                         << "; kill $!\n";
    fs::permissions(shell, fs::perms::owner_all);
    process::SpawnSpec spec;
    spec.argv = {
        "/usr/bin/rsync",
        "-a",
        "--delete-missing-args",
        "--force",
        "--modify-window=-1",
        "--files-from=" + (world.machine.dir / "list").string(),
        "--from0",
        "-e",
        shell.string(),
        source.string() + "/",
        "machine:."};
    process::Child client = process::spawn(spec).value();
    Fd up(::open(to.c_str(), O_RDONLY | O_CLOEXEC));
    Fd down(::open(from.c_str(), O_WRONLY | O_CLOEXEC));
    std::mutex mutex;
    std::condition_variable changed;
    int exit_code = -1;
    bool eof = false;
    bus::ByteChannel* raw = nullptr;
    auto channel = bus::ByteChannel::open(
        *world.connection,
        {.send_subject = "berth.io.m_1.ch_1.in", .receive_subject = "berth.io.m_1.ch_1.out"},
        {[&](std::string_view bytes) {
             (void)!::write(down.get(), bytes.data(), bytes.size());
             const std::lock_guard lock(mutex);
             if (raw != nullptr) raw->consume(bytes.size());
         },
         [&] {
             const std::lock_guard lock(mutex);
             eof = true;
             down.reset();
             changed.notify_all();
         },
         [&] { changed.notify_all(); },
         [](unsigned, unsigned) {},
         [&](const Result<void>& result, int code) {
             const std::lock_guard lock(mutex);
             exit_code = result ? code : 1000;
             if (!result) std::fprintf(stderr, "%s\n", result.error().describe().c_str());
             changed.notify_all();
         }}
    );
    ASSERT_TRUE(channel);
    {
        const std::lock_guard lock(mutex);
        raw = channel->get();
    }
    char buffer[16384];
    for (ssize_t got = 0; (got = ::read(up.get(), buffer, sizeof buffer)) > 0;) {
        std::string_view rest(buffer, static_cast<std::size_t>(got));
        while (!rest.empty()) {
            const std::size_t taken = (*channel)->send(rest);
            rest.remove_prefix(taken);
            if (taken == 0) std::this_thread::sleep_for(milliseconds{1});
        }
    }
    (*channel)->finish();
    const auto status = client.wait(kPatience);
    ASSERT_TRUE(status);
    EXPECT_EQ(status->code, 0);
    {
        std::unique_lock lock(mutex);
        EXPECT_TRUE(changed.wait_for(lock, kPatience, [&] { return exit_code >= 0; }));
    }
    EXPECT_EQ(exit_code, 0);
    EXPECT_EQ(read_file(world.machine.dir / "workspace/top").value(), "top");
    EXPECT_EQ(read_file(world.machine.dir / "workspace/deep/er/file")->size(), 300'000U);
    EXPECT_FALSE(fs::exists(world.machine.dir / "workspace/stale"));
    // What this client asks for is what the node starts.
    std::string expected = "machine rsync";
    for (const std::string& argument : rsync_server_arguments()) expected += " " + argument;
    EXPECT_EQ(read_file(world.machine.dir / "asked").value(), expected + "\n");
}

TEST(NodeAgent, ANewAttemptAtASyncEndsTheOneBefore) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    world.start_agent();
    const auto open = [&](const std::string& channel, const std::string& sync) {
        v1::OpenSync command;
        command.set_channel(channel);
        command.set_sync(sync);
        return world.ask("open_sync", command);
    };
    ASSERT_TRUE(open("ch_1", "sy_1"));
    for (const char* other : {"", "sy_2"})
        EXPECT_EQ(open("ch_2", other).error().code, "sync_busy") << other;
    EXPECT_TRUE(open("ch_3", "sy_1")) << "its sender was cut off and comes again";
    EXPECT_EQ(open("ch_4", "sy_2").error().code, "sync_busy") << "the new attempt goes on";
}

TEST(NodeAgent, AFetchingRsyncAsksForWhatTheNodeStarts) {
    const Machine machine;
    const fs::path shell = machine.dir / "shell";
    std::ofstream(shell) << "#!/bin/sh\necho \"$@\" > " << (machine.dir / "asked").string()
                         << "\nexit 1\n";
    fs::permissions(shell, fs::perms::owner_all);
    process::SpawnSpec spec;
    spec.argv = {
        "/usr/bin/rsync",
        "-rt",
        "--prune-empty-dirs",
        "--max-size=1G",
        "--include=/a",
        "--exclude=*",
        "--blocking-io",
        "-e",
        shell.string(),
        "machine:.",
        (machine.dir / "to").string() + "/"};
    spec.stderr_fd = process::kNull;
    process::Child client = process::spawn(spec).value();
    ASSERT_TRUE(client.wait(kPatience));
    std::string expected = "machine rsync";
    for (const std::string& argument : rsync_sender_arguments()) expected += " " + argument;
    EXPECT_EQ(read_file(machine.dir / "asked").value(), expected + "\n");
}

TEST(NodeAgent, ATermLeavesRunsAliveAndDestroyEndsThem) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    world.start_agent();
    ASSERT_TRUE(world.ask("start", world.command("rn_1", "echo up; exec sleep 600")));
    ASSERT_TRUE(eventually([&] {
        return SpoolReader::extent(world.machine.folder("rn_1") / "spool").second == 3;
    }));
    const auto record =
        StartedRecord::decode(read_file(world.machine.folder("rn_1") / "started").value()).value();
    ASSERT_TRUE(world.agent.signal(SIGTERM));
    EXPECT_EQ(world.agent.wait(kPatience)->code, 0);
    EXPECT_TRUE(record.supervisor.alive());
    EXPECT_FALSE(process::FileLock::is_held(world.machine.dir / "node/lock"));
    const auto holder =
        process::ProcessId::parse(read_file(world.machine.dir / "node/holder").value()).value();
    world.start_agent();
    ASSERT_TRUE(eventually([&] {
        return process::FileLock::is_held(world.machine.dir / "node/lock");
    }));
    process::SpawnSpec spec;
    spec.argv = {binary("berth-node").string(), "--destroy", "--dir", world.machine.dir.string()};
    std::thread reaper([&] { (void)world.agent.wait(kPatience); }
    );  // as the provisioner's zombies would be
    EXPECT_EQ(process::spawn(spec)->wait(kPatience)->code, 0);
    reaper.join();
    EXPECT_FALSE(record.supervisor.alive());
    EXPECT_FALSE(holder.alive());
    EXPECT_TRUE(fs::exists(world.machine.folder("rn_1")));
}

TEST(NodeAgent, CarriesAHundredMegabytesInLittleMemory) {
    QuietWorld world;
    BERTH_NEEDS_SANDBOX(world.machine);
    world.start_agent();
    const auto begin = std::chrono::steady_clock::now();
    ASSERT_TRUE(world.ask("start", world.command("rn_1", "head -c 200000000 /dev/zero")));
    EXPECT_EQ(world.ended("rn_1").output_bytes(), 200'000'000U);
    const auto took =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin).count();
    std::uint64_t peak = 0;
    std::ifstream status("/proc/" + std::to_string(world.agent.pid()) + "/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmHWM:")) peak = std::stoull(line.substr(6));
    }
    std::printf(
        "200 MB to the bus in %lld ms, node agent %llu KiB\n",
        static_cast<long long>(took),
        static_cast<unsigned long long>(peak)
    );
    if (!berth::testing::kSanitized) {
        EXPECT_LT(peak, 100U * 1024);
    }
}

}  // namespace
}  // namespace berth::node::testing
