// SPDX-License-Identifier: Apache-2.0
// behaviours: runs and the command line. Real processes, a real sandbox, the CLI as a user types
// it.
#include <signal.h>

#include <fstream>

#include "system.hpp"
#include "terminal.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

class RunSystem : public SystemTest {
protected:
    static std::string processes_with(const std::string& mark) {
        std::string found;
        for (const auto& entry : fs::directory_iterator("/proc")) {
            const auto command = read_file(entry.path() / "cmdline");
            if (command && command->find(mark) != std::string::npos &&
                command->find("berth-system-marker") != std::string::npos)
                found += *command + "\n";
        }
        return found;
    }
};

TEST_F(RunSystem, Case1BothStreamsAndTheExactExitCode) {
    const Said said = suite().berth(run_sh("echo out; echo err >&2; exit 37"));
    EXPECT_EQ(said.exit_code, 37) << said.err;
    EXPECT_EQ(said.out, "out\n");
    EXPECT_NE(said.err.find("err\n"), std::string::npos);
    const Said summary = suite().berth(
        {"run", "--result-file", (suite().folder() / "result.json").string(), "--", "false"}
    );
    EXPECT_EQ(summary.exit_code, 1);
    const Json result = json_of(*read_file(suite().folder() / "result.json"));
    EXPECT_NE(result.dump().find("\"remote\""), std::string::npos) << result.dump();
    EXPECT_TRUE(machines_gone()) << "a one-shot lease leaves nothing behind";
}

TEST_F(RunSystem, Case1TheSummaryTellsTheTimeOfEachPhase) {
    const auto begun = std::chrono::steady_clock::now();
    const Said said = suite().berth(run_sh("sleep 1; echo out", {"--json"}));
    const auto took =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begun);
    EXPECT_EQ(said.exit_code, 0) << said.err;
    const Json result = json_of(said.out);
    const Json* timings = result.find("timings_ms");
    ASSERT_TRUE(timings != nullptr && timings->is_object()) << said.out;
    std::int64_t sum = 0;
    for (const char* phase : {"lease", "sync", "start", "run", "collect", "release"}) {
        const std::int64_t ms = timings->int_or(phase, -1);
        EXPECT_GE(ms, 0) << phase << " " << timings->dump();
        sum += ms;
    }
    EXPECT_GE(timings->int_or("run", 0), 900) << timings->dump();
    EXPECT_GT(timings->int_or("lease", 0), 0) << "a machine is made: " << timings->dump();
    EXPECT_GT(timings->int_or("sync", 0), 0) << "a tree is sent: " << timings->dump();
    EXPECT_EQ(timings->int_or("collect", -1), 0) << "nothing was wanted: " << timings->dump();
    EXPECT_LE(milliseconds{sum}, took) << "no time is counted twice";
    EXPECT_TRUE(machines_gone());
}

TEST_F(RunSystem, Case1EveryExitCodeIsExact) {
    const std::string lease = acquire();
    for (const int code : {0, 1, 2, 120, 125, 126, 127, 255}) {
        const Said said =
            suite().berth(run_sh("exit " + std::to_string(code), {"--no-sync", "--lease", lease}));
        EXPECT_EQ(said.exit_code, code);
    }
    EXPECT_EQ(suite().berth(run_sh("kill -9 $$", {"--no-sync", "--lease", lease})).exit_code, 137);
    EXPECT_EQ(
        suite().berth({"run", "--no-sync", "--lease", lease, "--", "no-such-command"}).exit_code,
        127
    );
    release(lease);
}

