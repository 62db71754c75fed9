// SPDX-License-Identifier: Apache-2.0
// Proves the machine's side of warden on a real nats-server: policy, held commands over kill -9,
// audit, halts.
#include <gtest/gtest.h>
#include <sys/utsname.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "node_agent/test_warden.hpp"
#include "service/proto_time.hpp"

namespace berth::node::testing {
namespace {

constexpr const char* kPolicy = R"(version: 1
default: allow
timeout: 10m
rules:
  - id: no-id
    action: deny
    reason: nobody asks who they are
    match: {executable: [id]}
  - id: ask-uname
    action: ask
    reason: a person shall say
    match: {executable: [uname]}
)";

bool says(
    const std::vector<warden::v1::AuditRecord>& records,
    const std::string& fact,
    const std::string& executable
) {
    for (const auto& record : records)
        if (record.fact() == fact && record.executable() == executable) return true;
    return false;
}

TEST(GuardNode, WithoutAPolicyNothingIsGuardedAndDebuggersWork) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    world.start_agent();
    ASSERT_TRUE(world.ask(
        "start", world.command("rn_1", "grep TracerPid /proc/self/status; LD_DEBUG=help true")
    ));
    const Output output = world.output("rn_1");
    EXPECT_NE(output.out.find("TracerPid:\t0\n"), std::string::npos) << output.out;
    EXPECT_TRUE(warden.until([&] { return warden.records.empty(); }));
}

TEST(GuardNode, AStartWaitsUntilWardenSaysWhichPolicyIsInForce) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    world.start_agent();
    v1::Start late = world.command("rn_late", "echo late");
    *late.mutable_start_by() = service::to_timestamp(Clock::system().now() + milliseconds{1'000});
    ASSERT_TRUE(world.ask("start", late));
    ASSERT_TRUE(world.ask("start", world.command("rn_1", "echo ran")));
    EXPECT_EQ(world.ended("rn_late").end().state(), run::v1::RUN_STATE_LOST);
    EXPECT_FALSE(fs::exists(world.machine.folder("rn_1") / "started"));
    WardenDouble warden(world);
    EXPECT_EQ(world.output("rn_1", seconds{30}).out, "ran\n");
}

TEST(GuardNode, DeniesRecordsAndDropsDangerousVariables) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    warden.set_policy(kPolicy);
    world.start_agent();
    v1::Start start = world.command("rn_1", "id; echo $? $LD_PRELOAD$HELLO; exit 5");
    (*start.mutable_env())["LD_PRELOAD"] = "/tmp/evil.so";
    (*start.mutable_env())["HELLO"] = "hello";
    start.set_user("anna");
    ASSERT_TRUE(world.ask("start", start));
    const Output output = world.output("rn_1");
    EXPECT_EQ(output.out, "126 hello\n");
    EXPECT_EQ(output.err, "berth: denied by rule no-id: nobody asks who they are\n");
    EXPECT_EQ(output.end->exit_code(), 5);
    EXPECT_TRUE(world.gone("rn_1"));  // only when warden has its audit
    EXPECT_TRUE(warden.until([&] {
        return says(warden.records, "exec_started", "/usr/bin/dash") &&
               says(warden.records, "exec_ended", "/usr/bin/dash") &&
               says(warden.records, "exec_denied", "/usr/bin/id") &&
               says(warden.records, "run_ended", "");
    }));
    EXPECT_EQ(warden.records.front().user(), "anna");
    EXPECT_EQ(warden.records.front().origin().run(), "rn_1");
    EXPECT_EQ(warden.records.back().exit_code(), 5);
    EXPECT_EQ(warden.records.back().output_sha256().size(), 64U);
}

TEST(GuardNode, OneRecordThatWardenRefusesTakesNoOtherWithIt) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    warden.set_policy(kPolicy);
    warden.refuse_record = "/workspace/bad";
    world.start_agent();
    // A path need not be UTF-8, and is recorded as it is shown.
    ASSERT_TRUE(world.ask(
        "start",
        world.command(
            "rn_1", "p=$(printf 'x\\377'); cp /bin/true $p; cp /bin/true bad; ./$p; ./bad; id"
        )
    ));
    EXPECT_EQ(world.output("rn_1").end->exit_code(), 126);
    EXPECT_TRUE(world.gone("rn_1"));
    EXPECT_TRUE(warden.until([&] {
        return says(warden.records, "exec_started", "$'/workspace/x\\xff'") &&
               says(warden.records, "exec_denied", "/usr/bin/id") &&
               says(warden.records, "audit_refused", "") && says(warden.records, "run_ended", "");
    }));
    EXPECT_FALSE(says(warden.records, "exec_started", "/workspace/bad"));
}

