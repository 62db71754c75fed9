// SPDX-License-Identifier: Apache-2.0
// Scripts at the guard: which one is judged, shown and hashed, at every level that judges.
#include <gtest/gtest.h>

#include "node_agent/test_guarded_machine.hpp"

namespace berth::node::testing {
namespace {

constexpr const char* kAskingShells = R"(version: 1
default: allow
timeout: 10m
rules:
  - {id: no-script, action: deny, match: {executable: ["evil.*"]}}
  - {id: ask-bash, action: ask, match: {executable: [bash, python3, awk, mawk]}}
)";

Decision yes_to(const Held& held) {
    Decision decision;
    decision.held = held.id;
    decision.approval = "ap_" + held.id;
    decision.digest = held.digest;
    decision.approve = true;
    return decision;
}

/// A script that is found in another way is the one that is hashed: changed after the question, it
/// does not run.
TEST(GuardScript, WhatChangesAfterApprovalIsRefusedHoweverItWasFound) {
    for (const char* level : {"enforce", "shim"}) {
        GuardedMachine machine(kAskingShells, level);
        BERTH_NEEDS_SANDBOX(machine);
        const fs::path script = machine.dir / "workspace/p/deploy.sh";
        fs::create_directories(script.parent_path());
        int number = 0;
        for (const char* command :
             {"bash - p/deploy.sh",
              "cd /tmp; PATH=$PATH:/workspace/p bash deploy.sh",
              "bash /dev/stdin < p/deploy.sh",
              "bash < p/deploy.sh",
              "bash -s x < p/deploy.sh"}) {
            const std::string run = std::string(level) + std::to_string(number++);
            std::ofstream(script) << "echo deployed\n";
            Reader& reader = machine.start_guarded(run, command);
            const Held held = machine.held(run);
            EXPECT_EQ(held.plan.script.path, "/workspace/p/deploy.sh") << level << ": " << command;
            EXPECT_EQ(held.plan.script.sha256.size(), 64U) << command;
            std::ofstream(script, std::ios::app) << "echo changed\n";
            machine.decide(run, reader, yes_to(held));
            ASSERT_TRUE(reader.until_ended());
            EXPECT_EQ(reader.out(), "") << level << ": " << command;
            EXPECT_NE(reader.err().find("content changed"), std::string::npos) << reader.err();
        }
    }
}

TEST(GuardScript, AScriptIsDeniedHoweverItsInterpreterIsToldIt) {
    for (const char* level : {"enforce", "shim"}) {
        GuardedMachine machine(kAskingShells, level);
        BERTH_NEEDS_SANDBOX(machine);
        std::ofstream(machine.dir / "workspace/evil.py") << "print('ran')\n";
        int number = 0;
        for (const char* command :
             {"python3 evil.py", "python3 < evil.py", "python3 - < evil.py", "bash < evil.py"}) {
            Reader& run = machine.finish_guarded(
                level + std::to_string(number++), std::string(command) + "; echo $?"
            );
            EXPECT_EQ(run.out(), "126\n") << level << ": " << command;
            EXPECT_NE(run.err().find("denied by rule no-script"), std::string::npos) << run.err();
        }
    }
}

TEST(GuardScript, OfSeveralFilesEachIsDeniedByItsNameAndNobodyIsAskedAboutAll) {
    GuardedMachine machine(kAskingShells);
    BERTH_NEEDS_SANDBOX(machine);
    for (const char* name : {"fine.awk", "other.awk", "evil.awk"})
        std::ofstream(machine.dir / "workspace" / name) << "function f" << name[0] << "() {}\n";
    Reader& evil = machine.finish_guarded("a", "awk -f fine.awk -f evil.awk; echo $?");
    EXPECT_EQ(evil.out(), "126\n");
    EXPECT_NE(evil.err().find("denied by rule no-script"), std::string::npos) << evil.err();
    int number = 0;
    for (const char* files :
         {"awk -f fine.awk -f other.awk",
          "awk -f /dev/null -f other.awk",
          "awk -f none.awk -f none.awk",
          "bash --rcfile other.awk -i /dev/null",
          "awk -f fine.awk -f - < other.awk"}) {
        Reader& both = machine.finish_guarded(
            "b" + std::to_string(number++), std::string(files) + "; echo $?"
        );
        EXPECT_EQ(both.out(), "126\n") << files;
        EXPECT_NE(both.err().find("executes more files than one"), std::string::npos)
            << files << ": " << both.err();
    }
}

TEST(GuardScript, OfSeveralFilesEachIsDeniedWhateverItIsCalledAndWhereverItStands) {
    GuardedMachine machine(
        "version: 1\ndefault: allow\nrules:\n"
        "  - {id: no-script, action: deny, match: {executable: [\"evil.*\"]}}\n"
    );
    BERTH_NEEDS_SANDBOX(machine);
    const fs::path workspace = machine.dir / "workspace";
    std::ofstream(workspace / "fine.awk") << "function f() {}\n";
    std::ofstream(workspace / "evil.awk") << "BEGIN { print \"ran\" }\n";
    std::ofstream(workspace / "evil.sh") << "echo ran\n";
    fs::create_symlink("evil.awk", workspace / "link.awk");
    fs::create_symlink("evil.sh", workspace / "link.sh");
    int number = 0;
    for (const char* files :
         {"awk -f /dev/null -f evil.awk",
          "awk -f fine.awk -f link.awk",
          "awk -f /dev/null -f link.awk",
          "bash --rcfile evil.sh -i /dev/null",
          "bash --rcfile /dev/null --rcfile evil.sh -i -c true",
          "bash --rcfile link.sh -i /dev/null",
          "bash --rcfile /dev/null -i < link.sh",
          "awk -f fine.awk -f - < evil.awk"}) {
        Reader& run = machine.finish_guarded(
            "e" + std::to_string(number++), std::string(files) + "; echo $?"
        );
        EXPECT_EQ(run.out(), "126\n") << files;
        EXPECT_NE(run.err().find("denied by rule no-script"), std::string::npos)
            << files << ": " << run.err();
    }
    Reader& fine = machine.finish_guarded(
        "fine", "awk -f /dev/null -f fine.awk -f /dev/null </dev/null; echo $?"
    );
    EXPECT_EQ(fine.out(), "0\n") << fine.err();
}

TEST(GuardScript, AScriptWhoseInterpreterIsAScriptIsRefused) {
    GuardedMachine machine(kAskingShells);
    BERTH_NEEDS_SANDBOX(machine);
    const auto write = [&](const std::string& name, const std::string& text) {
        std::ofstream(machine.dir / "workspace" / name) << text;
        fs::permissions(machine.dir / "workspace" / name, fs::perms::owner_all);
    };
    write("runner", "#!/bin/sh\necho ran \"$@\"\n");
    write("runner-e", "#!/bin/sh -e\necho ran \"$@\"\n");
    write("job", "#!/workspace/runner\n");
    write("job-e", "#!/workspace/runner-e\n");
    write("job-x", "#!/workspace/runner-e x\n");
    write("job-job", "#!/workspace/job\n");
    int number = 0;
    for (const char* job : {"job", "job-e", "job-x", "job-job"}) {
        Reader& run = machine.finish_guarded(
            "j" + std::to_string(number++), "./" + std::string(job) + "; echo $?"
        );
        EXPECT_EQ(run.out(), "126\n") << job;
        EXPECT_NE(run.err().find("is a script itself"), std::string::npos) << run.err();
    }
    // A file whose name the interpreter reads as an option.
    write("--", "#!/bin/sh\n");
    write("quiet.sh", "echo ran\n");
    Reader& option = machine.finish_guarded("o", "PATH=:/usr/bin; env -- -- quiet.sh; echo $?");
    EXPECT_EQ(option.out(), "126\n") << option.err();
    // One level is what scripts are.
    write("env", "#!/usr/bin/env -S sh -e\necho $0 $1\n");
    write("plain", "#!/bin/sh\necho $0 $1\n");
    write("option", "#!/bin/sh -e\necho $0 $1\n");
    write("in-awk", "#!/usr/bin/awk -f\nBEGIN { print \"awk\" }\n");
    // The kernel's own rule is as before: awk is asked about.
    machine.set_policy("version: 1\ndefault: allow\nrules: []\n");
    Reader& fine = machine.finish_guarded(
        "fine", "./env 1; ./plain 2; ./option 3; ./in-awk; ./runner ./job; sh ./runner ./plain"
    );
    EXPECT_EQ(fine.out(), "./env 1\n./plain 2\n./option 3\nawk\nran ./job\nran ./plain\n")
        << fine.err();
}

TEST(GuardScript, WhatIsNoScriptGoesOn) {
    GuardedMachine machine("version: 1\ndefault: allow\nrules: []\n");
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.finish_guarded(
        "a",
        "echo 'echo one' | bash; echo 'echo two' | bash /dev/stdin;"
        "bash -c 'bash <(echo echo three)'; bash -c 'bash /dev/stdin <<< \"echo four\"';"
        "bash none.sh 2>/dev/null; echo $?; bash /dev/null; sh -s < /dev/null;"
        "python3 -c 'print(\"five\")'; printf 'print(6)' | python3 -; awk 'BEGIN { print 7 }';"
        "echo 'echo ten' > ten; bash < ten; bash -s < ten | cat; bash -i 2> err < /dev/null;"
        "mkdir -p d; cp /usr/bin/env d; d/env true; bash -lc 'echo eight'; perl -e 'print \"9\\n\"'"
    );
    EXPECT_EQ(run.out(), "one\ntwo\nthree\nfour\n127\nfive\n6\n7\nten\nten\neight\n9\n")
        << run.err();
}

}  // namespace
}  // namespace berth::node::testing
