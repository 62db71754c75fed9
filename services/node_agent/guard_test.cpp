// SPDX-License-Identifier: Apache-2.0
// Proves the guard: the bypass set as a table, exact behaviour of what is allowed, refusals, holds
// and what reaches into them.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <set>

#include "node_agent/test_guarded_machine.hpp"
#include "support/bypass/bypass_set.hpp"

namespace berth::node::testing {
namespace {

using berth::testing::bypass::Form;
using berth::testing::bypass::HeldForm;
using berth::testing::bypass::kForms;
using berth::testing::bypass::kHeldForms;
using berth::testing::bypass::kPolicy;
using berth::testing::bypass::program32;
using berth::testing::bypass::script_of;

struct Outcome {
    bool seen = false;     // an exec of the form's own reached the guard, or the kernel refused it
    bool judged = false;   // and was denied by the policy or by what it is
    bool refused = false;  // and did nothing
};

Outcome try_form(const Form& form, const std::string& level, int number) {
    GuardedMachine machine(kPolicy, level);
    std::ofstream(machine.dir / "workspace/p32", std::ios::binary) << program32();
    fs::permissions(machine.dir / "workspace/p32", fs::perms::owner_all);
    Reader& run = machine.finish_guarded("f" + std::to_string(number), form.script);
    Outcome outcome;
    outcome.refused = run.out().find("uid=") == std::string::npos;
    // The kernel's own refusal, by the filter: nothing came into being.
    const bool barred = run.out().find("refused: ") != std::string::npos;
    for (const AuditEntry& entry : machine.audit("f" + std::to_string(number))) {
        outcome.judged = outcome.judged || entry.action == "deny";
        // The form's own shell is seen in any case.
        outcome.seen = outcome.seen || !entry.executable.ends_with("sh");
    }
    outcome.judged = outcome.judged || barred;
    outcome.seen = outcome.seen || outcome.judged;
    if (level == "enforce" && !(outcome.refused && outcome.judged)) {
        std::printf("%s: out=%s err=%s\n", form.name, run.out().c_str(), run.err().c_str());
        for (const AuditEntry& entry : machine.audit("f" + std::to_string(number)))
            std::printf(
                "  %s %s %s %s\n",
                entry.fact.c_str(),
                entry.action.c_str(),
                entry.rule.c_str(),
                entry.executable.c_str()
            );
    }
    return outcome;
}

TEST(Guard, TheBypassSetMissesNothingAtEnforce) {
    {
        Machine machine;
        BERTH_NEEDS_SANDBOX(machine);
    }
    std::printf("%-32s %-24s %-24s %-24s\n", "form", "observe", "shim", "enforce");
    int number = 0;
    for (const Form& form : kForms) {
        if (std::string(form.name) == "busybox applet" && !fs::exists("/usr/bin/busybox")) {
            std::printf("%-32s NOTHING PROVEN: no busybox here\n", form.name);
            continue;
        }
        std::string line;
        for (const char* level : {"observe", "shim", "enforce"}) {
            const Outcome outcome = try_form(form, level, number++);
            std::string cell = outcome.seen ? "seen " : "- ";
            cell += outcome.judged ? "judged " : "- ";
            cell += outcome.refused ? "refused" : "-";
            line += cell + std::string(25 - std::min<std::size_t>(24, cell.size()), ' ');
            if (std::string(level) != "enforce") continue;
            EXPECT_TRUE(outcome.seen && outcome.judged && outcome.refused) << form.name;
        }
        std::printf("%-32s %s\n", form.name, line.c_str());
    }
}

TEST(Guard, NothingReachesWhatIsHeldAndWhatWasChangedIsRefused) {
    std::printf("%-32s %s\n", "form", "enforce");
    for (const HeldForm& form : kHeldForms) {
        GuardedMachine machine(kPolicy);
        BERTH_NEEDS_SANDBOX(machine);
        Reader& run = machine.start_guarded("a", script_of(form, "go"));
        const Held held = machine.held("a");
        std::ofstream(machine.dir / "workspace/go") << "\n";
        ASSERT_TRUE(run.until([&] { return run.out().find("tried\n") != std::string::npos; }))
            << form.name << run.err();
        claim(machine, "a", run, held);
        ASSERT_TRUE(run.until_ended()) << form.name;
        const bool refused = run.out().find("OPEN") == std::string::npos &&
                             run.out().find("uid=") == std::string::npos;
        EXPECT_TRUE(refused) << form.name << run.out() << run.err();
        std::printf("%-32s seen judged %s\n", form.name, refused ? "refused" : "-");
    }
}

TEST(Guard, WhatIsAllowedIsAsIfNobodyWatched) {
    GuardedMachine machine("version: 1\ndefault: allow\n");
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.finish_guarded(
        "a", "printf 'n\\0l'; echo err >&2; (exit 3); echo $?; kill -SEGV $$"
    );
    EXPECT_EQ(run.out(), std::string("n\0l3\n", 5));
    EXPECT_EQ(run.err(), "err\n");
    EXPECT_EQ(run.exit().code, 139);
    EXPECT_EQ(run.exit().signal, SIGSEGV);
    EXPECT_EQ(machine.finish_guarded("b", "exit 37").exit().code, 37);
    // Signals, traps, stop and continue, a pipeline, an exit in the background.
    Reader& jobs = machine.finish_guarded(
        "c",
        "trap 'echo got' USR1; kill -USR1 $$; sleep 30 & p=$!; kill -STOP $p; sleep 0.05;"
        "grep State: /proc/$p/status | cut -c8 | tr t T; kill -CONT $p; kill $p; wait $p; echo $?;"
        "seq 1 1000 | sort -n | tail -1; timeout 0.1 sleep 9; echo $?"
    );
    EXPECT_EQ(jobs.out(), "got\nT\n143\n1000\n124\n") << jobs.err();
    // Starts and ends with their codes, and the run's own end with what it said.
    std::map<std::string, std::vector<int>> codes;
    std::string sum;
    for (const AuditEntry& entry : machine.audit("b")) {
        codes[entry.fact].push_back(entry.exit_code.value_or(-1));
        if (entry.fact == "run_ended") sum = entry.output_sha256;
    }
    EXPECT_EQ(codes["exec_started"], std::vector<int>{-1});
    EXPECT_EQ(codes["exec_ended"], std::vector<int>{37});
    EXPECT_EQ(codes["run_ended"], std::vector<int>{37});
    EXPECT_EQ(sum, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Guard, ATerminalAndItsJobsWork) {
    GuardedMachine machine("version: 1\ndefault: allow\n");
    BERTH_NEEDS_SANDBOX(machine);
    Launch launch = machine.guarded("a", {"bash", "-i"});
    launch.tty = launch.input = true;
    launch.rows = 24;
    launch.cols = 80;
    launch.env = {"PATH=/usr/bin:/bin", "HOME=/home/berth", "TERM=dumb"};
    machine.start("a", launch);
    Reader run(machine.folder("a"));
    const auto type = [&](const std::string& line) { run.send({Word::kStdin, 0, 0, 0, 0, line}); };
    const auto shows = [&](const std::string& text) {
        return run.until([&] { return run.out().find(text) != std::string::npos; });
    };
    ASSERT_TRUE(shows("$ ")) << run.out() << run.err();
    type("sleep 60\n");
    ASSERT_TRUE(eventually([&] {
        for (const AuditEntry& entry : machine.audit("a"))
            if (entry.executable.ends_with("sleep")) return true;
        return false;
    }));
    type("\x1a");  // ^Z
    ASSERT_TRUE(shows("Stopped")) << run.out();
    type("kill %1; fg\n");
    ASSERT_TRUE(shows("Terminated")) << run.out();
    type("exit 9\n");
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.exit().code, 9);
}

TEST(Guard, ARefusalSaysWhyAndIs126) {
    GuardedMachine machine(kPolicy);
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run =
        machine.finish_guarded("a", "id; echo $?; ./p32; echo $?; id | cat; id 2>&-; echo $?");
    EXPECT_EQ(run.out(), "126\n127\n126\n");
    const std::string line = "berth: denied by rule no-id: nobody asks who they are\n";
    EXPECT_NE(run.err().find(line), std::string::npos) << run.err();
    // As the run's own command.
    machine.start("b", machine.guarded("b", {"id"}));
    Reader alone(machine.folder("b"));
    ASSERT_TRUE(alone.until_ended());
    EXPECT_EQ(alone.exit().code, 126);
    EXPECT_EQ(alone.exit().signal, 0);
    EXPECT_EQ(alone.err(), line);
    // A program of the other width.
    std::ofstream(machine.dir / "workspace/p32", std::ios::binary) << program32();
    fs::permissions(machine.dir / "workspace/p32", fs::perms::owner_all);
    Reader& narrow = machine.finish_guarded("c", "./p32");
    EXPECT_EQ(narrow.exit().code, 126) << narrow.out();
    EXPECT_EQ(narrow.err(), "berth: denied by rule foreign: not of the system\n");
}

TEST(Guard, WithoutWordOfWardenNothingNewIsAllowed) {
    GuardedMachine machine("version: 1\ndefault: allow\n");
    BERTH_NEEDS_SANDBOX(machine);
    machine.beat(kBeatLife + milliseconds{1'000});
    machine.start("b", machine.guarded("b", {"true"}));
    Reader late(machine.folder("b"));
    ASSERT_TRUE(late.until_ended());
    EXPECT_EQ(late.exit().code, 126);
    EXPECT_NE(late.err().find("has heard nothing of warden for 11 s"), std::string::npos)
        << late.err();
    // And again as soon as it has.
    EXPECT_EQ(machine.finish_guarded("c", "/bin/true").exit().code, 0);
}

TEST(Guard, TheTreeDiesWithItsSupervisor) {
    GuardedMachine machine("version: 1\ndefault: allow\n");
    BERTH_NEEDS_SANDBOX(machine);
    machine.start_guarded("a", "sleep 600 & sleep 600");
    ASSERT_TRUE(eventually([&] { return fs::exists(machine.folder("a") / "pids"); }));
    ASSERT_TRUE(eventually([&] { return machine.audit("a").size() >= 3; }));
    std::vector<process::ProcessId> pids;
    for (const AuditEntry& entry : machine.audit("a"))
        pids.push_back(process::ProcessId::of(static_cast<pid_t>(entry.pid)).value());
    machine.supervisors.back().kill();
    for (const auto& pid : pids) EXPECT_TRUE(pid.wait_gone(kPatience));
}

TEST(Guard, NobodyIsAskedAboutANameThatIsNoText) {
    GuardedMachine machine(R"(version: 1
default: allow
rules: [{id: ask-id, action: ask, match: {executable: [id, deploy.sh, "x*"]}}]
)");
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.finish_guarded(
        "a",
        "n=$(printf 'x\\377'); cp /bin/true $n; ./$n; rm $n; mkdir $n; cd $n; id; echo $?;"
        "printf '#!/bin/sh\\n' > deploy.sh; chmod +x deploy.sh; cd ..; $n/deploy.sh; env $n=1 id"
    );
    EXPECT_EQ(run.exit().code, 126);
    EXPECT_EQ(run.out(), "126\n");
    const std::string start = "berth: denied by rule ask-id: ";
    const std::string end = " is not UTF-8, so nobody can be asked about it; rename it\n";
    EXPECT_EQ(
        run.err(),
        start + "its program's path" + end + start + "its folder's path" + end + start +
            "its script's path" + end + start + "the name of a variable that it sets" + end
    );
}

// Who asked is for people alone, and keeps nobody from being asked about what it starts.
TEST(Guard, WhoAsksMayHaveAnyName) {
    GuardedMachine machine(R"(version: 1
default: allow
rules: [{id: ask-id, action: ask, match: {executable: id}}]
)");
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run =
        machine.start_guarded("a", "n=$(printf 'x\\377'); cp /bin/dash $n; ./$n -c 'id; true'");
    const Held held = machine.held("a");
    EXPECT_EQ(held.plan.parent, "$'/workspace/x\\xff'");
    run.send({Word::kCancel, 0, 0, 0, 0, {}});
    EXPECT_TRUE(run.until_ended());
}

constexpr const char* kAsking = R"(version: 1
default: allow
timeout: 10m
rules:
  - id: ask-id
    action: ask
    reason: a person shall say
    match: {executable: [id, uname]}
  - id: ask-script
    action: ask
    reason: a person shall read it
    match: {executable: ["/workspace/deploy*"]}
)";

TEST(Guard, AHeldCommandGoesOnWhenItIsApprovedAndClaimed) {
    GuardedMachine machine(kAsking);
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.start_guarded("a", "echo before; uname -s; echo $?");
    const Held held = machine.held("a");
    EXPECT_EQ(held.plan.argv, (std::vector<std::string>{"uname", "-s"}));
    EXPECT_EQ(held.plan.executable.path, "/usr/bin/uname");
    EXPECT_EQ(held.plan.executable.sha256.size(), 64U);
    EXPECT_EQ(held.plan.cwd, "/workspace");
    EXPECT_EQ(held.plan.parent, "/usr/bin/dash");
    EXPECT_EQ(held.digest, policy::digest(held.plan));
    // The rest of the machine goes on meanwhile.
    EXPECT_EQ(machine.finish_guarded("b", "/bin/echo fine").out(), "fine\n");
    EXPECT_EQ(run.out().find("Linux"), std::string::npos);
    claim(machine, "a", run, held);
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.out(), "before\nLinux\n0\n");
    EXPECT_EQ(run.err(), "");
}

TEST(Guard, ADecisionAgainstItAndALostClaimAre126) {
    GuardedMachine machine(kAsking);
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.start_guarded("a", "uname -s; echo $?");
    Decision no = yes(machine.held("a"));
    no.approve = false;
    no.reason = "not today";
    machine.decide("a", run, no);
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.out(), "126\n");
    EXPECT_EQ(run.err(), "berth: denied by rule ask-id: not today\n");
    Reader& halted = machine.start_guarded("b", "uname -s; echo $?");
    claim(machine, "b", halted, machine.held("b"), "", "halted");
    ASSERT_TRUE(halted.until_ended());
    EXPECT_EQ(halted.out(), "126\n");
    EXPECT_EQ(halted.err(), "berth: denied by rule ask-id: halted\n");
}

TEST(Guard, AScriptThatChangesAfterApprovalIsRefused) {
    GuardedMachine machine(kAsking);
    BERTH_NEEDS_SANDBOX(machine);
    const fs::path script = machine.dir / "workspace/deploy.sh";
    std::ofstream(script) << "#!/bin/sh\necho deployed\n";
    fs::permissions(script, fs::perms::owner_all);
    Reader& run = machine.start_guarded("a", "./deploy.sh; echo $?");
    const Held held = machine.held("a");
    EXPECT_EQ(held.plan.script.path, "/workspace/deploy.sh");
    EXPECT_EQ(held.plan.script.sha256.size(), 64U);
    std::ofstream(script, std::ios::app) << "echo evil\n";
    machine.decide("a", run, yes(held));
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.out(), "126\n");
    EXPECT_NE(run.err().find("content changed"), std::string::npos) << run.err();
    // Unchanged, it runs; by another file under its name it does not.
    Reader& good = machine.start_guarded("b", "./deploy.sh");
    claim(machine, "b", good, machine.held("b"));
    ASSERT_TRUE(good.until_ended());
    EXPECT_EQ(good.out(), "deployed\nevil\n");
    Reader& moved = machine.start_guarded("c", "./deploy.sh; echo $?");
    const Held other = machine.held("c");
    std::ofstream(machine.dir / "workspace/new") << "#!/bin/sh\necho deployed\necho evil\n";
    fs::permissions(machine.dir / "workspace/new", fs::perms::owner_all);
    fs::rename(machine.dir / "workspace/new", script);
    machine.decide("c", moved, yes(other));
    ASSERT_TRUE(moved.until_ended());
    EXPECT_EQ(moved.out(), "126\n");
}