TEST_F(RunSystem, Case2ExactlyItsArguments) {
    const std::string lease = acquire();
    const std::vector<std::string> arguments{
        "a b", "", "quote\"'`$x", "new\nline", "grüße", "*", "\\", "--", "-n"};
    std::vector<std::string> command{
        "run",
        "--no-sync",
        "--lease",
        lease,
        "--",
        "sh",
        "-c",
        "for a; do printf '%s\\0' \"$a\"; done",
        "sh"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    std::string expected;
    for (const std::string& argument : arguments) expected += argument + std::string(1, '\0');
    EXPECT_EQ(suite().berth(command).out, expected);
    release(lease);
}

TEST_F(RunSystem, Case2OnlyAllowedEnvironmentAndBerthVariables) {
    Suite::CommandOptions options;
    options.env = {{"SECRET_THING", "leak"}, {"LD_PRELOAD_X", "leak"}, {"CI", "yes"}};
    const Said said = suite().berth({"run", "--env", "CI", "--", "env"}, options);
    EXPECT_EQ(said.exit_code, 0) << said.err;
    EXPECT_EQ(said.out.find("leak"), std::string::npos) << said.out;
    EXPECT_NE(said.out.find("CI=yes"), std::string::npos) << said.out;
    EXPECT_NE(said.out.find("BERTH_RUN"), std::string::npos) << said.out;
    EXPECT_EQ(said.out.find(suite().token()), std::string::npos);
}

TEST_F(RunSystem, AVariableThatTheProfileCutsIsNoSilentLoss) {
    Suite::CommandOptions options;
    options.env = {{"WANTED", "x"}, {"CI", "yes"}};
    const Said said = suite().berth(
        {"run", "--no-sync", "-e", "CI", "-e", "WANTED", "--", "echo", "ran"}, options
    );
    EXPECT_EQ(said.exit_code, 120) << said.err;
    EXPECT_EQ(said.out, "");
    EXPECT_NE(
        said.err.find("profile default of this lease lets no variable WANTED"), std::string::npos
    ) << said.err;
    EXPECT_TRUE(machines_gone()) << "the machine is given back";
}

TEST_F(RunSystem, Case3TheDirtyTreeArrivesAsItIs) {
    const fs::path tree = suite().folder() / "dirty";
    fs::create_directories(tree / "deep");
    shell(
        tree,
        "git init -q . && git config user.email t@example.org && git config user.name T && printf "
        "'*.o\\nbuild/\\n' > .gitignore && echo one > kept && echo two > changed && echo three > "
        "removed && echo four > deep/staged && git add . && git commit -qm c"
    );
    shell(
        tree,
        "echo changed >> changed && rm removed && echo new > untracked && echo staged > "
        "deep/staged && git add deep/staged && touch ignored.o && mkdir -p build && touch build/x "
        "&& ln -s kept link && printf '#!/bin/sh\\n' > tool && chmod 755 tool && printf 'sp "
        "ace\\n' > 'a b'"
    );
    Suite::CommandOptions options;
    options.cwd = tree;
    const std::string script =
        "cat changed; ls -A1 | sort; readlink link; test -x tool && echo executable; git status "
        "--short | sort; git rev-parse HEAD";
    const Said remote = suite().berth(run_sh(script), options);
    EXPECT_EQ(remote.exit_code, 0) << remote.err;
    EXPECT_EQ(remote.out.find("ignored.o"), std::string::npos);
    EXPECT_EQ(remote.out.find("build"), std::string::npos);
    EXPECT_NE(remote.out.find("changed\n"), std::string::npos);
    EXPECT_NE(remote.out.find(" D removed"), std::string::npos) << "git sees the deletion:\n"
                                                                << remote.out << remote.err;
    EXPECT_NE(remote.out.find("?? untracked"), std::string::npos) << remote.out;
    EXPECT_NE(remote.out.find("M  deep/staged"), std::string::npos) << remote.out;
    EXPECT_NE(remote.out.find("executable"), std::string::npos);
    EXPECT_NE(remote.out.find("kept\n"), std::string::npos);
    EXPECT_NE(remote.out.find("a b\n"), std::string::npos);
}

TEST_F(RunSystem, Case3And4DeletionsFollowAndAnUnchangedTreeIsNotSentAgain) {
    const fs::path tree = suite().folder() / "warm";
    fs::create_directories(tree);
    shell(tree, "git init -q . && echo 1 > a && echo 2 > b && echo 3 > c");
    Suite::CommandOptions options;
    options.cwd = tree;
    const std::string lease = acquire();
    EXPECT_EQ(suite().berth(run_sh("ls", {"--lease", lease}), options).out, "a\nb\nc\n");
    const Said again = suite().berth({"sync", "--lease", lease, "--json"}, options);
    EXPECT_NE(again.out.find("\"skipped\":true"), std::string::npos) << again.out << again.err;
    shell(tree, "rm b && echo 4 > d && touch -d '1 hour ago' c");
    EXPECT_EQ(suite().berth(run_sh("ls", {"--lease", lease}), options).out, "a\nc\nd\n");
    release(lease);
}

TEST_F(RunSystem, Case3FoldersThatAreDeletedOrRenamedHereAreSoThere) {
    const fs::path tree = suite().folder() / "folders";
    fs::create_directories(tree);
    shell(
        tree,
        "git init -q . && git config user.email t@example.org && git config user.name T && echo 1 "
        "> a && git add . && git commit -qm one && git checkout -qb other && mkdir -p gone/deep "
        "only && echo 2 > gone/x && echo 3 > gone/deep/y && echo 4 > only/z && git add only && git "
        "commit -qm two"
    );
    Suite::CommandOptions options;
    options.cwd = tree;
    const std::string lease = acquire();
    const auto there = [&] {
        const Said said = suite().berth(
            run_sh(
                "find . -path ./.git -prune -o -print | sort | tr '\\n' ' '", {"--lease", lease}
            ),
            options
        );
        EXPECT_EQ(said.exit_code, 0) << said.err;
        return said.out;
    };
    EXPECT_EQ(there(), ". ./a ./gone ./gone/deep ./gone/deep/y ./gone/x ./only ./only/z ");
    shell(tree, "rm -r gone/deep");
    EXPECT_EQ(there(), ". ./a ./gone ./gone/x ./only ./only/z ");
    shell(tree, "mv gone moved && echo 5 >> a");
    EXPECT_EQ(there(), ". ./a ./moved ./moved/x ./only ./only/z ");
    shell(tree, "git stash -q && git checkout -q -");
    EXPECT_EQ(there(), ". ./a ./moved ./moved/x ");
    release(lease);
}

TEST_F(RunSystem, Case5ControlCReachesTheWholeTreeAndTheLeaseIsReleased) {
    auto running = suite().start(
        run_sh("trap 'echo interrupted; exit 42' INT; setsid sh -c 'sleep 300; : "
               "berth-system-marker-5' "
               "& echo ready; wait; wait"),
        {}
    );
    ASSERT_TRUE(running->wait_out("ready")) << suite().logs();
    running->signal(SIGINT);
    const Said said = running->finish();
    EXPECT_EQ(said.exit_code, 42) << said.err;
    EXPECT_NE(said.out.find("interrupted"), std::string::npos);
    EXPECT_TRUE(machines_gone());
    EXPECT_EQ(processes_with("berth-system-marker-5"), "") << "no descendant is left";
}

TEST_F(RunSystem, Case5AKilledClientLeavesTheRunAndAttachReplaysIt) {
    const std::string lease = acquire();
    auto running = suite().start(
        run_sh(
            "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.2; done; exit 9",
            {"--no-sync", "--lease", lease}
        ),
        {}
    );
    ASSERT_TRUE(running->wait_out("line 2"));
    running->signal(SIGKILL);
    (void)running->finish();
    const auto runs = json_of(suite().api("GET", "/v1/runs?lease=" + lease).body);
    const std::string run = runs.find("runs")->as_array()->front().string_or("id", "");
    const Said first = suite().berth({"attach", run});
    const Said second = suite().berth({"attach", run});
    EXPECT_EQ(first.out, "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\n") << first.err;
    EXPECT_EQ(second.out, first.out) << "a second terminal sees the same bytes";
    EXPECT_EQ(first.exit_code, 9);
    release(lease);
}

TEST_F(RunSystem, Case5AnAttachThatSawTheEndTellsIt) {
    const std::string lease = acquire();
    const Said started =
        suite().berth(run_sh("echo up; exec sleep 600", {"--no-sync", "--detach", "--lease", lease})
        );
    ASSERT_EQ(started.exit_code, 0) << started.err;
    const std::string run = started.out.substr(0, started.out.find('\n'));
    const auto attached = suite().start({"attach", "--json", run}, {});
    ASSERT_TRUE(attached->wait_err("up"));
    EXPECT_EQ(suite().berth({"cancel", run}).exit_code, 0);
    EXPECT_EQ(json_of(attached->finish().out).string_or("state", ""), "RUN_STATE_CANCELED");
    release(lease);
}

TEST_F(RunSystem, Case6StdinIsForwardedAndHalfClosed) {
    std::string input;
    for (int i = 0; i < 200'000; ++i) input += std::to_string(i) + "\n";
    Suite::CommandOptions options;
    options.input = input;
    const Said said = suite().berth(run_sh("cat; echo end", {"--no-sync"}), options);
    EXPECT_EQ(said.exit_code, 0) << said.err;
    EXPECT_TRUE(said.out == input + "end\n") << said.out.size() << " of " << input.size();
}

TEST_F(RunSystem, Case6ATerminalIsReal) {
    const Said said = suite().berth(
        run_sh("test -t 0 && test -t 1 && echo a terminal; stty size", {"--no-sync", "--tty"})
    );
    EXPECT_EQ(said.exit_code, 0) << said.err;
    EXPECT_NE(said.out.find("a terminal"), std::string::npos) << said.out << said.err;
}

TEST_F(RunSystem, Case6AResizeOfTheTerminalReachesTheRemoteOne) {
    Terminal terminal(30, 100);
    auto child = terminal.start(
        {bin("berth"),
         "run",
         "--no-sync",
         "--tty",
         "--",
         "sh",
         "-c",
         "trap 'stty size; exit 9' WINCH; stty size; while :; do sleep 0.05; done"},
        {{"BERTH_SERVER", suite().url()}, {"BERTH_TOKEN", suite().token()}},
        suite().tree()
    );
    ASSERT_TRUE(terminal.wait_for("30 100")) << terminal.seen() << suite().logs();
    terminal.resize(41, 132);
    ASSERT_TRUE(child.signal(SIGWINCH)) << "as the kernel does to what a terminal controls";
    EXPECT_TRUE(terminal.wait_for("41 132")) << terminal.seen();
    const auto ended = child.wait(seconds{60});
    ASSERT_TRUE(ended) << terminal.seen();
    EXPECT_EQ(ended->code, 9);
}

TEST_F(RunSystem, Case5AnAttachmentBeginsWhereItIsTold) {
    const std::string lease = acquire();
    const std::string run = start(lease, "printf 0123456789; printf abc >&2; sleep 1; printf XYZ");
    // While it goes on, and when it is over.
    for (int i = 0; i < 2; ++i) {
        const Said whole = suite().berth({"attach", run});
        EXPECT_EQ(whole.exit_code, 0) << whole.err;
        EXPECT_EQ(whole.out, "0123456789XYZ");
        EXPECT_NE(whole.err.find("abc"), std::string::npos);
        const Said late = suite().berth({"attach", "--offset", "4", run});
        EXPECT_EQ(late.exit_code, 0) << late.err;
        EXPECT_EQ(late.out, "456789XYZ");
        const Said last = suite().berth({"attach", "--offset=14", run});
        EXPECT_EQ(last.out, "YZ") << "an offset counts both streams";
        EXPECT_EQ(last.err.find("abc"), std::string::npos);
        EXPECT_EQ(suite().berth({"attach", "--offset", "16", run}).out, "") << "the end";
        EXPECT_EQ(
            suite().berth({"logs", "--offset", "12", run}).out.find("012"), std::string::npos
        );
        EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    }
    for (const char* wrong : {"x", "-1", "4x", ""}) {
        const Said said = suite().berth({"attach", std::string("--offset=") + wrong, run});
        EXPECT_EQ(said.exit_code, 120) << wrong << said.err;
        EXPECT_NE(said.err.find("--offset"), std::string::npos) << said.err;
    }
    release(lease);
}

TEST_F(RunSystem, Case7MuchOutputWithoutNewlinesAndWithNulBytesIsWhole) {
    const Said said = suite().berth(run_sh(
        "head -c 4194304 /dev/zero; head -c 50000000 /dev/zero | tr '\\0' x; echo end",
        {"--no-sync"}
    ));
    EXPECT_EQ(said.exit_code, 0) << said.err;
    ASSERT_EQ(said.out.size(), 4'194'304U + 50'000'000U + 4U);
    EXPECT_EQ(said.out.substr(0, 4'194'304), std::string(4'194'304, '\0'));
    EXPECT_TRUE(said.out.ends_with("xend\n"));
}

TEST_F(RunSystem, Case7TheOutputCapIsAnnouncedAndTheCommandGoesOn) {
    const std::string lease = acquire(R"({"profile":"capped"})");
    const std::string run = start(lease, "head -c 3000000 /dev/zero; exit 5");
    const Json end = ended(run);
    EXPECT_EQ(end.string_or("state", ""), "RUN_STATE_FAILED") << end.dump();
    EXPECT_EQ(end.int_or("exit_code", 0), 5) << "the command went on to its own end";
    EXPECT_TRUE(end.bool_or("output_capped", false)) << end.dump();
    const Said logs = suite().berth({"attach", run});
    EXPECT_NE(logs.err.find("cap"), std::string::npos) << logs.err;
    EXPECT_LE(logs.out.size(), 1'100'000U);
    release(lease);
}

TEST_F(RunSystem, Case8ATimeoutEndsTheWholeTreeWithACodeOfItsOwn) {
    const Said said = suite().berth(run_sh(
        "setsid sh -c 'sleep 300; : berth-system-marker-8' & sleep 300; : berth-system-marker-8",
        {"--no-sync", "--timeout", "1s"}
    ));
    EXPECT_EQ(said.exit_code, 124) << said.err;
    EXPECT_NE(said.err.find("berth: "), std::string::npos);
    EXPECT_TRUE(machines_gone());
    EXPECT_EQ(processes_with("berth-system-marker-8"), "");
}

TEST_F(RunSystem, Case9TheCommandStartsOnceAndItsOutputIsWholeThoughTheNodeAgentIsKilled) {
    const std::string lease = acquire();
    const std::string machine = member(suite().api("GET", "/v1/leases/" + lease), "machine");
    const std::string run = start(
        lease,
        "echo start >> /workspace/starts; i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); "
        "sleep 0.05; done; wc -l < /workspace/starts"
    );
    const auto pid_file = suite().data() / "machines" / machine / "node" / "pid";
    std::string killed;
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(suite().eventually([&] {
            const auto text = read_file(pid_file);
            const auto id = text ? process::ProcessId::parse(*text)
                                 : Result<process::ProcessId>(invalid("none", ""));
            if (!id || *text == killed || !id->alive()) return false;
            killed = *text;
            return id->signal(SIGKILL).has_value();
        }));
    }
    const Json end = ended(run);
    EXPECT_EQ(end.string_or("state", ""), "RUN_STATE_SUCCEEDED")
        << end.dump() << suite().logs() << read_file(pid_file.parent_path() / "log").value_or("");
    std::string expected;
    for (int i = 0; i < 40; ++i) expected += "line " + std::to_string(i) + "\n";
    EXPECT_EQ(suite().berth({"logs", run}).out, expected + "1\n");
    release(lease);
}

TEST_F(RunSystem, Case12UnknownKeysInConfigurationAreErrorsWithFileAndLine) {
    const fs::path tree = suite().folder() / "misconfigured";
    fs::create_directories(tree / "below");
    shell(tree, "git init -q . && printf 'profile: default\\nprofil: x\\n' > berth.yaml");
    Suite::CommandOptions options;
    options.cwd = tree / "below";
    const Said said = suite().berth({"run", "--", "true"}, options);
    EXPECT_EQ(said.exit_code, 120) << said.err;
    EXPECT_NE(said.err.find("berth.yaml:2"), std::string::npos) << said.err;
    EXPECT_NE(said.err.find("profil"), std::string::npos);
}

TEST_F(RunSystem, Case12EveryErrorSaysWhatToDoNext) {
    const Said misspelt = suite().berth({"rnu"});
    EXPECT_EQ(misspelt.exit_code, 2);
    EXPECT_NE(misspelt.err.find("berth help"), std::string::npos)
        << "how to go on is told: " << misspelt.err;
    EXPECT_EQ(suite().berth({"run", "--lease", "no-such-lease", "--", "true"}).exit_code, 122);
    Suite::CommandOptions nowhere;
    nowhere.env = {{"BERTH_SERVER", "http://127.0.0.1:1"}};
    const Said unreachable = suite().berth({"run", "--", "true"}, nowhere);
    EXPECT_EQ(unreachable.exit_code, 121) << unreachable.err;
    EXPECT_NE(unreachable.err.find("berth up"), std::string::npos) << unreachable.err;
}

TEST_F(RunSystem, Case14HistoryStaysWhenTheMachineIsGone) {
    const Said said = suite().berth(run_sh("echo remembered", {"--no-sync", "--json"}));
    ASSERT_EQ(said.exit_code, 0) << said.err;
    ASSERT_TRUE(machines_gone());
    const auto runs = json_of(suite().api("GET", "/v1/runs?limit=1").body);
    const std::string run = runs.find("runs")->as_array()->front().string_or("id", "");
    EXPECT_EQ(suite().berth({"logs", run}).out, "remembered\n");
    EXPECT_NE(suite().berth({"runs"}).out.find(run.substr(0, 12)), std::string::npos);
}

TEST_F(RunSystem, ARunSeesNeitherTheNodesCredentialNorTheHost) {
    const std::string lease = acquire();
    const std::string machine = member(suite().api("GET", "/v1/leases/" + lease), "machine");
    const fs::path data = suite().data();
    const std::string script = "cat " + (data / "machines" / machine / "node" / "creds").string() +
                               " " + (data / "nats" / "account.seed").string() +
                               " 2>/dev/null; ls " + data.string() +
                               " 2>/dev/null; ls /root /home 2>/dev/null | grep -v berth; ps ax "
                               "2>/dev/null | grep -c '[b]erth-node'; id -u; cat /proc/1/comm";
    const Said said = suite().berth(run_sh(script, {"--no-sync", "--lease", lease}));
    EXPECT_EQ(said.out.find("NKEY"), std::string::npos) << said.out;
    EXPECT_EQ(said.out.find("postgres"), std::string::npos) << said.out;
    EXPECT_NE(said.out.find("0\n"), std::string::npos);
    const std::string port = suite().url().substr(suite().url().rfind(':') + 1);
    const Said net = suite().berth(
        {"run",
         "--no-sync",
         "--lease",
         lease,
         "--",
         "python3",
         "-c",
         "import socket; socket.create_connection(('127.0.0.1', " + port + "), 2)"}
    );
    EXPECT_NE(net.exit_code, 0) << "the host's loopback is out of reach";
    release(lease);
}

TEST_F(RunSystem, TwoRunsOnOneLeaseNeverMix) {
    const std::string lease = acquire();
    const std::string first = start(lease, "touch /workspace/busy; sleep 0.5; rm /workspace/busy");
    const std::string second = start(lease, "test ! -e /workspace/busy");
    EXPECT_EQ(ended(second).string_or("state", ""), "RUN_STATE_SUCCEEDED")
        << "the second waits for the first";
    EXPECT_EQ(ended(first).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    release(lease);
}

TEST_F(RunSystem, ACancelEndsARunAndIsIdempotent) {
    const std::string lease = acquire();
    const std::string run = start(lease, "trap '' INT; sleep 300");
    ASSERT_TRUE(suite().eventually([&] {
        return member(suite().api("GET", "/v1/runs/" + run), "state") == "RUN_STATE_RUNNING";
    }));
    EXPECT_EQ(suite().api("POST", "/v1/runs/" + run + "/cancel", R"({"grace":"1s"})").status, 200);
    const Json end = ended(run);
    EXPECT_EQ(end.string_or("state", ""), "RUN_STATE_CANCELED") << end.dump();
    EXPECT_EQ(suite().api("POST", "/v1/runs/" + run + "/cancel").status, 200);
    EXPECT_EQ(suite().api("POST", "/v1/runs/" + run + "/signal", R"({"signal":15})").status, 409);
    release(lease);
}

}  // namespace
}  // namespace berth::testing

int main(int argc, char** argv) {
    return berth::testing::SystemTest::run_all(
        argc,
        argv,
        "profiles:\n  default: {driver: local}\n  capped: {driver: local, output_cap: "
        "1MiB}\n"
    );
}