// As many records as one command to warden may have, of the longest commands that are shown, are
// more bytes than a message may have.
TEST(GuardNode, AnAuditThatIsTooLargeForOneMessageIsToldInParts) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    warden.set_policy(kPolicy);
    world.start_agent();
    const std::string script =
        "echo > begun; until [ -e go ]; do sleep 0.01; done; i=0; while [ $i -lt 600 ]; do "
        "id $(printf %01990d $i) 2> /dev/null; i=$((i+1)); done; echo > ended";
    ASSERT_TRUE(world.ask("start", world.command("rn_1", script)));
    const fs::path workspace = world.machine.dir / "workspace";
    ASSERT_TRUE(eventually([&] { return fs::exists(workspace / "begun"); }));
    world.agent.kill();
    std::ofstream(workspace / "go") << "\n";
    ASSERT_TRUE(eventually([&] { return fs::exists(workspace / "ended"); }, seconds{60}));
    world.start_agent();
    EXPECT_EQ(world.output("rn_1").end->exit_code(), 0);
    EXPECT_TRUE(world.gone("rn_1"));
    EXPECT_TRUE(warden.until([&] { return says(warden.records, "run_ended", ""); }));
    std::set<std::string> told;
    for (const auto& record : warden.records)
        if (record.fact() == "exec_denied") told.insert(record.command());
    EXPECT_EQ(told.size(), 600U);
}

TEST(GuardNode, AHeldCommandOutlivesItsNodeAgent) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    warden.set_policy(kPolicy);
    world.start_agent();
    ASSERT_TRUE(world.ask("start", world.command("rn_1", "uname -s; uname -o; echo $?")));
    ASSERT_TRUE(warden.until([&] { return warden.asks.size() == 1; }));
    EXPECT_EQ(warden.asks[0].plan().argv(1), "-s");
    EXPECT_EQ(warden.asks[0].terms().rule(), "ask-uname");
    v1::RunHeld held;
    EXPECT_TRUE(world.read(
        "EVT",
        "berth.evt.acme.node.run.held.m_1",
        [&](const bus::Message& message) { return held.ParseFromString(message.payload); }
    ));
    EXPECT_EQ(held.approval(), "ap_" + warden.asks[0].held());
    world.agent.kill();
    world.start_agent();
    warden.decide(warden.asks[0].held(), true);
    ASSERT_TRUE(warden.until([&] { return warden.asks.size() == 2 && warden.claims.size() == 1; }));
    EXPECT_TRUE(world.read(
        "EVT",
        "berth.evt.acme.node.run.continued.m_1",
        [&](const bus::Message& message) { return held.ParseFromString(message.payload); }
    ));
    warden.decide(warden.asks[1].held(), false);
    const Output output = world.output("rn_1");
    EXPECT_EQ(output.out, "Linux\n126\n");
    EXPECT_EQ(output.err, "berth: denied by rule ask-uname: not today\n");
}

TEST(GuardNode, ADecisionThatCameAndWentIsHeardWhenTheBusIsBack) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    warden.set_policy(kPolicy);
    world.start_agent();
    ASSERT_TRUE(world.ask("start", world.command("rn_1", "uname -s; uname -o")));
    ASSERT_TRUE(warden.until([&] { return warden.asks.size() == 1; }));
    v1::RunHeld held;
    ASSERT_TRUE(world.read(
        "EVT",
        "berth.evt.acme.node.run.held.m_1",
        [&](const bus::Message& message) { return held.ParseFromString(message.payload); }
    )) << "it has its answer";
    warden.decide_unheard(warden.asks[0].held(), {});
    world.nats.restart();
    ASSERT_TRUE(warden.until([&] { return warden.asks.size() == 2; }));
    // The same for one that was edited, and a node agent that was not there.
    world.agent.kill();
    warden.decide_unheard(warden.asks[1].held(), {"uname", "-r"});
    world.start_agent();
    const Output output = world.output("rn_1");
    utsname kernel{};
    ::uname(&kernel);
    EXPECT_EQ(output.out, "Linux\n" + std::string(kernel.release) + "\n") << output.err;
    EXPECT_EQ(warden.asks.size(), 2U);
    EXPECT_EQ(warden.claims.size(), 2U);
}