TEST(Guard, APolicyMaySpeakOfUnusualExecutables) {
    GuardedMachine machine(R"(version: 1
default: allow
rules:
  - {id: mine, action: allow, allow_unusual: true, match: {executable: ["/memfd:*", "/workspace/**"]}}
  - {id: probe, action: allow, match: {executable: ["/workspace/probe"]}}
)");
    BERTH_NEEDS_SANDBOX(machine);
    EXPECT_NE(machine.finish_guarded("a", "./probe memfd").out().find("uid="), std::string::npos);
    // A loader under another name stays one, also in memory.
    Reader& loader =
        machine.finish_guarded("b", "cp /lib64/ld-linux-x86-64.so.2 x; ./x /usr/bin/id; echo $?");
    EXPECT_EQ(loader.out(), "126\n") << loader.err();
    Reader& plain = machine.finish_guarded("c", "/lib64/ld-linux-x86-64.so.2 /usr/bin/id; echo $?");
    EXPECT_EQ(plain.out(), "126\n") << "no rule speaks of it";
}

TEST(Guard, AScriptIsKnownHoweverItsInterpreterIsCalled) {
    GuardedMachine machine(kAsking);
    BERTH_NEEDS_SANDBOX(machine);
    machine.set_policy(R"(version: 1
default: allow
rules:
  - {id: no-script, action: deny, match: {executable: ["/workspace/deploy*"]}}
)");
    std::ofstream(machine.dir / "workspace/deploy.sh") << "echo deployed\n";
    std::ofstream(machine.dir / "workspace/deploy.py") << "print('deployed')\n";
    int number = 0;
    for (const char* script :
         {"sh deploy.sh",
          "bash -e deploy.sh",
          "bash -eo pipefail deploy.sh",
          "sh deploy.sh /usr/bin/sh",
          "sh /workspace/../workspace/deploy.sh",
          "sh /proc/self/cwd/deploy.sh",
          "sh /proc/self/root/workspace/deploy.sh",
          "sh /proc/$$/cwd/deploy.sh",
          "python3 -u deploy.py"}) {
        const std::string name = "s" + std::to_string(number++);
        Reader& run = machine.finish_guarded(name, std::string(script) + "; echo $?");
        EXPECT_EQ(run.out(), "126\n") << script << run.err();
    }
    // Others work as ever.
    Reader& fine = machine.finish_guarded(
        "fine",
        "echo 'echo $1' > x.sh; bash -e x.sh one; bash -euo pipefail x.sh two; sh < x.sh;"
        "bash -c 'echo three'; echo 'echo four' | sh -s; python3 -c 'print(5)';"
        "printf '#!/usr/bin/env python3\\nprint(6)\\n' > y; chmod +x y; ./y; bash -c 'bash <(echo "
        "echo 7)'"
    );
    EXPECT_NE(fine.out().find("one\ntwo\n\nthree\nfour\n5\n6\n7\n"), std::string::npos)
        << fine.out() << fine.err();
}

