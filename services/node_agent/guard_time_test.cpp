// SPDX-License-Identifier: Apache-2.0
// Proves that a rule's time for a command ends it with all that it started, and that this is told.
#include <gtest/gtest.h>

#include <fstream>

#include "node_agent/test_guarded_machine.hpp"

namespace berth::node::testing {
namespace {

std::string timed(const std::string& program) {
    return "version: 1\ndefault: allow\nrules:\n  - {id: timed, action: allow, match: {executable: "
           "[" +
           program + "]}, execution_timeout: 1s}\n";
}

TEST(Guard, ATimedCommandKeepsItsTimeInWhatItExecutes) {
    GuardedMachine machine(timed("bash"));
    BERTH_NEEDS_SANDBOX(machine);
    machine.beat();
    machine.start("a", machine.guarded("a", {"sh", "-c", "bash -c 'exec sleep 600'; echo $?"}));
    Reader run(machine.folder("a"));
    ASSERT_TRUE(run.until_ended()) << run.err();
    EXPECT_EQ(run.out(), "143\n") << run.err();
}

TEST(Guard, ATimedCommandEndsWithAllThatItStarted) {
    GuardedMachine machine(timed("bash"));
    BERTH_NEEDS_SANDBOX(machine);
    // One that does not hear, one such in a session of its own, and a timed one inside.
    std::ofstream(machine.dir / "workspace/work") << R"(
        (trap '' TERM; exec sleep 600) &
        (trap '' TERM; exec setsid -f sleep 601)
        bash -c "trap '' TERM; sleep 602; sleep 603" &
        sleep 604
        true)";
    machine.beat();
    Launch launch = machine.guarded("a", {"sh", "-c", "bash work; echo $?; read line; echo $line"});
    launch.grace_ms = 300;
    launch.input = true;
    machine.start("a", launch);
    Reader run(machine.folder("a"));
    ASSERT_TRUE(run.until([&] { return !run.out().empty(); })) << run.err();
    EXPECT_EQ(run.out(), "143\n") << run.err();
    // The command itself heard; what it started does not outlive it by more than the grace.
    for (const AuditEntry& entry : machine.audit("a")) {
        if (entry.fact != "exec_started" || !entry.executable.ends_with("/sleep")) continue;
        const auto id = process::ProcessId::of(static_cast<pid_t>(entry.pid));
        EXPECT_TRUE(!id || id->wait_gone(kPatience)) << entry.argv.back();
    }
    run.send({Word::kStdin, 0, 0, 0, 0, "still here\n"});
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.out(), "143\nstill here\n");
    EXPECT_EQ(run.exit().code, 0);
    EXPECT_EQ(run.exit().reason, "");
    std::size_t told = 0;
    for (const AuditEntry& entry : machine.audit("a"))
        told +=
            entry.fact == "exec_ended" && entry.reason == "ended by rule timed after 1s" ? 1 : 0;
    EXPECT_GE(told, 4U) << "the command, and what it started";
}

TEST(Guard, WhoEndsARunsOwnCommandIsTold) {
    GuardedMachine machine(timed("sleep"));
    BERTH_NEEDS_SANDBOX(machine);
    machine.beat();
    machine.start("a", machine.guarded("a", {"sleep", "600"}));
    Reader run(machine.folder("a"));
    ASSERT_TRUE(run.until_ended());
    const std::string why = "ended by rule timed after 1s";
    EXPECT_EQ(run.streams[OutStream::kBerth], why + "\n");
    EXPECT_EQ(run.exit().reason.substr(0, why.size() + 2), why + "; ");
    EXPECT_EQ(run.exit().code, 143);
}

}  // namespace
}  // namespace berth::node::testing