TEST(GuardNode, ADecisionStartsTheHeldCommandSoon) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    warden.set_policy(kPolicy);
    world.start_agent();
    ASSERT_TRUE(
        world.ask("start", world.command("rn_1", "for i in 1 2 3 4 5 6 7 8 9; do uname -s; done"))
    );
    std::vector<double> times;
    for (std::size_t i = 1; i <= 9; ++i) {
        ASSERT_TRUE(warden.until([&] { return warden.asks.size() == i; }));
        const auto from = std::chrono::steady_clock::now();
        warden.decide(warden.asks.back().held(), true);
        // The next one is asked about when this one has run.
        ASSERT_TRUE(i == 9 || warden.until([&] { return warden.asks.size() == i + 1; }));
        times.push_back(
            std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - from)
                .count()
        );
    }
    times.pop_back();
    std::sort(times.begin(), times.end());
    // Decision, claim, the command's whole run, and the next one's ask.
    std::printf("from a decision to the next question: median %.1f ms\n", times[times.size() / 2]);
    EXPECT_EQ(
        world.output("rn_1").out, "Linux\nLinux\nLinux\nLinux\nLinux\nLinux\nLinux\nLinux\nLinux\n"
    );
}

TEST(GuardNode, ARequesterThatIsKilledAbandonsItsApproval) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    warden.set_policy(kPolicy);
    world.start_agent();
    ASSERT_TRUE(world.ask("start", world.command("rn_1", "uname -s")));
    ASSERT_TRUE(warden.until([&] { return warden.asks.size() == 1; }));
    v1::Signal signal;
    signal.set_run("rn_1");
    signal.set_signal(SIGTERM);
    ASSERT_TRUE(world.ask("signal", signal));
    EXPECT_EQ(world.output("rn_1").end->exit_code(), 143);
    EXPECT_TRUE(warden.until([&] {
        return warden.abandoned.size() == 1 &&
               warden.abandoned[0].approval() == "ap_" + warden.asks[0].held();
    }));
    EXPECT_TRUE(warden.claims.empty());
}

TEST(GuardNode, AHaltStopsEveryTreeAndIsAnswered) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    warden.set_policy(kPolicy);
    world.start_agent();
    const char* more = std::getenv("BERTH_HALT_TREES");  // a hundred for the README's number
    const int trees = more != nullptr ? std::atoi(more) : 20;
    for (int i = 0; i < trees; ++i) {
        ASSERT_TRUE(world.ask(
            "start",
            world.command("rn_" + std::to_string(i), "sleep 600 & echo up; sleep 600; true")
        ));
    }
    ASSERT_TRUE(warden.until([&] {
        int up = 0;
        for (const auto& record : warden.records) up += record.executable() == "/usr/bin/sleep";
        return up == 2 * trees;
    }));
    const auto begin = std::chrono::steady_clock::now();
    warden.halt("hl_1");
    ASSERT_TRUE(warden.until([&] { return warden.halted.size() == 1; }));
    const auto took =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin);
    std::printf("%d trees halted in %lld ms\n", trees, static_cast<long long>(took.count()));
    EXPECT_EQ(warden.halted[0].answer().killed(), static_cast<unsigned>(trees));
    EXPECT_EQ(warden.halted[0].answer().frozen(), static_cast<unsigned>(trees));
    EXPECT_EQ(warden.halted[0].answer().mechanism(), "ptrace");
    EXPECT_EQ(warden.halted[0].answer().error(), "");
    const auto canceled = world.ended("rn_3");
    EXPECT_EQ(canceled.end().state(), run::v1::RUN_STATE_CANCELED);
    EXPECT_EQ(canceled.end().reason(), "halted by anna: enough");
    // Nothing new while it is in force.
    ASSERT_TRUE(world.ask("start", world.command("rn_new", "echo no")));
    const auto refused = world.ended("rn_new");
    EXPECT_EQ(refused.end().state(), run::v1::RUN_STATE_CANCELED);
    EXPECT_EQ(
        refused.end().reason(),
        "halted by anna: enough; somebody else ends the halt: berth resume hl_1"
    );
    EXPECT_EQ(refused.end().origin(), "berth");
    warden.resume();
    EXPECT_TRUE(eventually([&] {
        static int number = 0;
        const std::string run = "rn_after" + std::to_string(number++);
        EXPECT_TRUE(world.ask("start", world.command(run, "true")));
        return world.ended(run).end().state() == run::v1::RUN_STATE_SUCCEEDED;
    }));
}