TEST(Guard, AnEditedCommandRunsInsteadOfTheOld) {
    GuardedMachine machine(kAsking);
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.start_guarded("a", "uname -a");
    const Held held = machine.held("a");
    claim(machine, "a", run, edit(held, {"uname", "-o"}));
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.out(), "GNU/Linux\n") << run.err();
}

/// Run "a", in which process $p is held while `words` are carried out.
Reader& start_beside_held(GuardedMachine& machine, const std::string& words, Held& held) {
    Reader& run = machine.start_guarded(
        "a",
        "uname -s & p=$!; while ! test -s pid; do sleep 0.01; done; " + words + "; wait $p; echo $?"
    );
    held = machine.held("a");
    std::ofstream(machine.dir / "workspace/pid") << "held\n";
    return run;
}

TEST(Guard, AHeldProcessIsOutOfReachAndDiesOfItsSignals) {
    GuardedMachine machine(kAsking);
    BERTH_NEEDS_SANDBOX(machine);
    Held held;
    Reader& run = start_beside_held(machine, "./probe attack $p; kill $p", held);
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(
        run.out(),
        "mem Permission denied\nwritev Operation not permitted\nptrace Operation not permitted\n"
        "getfd Operation not permitted\n143\n"
    );
    bool abandoned = false;
    for (const AuditEntry& entry : machine.audit("a"))
        abandoned = abandoned || entry.fact == "exec_abandoned";
    EXPECT_TRUE(abandoned);
    EXPECT_FALSE(fs::exists(machine.folder("a") / "held" / held.id));
}

TEST(Guard, AHeldProcessMayBeStoppedAndContinued) {
    GuardedMachine machine(kAsking);
    BERTH_NEEDS_SANDBOX(machine);
    Held held;
    Reader& run = start_beside_held(machine, "kill -STOP $p; kill -CONT $p; echo sent", held);
    ASSERT_TRUE(run.until([&] { return run.out() == "sent\n"; }));
    claim(machine, "a", run, held);
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.out(), "sent\nLinux\n0\n") << run.err();
}

TEST(Guard, AHeldProcessIsClosedBeforeItsFilesAreRead) {
    GuardedMachine machine(kAsking);
    BERTH_NEEDS_SANDBOX(machine);
    // Large enough that reading it takes far longer than closing its memory.
    const fs::path program = machine.dir / "workspace/deploy";
    fs::copy_file(binary("guard_probe"), program);
    fs::resize_file(program, 200U << 20U);
    Reader& run = machine.start_guarded("a", "./probe closing ./deploy");
    Decision no = yes(machine.held("a"));
    EXPECT_TRUE(fs::exists(machine.dir / "workspace/closed"));
    no.approve = false;
    machine.decide("a", run, no);
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.exit().code, 126);
}

TEST(Guard, WhatIsTooLargeToBeSentIsNotAskedAbout) {
    GuardedMachine machine(kAsking);
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.finish_guarded(
        "a", "x=$(head -c 100000 /dev/zero | tr '\\0' x); uname $x $x $x $x $x $x $x $x; echo $?"
    );
    EXPECT_EQ(run.out(), "126\n");
    EXPECT_NE(run.err().find("too large to be asked about"), std::string::npos) << run.err();
}