TEST(GuardNode, AHaltEndsARunWhoseSupervisorDoesNotListen) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    warden.set_policy(kPolicy);
    world.start_agent();
    ASSERT_TRUE(world.ask("start", world.command("rn_1", "sleep 600; true")));
    ASSERT_TRUE(warden.until([&] { return says(warden.records, "exec_started", "/usr/bin/sleep"); })
    );
    const auto text = read_file(world.machine.folder("rn_1") / "started");
    const auto record = StartedRecord::decode(text.value());
    ASSERT_TRUE(record->supervisor.signal(SIGSTOP));
    warden.halt("hl_1");
    EXPECT_TRUE(warden.until([&] { return warden.halted.size() == 1; }));
    EXPECT_EQ(warden.halted[0].answer().error(), "");
    EXPECT_EQ(warden.halted[0].answer().killed(), 1U);
    const auto ended = world.ended("rn_1");
    EXPECT_EQ(ended.end().state(), run::v1::RUN_STATE_CANCELED);
    EXPECT_EQ(ended.end().reason(), "halted by anna: enough");
}

TEST(GuardNode, AHaltOfAnOwnerOrAnAgentEndsTheirsAlone) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    warden.set_policy(kPolicy);
    world.start_agent();
    const auto start = [&](const std::string& run, const char* user, const char* agent) {
        v1::Start command = world.command(run, "sleep 600; true");
        command.set_user(user);
        command.set_agent(agent);
        ASSERT_TRUE(world.ask("start", command));
    };
    start("rn_anna", "anna", "");
    start("rn_bert", "bert", "");
    start("rn_agent", "bert", "fixer");
    ASSERT_TRUE(warden.until([&] {
        return std::count_if(warden.records.begin(), warden.records.end(), [](const auto& one) {
                   return one.executable() == "/usr/bin/sleep";
               }) == 3;
    }));
    warden.halt("hl_owner", warden::v1::HALT_SCOPE_OWNER, "anna");
    ASSERT_TRUE(warden.until([&] { return warden.halted.size() == 1; }));
    EXPECT_EQ(warden.halted[0].answer().killed(), 1U);
    EXPECT_EQ(world.ended("rn_anna").end().state(), run::v1::RUN_STATE_CANCELED);
    warden.halt("hl_agent", warden::v1::HALT_SCOPE_AGENT, "fixer");
    ASSERT_TRUE(warden.until([&] { return warden.halted.size() == 2; }));
    EXPECT_EQ(warden.halted[1].answer().killed(), 1U);
    EXPECT_EQ(world.ended("rn_agent").end().state(), run::v1::RUN_STATE_CANCELED);
    start("rn_more", "bert", "fixer");
    EXPECT_EQ(world.ended("rn_more").end().state(), run::v1::RUN_STATE_CANCELED);
    // Who is not meant goes on, and may start more.
    ASSERT_TRUE(world.ask("start", world.command("rn_other", "echo ran")));
    EXPECT_EQ(world.output("rn_other").out, "ran\n");
    EXPECT_TRUE(fs::exists(world.machine.folder("rn_bert")));
    v1::Signal signal;
    signal.set_run("rn_bert");
    signal.set_signal(SIGTERM);
    ASSERT_TRUE(world.ask("signal", signal));
    EXPECT_EQ(world.ended("rn_bert").end().exit_code(), 143);
}