TEST(Guard, WhatIsTooLargeToBeReadIsNotAskedAbout) {
    GuardedMachine machine(kAsking);
    BERTH_NEEDS_SANDBOX(machine);
    fs::copy_file(binary("guard_probe"), machine.dir / "workspace/deploy");
    fs::resize_file(machine.dir / "workspace/deploy", 300U << 20U);
    Reader& run = machine.finish_guarded("a", "./deploy");
    EXPECT_EQ(run.exit().code, 126);
    EXPECT_NE(run.err().find("too large to be hashed"), std::string::npos) << run.err();
}

TEST(Guard, AShimIsTheToolOnceItIsAllowed) {
    GuardedMachine machine(kAsking, "shim");
    BERTH_NEEDS_SANDBOX(machine);
    machine.set_policy(R"(version: 1
default: allow
timeout: 10m
rules:
  - {id: fine, action: allow, match: {executable: [cat, sh, expr, grep]}}
  - {id: no-id, action: deny, reason: nobody asks who they are, match: {executable: [id]}}
  - {id: ask-uname, action: ask, match: {executable: [uname]}}
)");
    Reader& run = machine.finish_guarded(
        "a",
        "type cat; printf 'n\\0l' | cat; expr 1 - 1; echo $?; id; echo $?; sh -c 'kill -SEGV $$'; "
        "echo $?;"
        "grep TracerPid /proc/self/status; no-such-tool"
    );
    EXPECT_EQ(
        run.out(),
        std::string("cat is /.berth/tools/cat\nn\0l", 28) + "0\n1\n126\n139\nTracerPid:\t0\n"
    ) << run.err();
    EXPECT_NE(
        run.err().find("berth: denied by rule no-id: nobody asks who they are\n"), std::string::npos
    ) << run.err();
    EXPECT_EQ(run.exit().code, 127);
    Reader& asked = machine.start_guarded("b", "uname -s; echo $?");
    const Held held = machine.held("b");
    EXPECT_EQ(held.plan.executable.path, "/usr/bin/uname");
    EXPECT_EQ(held.plan.argv, (std::vector<std::string>{"uname", "-s"}));
    claim(machine, "b", asked, held);
    ASSERT_TRUE(asked.until_ended());
    EXPECT_EQ(asked.out(), "Linux\n0\n");
    // What is no program's file is not waited for.
    Reader& pipe = machine.finish_guarded(
        "p", "mkdir p; mkfifo -m 777 p/uname; PATH=/.berth/tools:/workspace/p uname; echo $?"
    );
    EXPECT_EQ(pipe.out(), "126\n");
    // Who is killed while it waits has abandoned it.
    Reader& killed = machine.start_guarded("c", "uname -s & sleep 0.3; kill $!; wait $!; echo $?");
    machine.beat();
    ASSERT_TRUE(killed.until_ended());
    EXPECT_EQ(killed.out(), "143\n");
    bool abandoned = false;
    for (const AuditEntry& entry : machine.audit("c"))
        abandoned = abandoned || entry.fact == "exec_abandoned";
    EXPECT_TRUE(abandoned);
}

TEST(Guard, FreezesEveryProcessOfTheTree) {
    GuardedMachine machine("version: 1\ndefault: allow\n");
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.start_guarded(
        "a", "while :; do echo x >> ticks; done & while :; do /bin/true; done"
    );
    const fs::path ticks = machine.dir / "workspace/ticks";
    ASSERT_TRUE(eventually([&] { return fs::exists(ticks) && machine.audit("a").size() > 20; }));
    run.send({Word::kFreeze, 0, 0, 0, 0, pack({"hl_1"})});
    ASSERT_TRUE(eventually([&] {
        const auto before = fs::file_size(ticks);
        std::this_thread::sleep_for(milliseconds{50});
        return fs::file_size(ticks) == before;
    }));
    run.send({Word::kCancel, 0, 0, 0, 0, {}});
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.exit().state, EndState::kCanceled);
}

}  // namespace
}  // namespace berth::node::testing