TEST(GuardNode, NoCommandIsJudgedByHalfAPolicy) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    const auto policy = [](int which) {
        const std::string name = which % 2 == 0 ? "even" : "odd";
        std::string text = "version: 1\ndefault: allow\nrules:\n";
        // Long enough that reading it takes a while.
        for (int i = 0; i < 200; ++i)
            text += "  - id: " + name + "-" + std::to_string(i) +
                    "\n    action: deny\n    reason: " + name + "\n    match: {executable: tool-" +
                    std::to_string(i) + "}\n";
        return text + "  - id: " + name + "-id\n    action: deny\n    reason: " + name +
               "\n    match: {executable: id}\n";
    };
    warden.set_policy(policy(0));
    world.start_agent();
    ASSERT_TRUE(world.ask("start", world.command("rn_0", "true")));
    (void)world.output("rn_0");
    std::atomic<bool> done{false};
    std::thread swapping([&] {
        for (int i = 1; !done; ++i) {
            warden.set_policy(policy(i));
            std::this_thread::sleep_for(milliseconds{20}
            );  // as fast as anybody could; not waited for
        }
    });
    constexpr int kCommands = 300;
    ASSERT_TRUE(world.ask(
        "start",
        world.command(
            "rn_1",
            "i=0; while [ $i -lt " + std::to_string(kCommands) + " ]; do i=$((i+1)); id; done"
        )
    ));
    const Output output = world.output("rn_1", seconds{120});
    done = true;
    swapping.join();
    EXPECT_EQ(output.out, "") << "not one was let through";
    int even = 0;
    int odd = 0;
    for (const auto line : split(output.err, '\n')) {
        even += line == "berth: denied by rule even-id: even" ? 1 : 0;
        odd += line == "berth: denied by rule odd-id: odd" ? 1 : 0;
    }
    EXPECT_EQ(even + odd, kCommands) << output.err;
    EXPECT_GT(even, 0);
    EXPECT_GT(odd, 0);
}

TEST(GuardNode, AMachineBelowTheRequiredLevelRunsNothing) {
    World world("shim");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    warden.set_policy("version: 1\ndefault: allow\nrequire: enforce\n");
    world.start_agent();
    ASSERT_TRUE(world.ask("start", world.command("rn_1", "echo no")));
    const auto ended = world.ended("rn_1");
    EXPECT_EQ(ended.end().state(), run::v1::RUN_STATE_FAILED);
    EXPECT_NE(ended.end().reason().find("requires"), std::string::npos) << ended.end().reason();
}

// Where nothing is refused, a rule that wants its command guarded better refuses the run.
TEST(GuardNode, AMachineThatRefusesNothingRunsNothingForARuleThatRequiresMore) {
    for (const std::string level : {"none", "observe", "shim", "enforce"}) {
        World world(level);
        BERTH_NEEDS_SANDBOX(world.machine);
        WardenDouble warden(world);
        warden.set_policy(
            "version: 1\ndefault: allow\nrules:\n"
            "  - {id: others, action: deny, require: enforce, match: {user: tom}}\n"
            "  - {id: need, action: allow, require: enforce, match: {executable: uname}}\n"
        );
        world.start_agent();
        ASSERT_TRUE(world.ask("start", world.command("rn_1", "uname -s; echo $?")));
        if (level == "none" || level == "observe") {
            const auto ended = world.ended("rn_1");
            EXPECT_EQ(ended.end().state(), run::v1::RUN_STATE_FAILED);
            EXPECT_EQ(
                ended.end().reason(),
                "rule need of the org's policy requires that commands are guarded at level "
                "enforce, and this machine guards at " +
                    level + "; take a profile with guard: enforce"
            );
        } else {
            EXPECT_EQ(world.output("rn_1").out, level == "shim" ? "126\n" : "Linux\n0\n");
        }
    }
}

TEST(GuardNode, AtLevelShimTheToolsOfThePolicyAreGuarded) {
    World world("shim");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    warden.set_policy(kPolicy);
    world.start_agent();
    ASSERT_TRUE(world.ask("start", world.command("rn_1", "id; echo $?; uname -s")));
    ASSERT_TRUE(warden.until([&] { return warden.asks.size() == 1; }));
    EXPECT_EQ(warden.asks[0].origin().level(), warden::v1::GUARD_LEVEL_SHIM);
    warden.decide(warden.asks[0].held(), true);
    EXPECT_EQ(world.output("rn_1").out, "126\nLinux\n");
}

TEST(GuardNode, AHaltWithoutAPolicyStopsBySignals) {
    World world("enforce");
    BERTH_NEEDS_SANDBOX(world.machine);
    WardenDouble warden(world);
    world.start_agent();
    ASSERT_TRUE(world.ask("start", world.command("rn_1", "echo up; sleep 600 & sleep 600")));
    ASSERT_TRUE(world.read("OUT", "berth.out.acme.m_1.rn_1", [](const bus::Message&) {
        return true;
    }));
    warden.halt("hl_1");
    ASSERT_TRUE(warden.until([&] { return warden.halted.size() == 1; }));
    EXPECT_EQ(warden.halted[0].answer().killed(), 1U);
    EXPECT_EQ(warden.halted[0].answer().mechanism(), "stop");
    EXPECT_EQ(world.ended("rn_1").end().state(), run::v1::RUN_STATE_CANCELED);
}

}  // namespace
}  // namespace berth::node::testing
