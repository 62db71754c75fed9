// SPDX-License-Identifier: Apache-2.0
// The command line as its user meets it: exit codes, tokens, Ctrl-C, a gateway that dies, up and
// down.
#include "cli_system.hpp"

#include <signal.h>

#include <fstream>
#include <set>

#include "machine_processes.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

TEST_F(CliSystem, AKilledGatewayLosesAndDoublesNoByteOfAFollowedRun) {
    const std::string lease = acquire();
    auto running = suite().start(
        run_sh(
            "pad=$(printf '%01000d' 0); i=0; while [ $i -lt 250 ]; do echo $i $pad; echo $i e >&2; "
            "i=$((i+1)); sleep 0.01; done; exit 17",
            {"--no-sync", "--lease", lease}
        ),
        {}
    );
    for (const char* moment : {"\n20 ", "\n120 "}) {
        ASSERT_TRUE(running->wait_out(moment)) << suite().logs();
        suite().kill9("gateway");
        ASSERT_TRUE(suite().wait_ready());
    }
    const Said said = running->finish();
    std::string out;
    std::string err;
    for (int i = 0; i < 250; ++i) {
        out += std::to_string(i) + " " + std::string(1'000, '0') + "\n";
        err += std::to_string(i) + " e\n";
    }
    EXPECT_EQ(said.exit_code, 17) << said.err;
    EXPECT_TRUE(said.out == out) << said.out.size() << " bytes of " << out.size();
    EXPECT_EQ(said.err, err);
    release(lease);
}

TEST_F(CliSystem, AGatewayKilledWhileARunWaitsForItsMachineCostsOnlyTime) {
    const std::string first = acquire(R"({"profile":"one"})");
    auto waiting =
        suite().start(run_sh("echo ran", {"--no-sync", "--profile", "one", "--wait", "1m"}), {});
    ASSERT_TRUE(waiting->wait_err("in line")) << suite().logs();
    for (int round = 0; round < 2; ++round) {
        suite().kill9("gateway");
        ASSERT_TRUE(suite().wait_ready());
    }
    release(first);
    const Said said = waiting->finish();
    EXPECT_EQ(said.exit_code, 0) << said.err;
    EXPECT_EQ(said.out, "ran\n");
    EXPECT_TRUE(machines_gone()) << "no lease is left behind";
}

TEST_F(CliSystem, AGatewayKilledDuringASyncCostsOnlyTime) {
    const fs::path tree = suite().folder() / "slow";
    const fs::path tools = suite().folder() / "slow-tools";
    fs::create_directories(tree);
    fs::create_directories(tools);
    shell(tree, "git init -q . && head -c 3000000 /dev/urandom > big");
    // The first transfer takes long enough to be killed in its middle.
    shell(
        tools,
        "real=$(command -v rsync) && printf '#!/bin/sh\nif mkdir \"" + tools.string() +
            "/first\" 2>/dev/null; then exec %s --bwlimit=100 \"$@\"; fi\nexec %s \"$@\"\n' "
            "\"$real\" \"$real\" > rsync && chmod +x rsync"
    );
    Suite::CommandOptions options;
    options.cwd = tree;
    options.env = {{"PATH", tools.string() + ":" + std::getenv("PATH")}};
    auto running = suite().start({"run", "--", "sha256sum", "big"}, options);
    // rsync writes into a hidden file beside the one it will be.
    ASSERT_TRUE(suite().eventually([] {
        for (const std::string& machine : suite().machines()) {
            std::error_code ignored;
            const fs::path workspace = suite().data() / "machines" / machine / "workspace";
            for (const auto& entry : fs::directory_iterator(workspace, ignored))
                if (entry.path().filename().string().starts_with(".big.")) return true;
        }
        return false;
    })) << suite().logs();
    suite().kill9("gateway");
    const Said said = running->finish(seconds{120});
    EXPECT_EQ(said.exit_code, 0) << said.err;
    shell(tree, "sha256sum big > ../expected");
    std::ifstream expected(tree.parent_path() / "expected");
    std::string line;
    std::getline(expected, line);
    EXPECT_EQ(said.out, line + "\n");
    EXPECT_TRUE(machines_gone());
}

TEST_F(CliSystem, ALeaseIsNotIdleWhileItsCallerWaitsForTheMachine) {
    const pid_t provisioner = suite().pid("prov");
    ASSERT_GT(provisioner, 0);
    ::kill(provisioner, SIGSTOP);
    auto waiting = suite().start({"lease", "--new", "--idle-timeout", "1s", "--json"}, {});
    const auto pending = [] {
        const Json all = json_of(suite().api("GET", "/v1/leases").body);
        const Json* list = all.find("leases");
        return list == nullptr || list->as_array()->empty() ? Json() : list->as_array()->front();
    };
    std::set<std::string> touched;
    EXPECT_TRUE(suite().eventually([&] {
        touched.insert(pending().string_or("touched_at", ""));
        return touched.size() > 4;
    })) << "three heartbeats: without them it would have been idle";
    ::kill(provisioner, SIGCONT);
    const Said said = waiting->finish();
    EXPECT_EQ(said.exit_code, 0) << said.err;
    const std::string id = json_of(said.out).string_or("id", "");
    if (!id.empty()) (void)suite().api("POST", "/v1/leases/" + id + "/release");
    EXPECT_TRUE(machines_gone());
}

TEST_F(CliSystem, ExitCode122IsNoMachine) {
    const Said broken = suite().berth({"run", "--profile", "broken", "--", "true"});
    EXPECT_EQ(broken.exit_code, 122) << broken.err;
    EXPECT_NE(broken.err.find("names driver 'aws'"), std::string::npos)
        << "and why: " << broken.err;
    const Said none = suite().berth({"run", "--lease", "no-such-lease", "--", "true"});
    EXPECT_EQ(none.exit_code, 122) << none.err;
    const std::string lease = acquire();
    release(lease);
    const Said ended = suite().berth({"run", "--lease", lease, "--", "true"});
    EXPECT_EQ(ended.exit_code, 122) << ended.err;
}

TEST_F(CliSystem, ExitCode123IsASyncThatFailed) {
    const fs::path tree = suite().folder() / "unreadable";
    fs::create_directories(tree);
    shell(tree, "git init -q . && echo x > a");
    // No rsync in the PATH of this berth.
    const fs::path only_git = suite().folder() / "only-git";
    fs::create_directories(only_git);
    shell(tree, "ln -sf \"$(command -v git)\" '" + (only_git / "git").string() + "'");
    Suite::CommandOptions options;
    options.cwd = tree;
    options.env = {{"PATH", only_git.string()}};
    const Said said = suite().berth({"run", "--", "true"}, options);
    if (said.exit_code == 0) GTEST_SKIP() << "rsync is found outside PATH on this host";
    EXPECT_EQ(said.exit_code, 123) << said.err;
    EXPECT_NE(said.err.find("rsync"), std::string::npos) << said.err;
    EXPECT_NE(said.err.find("--no-sync"), std::string::npos) << "and what to do: " << said.err;
    EXPECT_TRUE(machines_gone()) << "the machine is given back";
}

TEST_F(CliSystem, ExitCode125IsALostRun) {
    const std::string lease = acquire();
    const std::string machine = member(suite().api("GET", "/v1/leases/" + lease), "machine");
    auto running =
        suite().start(run_sh("echo begun; sleep 300", {"--no-sync", "--lease", lease}), {});
    ASSERT_TRUE(running->wait_out("begun"));
    const std::string run = only_run_of(lease);
    const fs::path started = suite().data() / "machines" / machine / "runs" / run / "started";
    const std::string text = read_file(started).value_or("");
    const auto at = text.find("supervisor=") + 11;
    const auto supervisor = process::ProcessId::parse(text.substr(at, text.find('\n', at) - at));
    ASSERT_TRUE(supervisor) << text;
    ASSERT_TRUE(supervisor->signal(SIGKILL));
    const Said said = running->finish();
    EXPECT_EQ(said.exit_code, 125) << said.err;
    EXPECT_EQ(said.out, "begun\n");
    EXPECT_NE(said.err.find("berth: the run's supervisor died"), std::string::npos) << said.err;
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_LOST");
    EXPECT_EQ(
        suite().berth({"run", "--no-sync", "--lease", lease, "--", "echo", "next"}).out, "next\n"
    ) << "the machine works on";
    release(lease);
}

TEST_F(CliSystem, BadAndExpiredTokensAreToldWithTheWayIn) {
    const std::map<std::string, std::string> nonsense{{"BERTH_TOKEN", "nonsense"}};
    const Said whoami = with(nonsense, {"whoami"});
    EXPECT_EQ(whoami.exit_code, 1);
    EXPECT_EQ(whoami.out, "");
    EXPECT_NE(whoami.err.find("berth login"), std::string::npos) << whoami.err;
    EXPECT_EQ(with(nonsense, {"run", "--no-sync", "--", "true"}).exit_code, 120);
    EXPECT_EQ(with(nonsense, {"leases"}).exit_code, 1);

    const std::map<std::string, std::string> elsewhere{
        {"XDG_CONFIG_HOME", (suite().folder() / "elsewhere").string()}};
    EXPECT_EQ(with(elsewhere, {"whoami"}).exit_code, 1) << "no token at all";
    const Said refused = with(elsewhere, {"login", "--token-stdin"}, "nonsense\n");
    EXPECT_EQ(refused.exit_code, 1) << refused.err;
    EXPECT_EQ(with(elsewhere, {"whoami"}).exit_code, 1) << "nothing was stored";
    EXPECT_EQ(with(elsewhere, {"login", "--token-stdin"}, "\n").exit_code, 2);
    EXPECT_EQ(with(elsewhere, {"login"}).exit_code, 2);
    EXPECT_EQ(with(elsewhere, {"login", "--token-file", "/nonexistent"}).exit_code, 1);
    const Said welcome = with(elsewhere, {"login", "--token-stdin"}, suite().token() + "\n");
    EXPECT_EQ(welcome.exit_code, 0) << welcome.err;
    EXPECT_EQ(welcome.out.find(suite().token()), std::string::npos);
    EXPECT_EQ(with(elsewhere, {"whoami"}).out, "admin of default (admin)\n");

    const auto brief = suite().api(
        "POST",
        "/v1/tokens",
        "{\"label\":\"brief\",\"roles\":[\"operator\"],\"expires_at\":\"" +
            to_rfc3339(Clock::system().now() + seconds{3}) + "\"}"
    );
    const std::map<std::string, std::string> soon{{"BERTH_TOKEN", member(brief, "text")}};
    EXPECT_EQ(with(soon, {"whoami"}).exit_code, 0) << brief.body;
    ASSERT_TRUE(suite().eventually([&] { return with(soon, {"whoami"}).exit_code == 1; }));
    const Said late = with(soon, {"run", "--no-sync", "--", "true"});
    EXPECT_EQ(late.exit_code, 120) << late.err;
    EXPECT_NE(late.err.find("berth login"), std::string::npos) << late.err;
}

TEST_F(CliSystem, CancelEndsARunAndTellsItsFollower) {
    const std::string lease = acquire();
    auto running = suite().start(
        run_sh(
            "trap 'echo told; exit 21' INT; echo ready; while :; do sleep 0.05; done",
            {"--no-sync", "--lease", lease}
        ),
        {}
    );
    ASSERT_TRUE(running->wait_out("ready"));
    const std::string run = only_run_of(lease);
    const Said canceled = suite().berth({"cancel", run});
    EXPECT_EQ(canceled.exit_code, 0) << canceled.err;
    const Said said = running->finish();
    EXPECT_EQ(said.exit_code, 21) << said.err;
    EXPECT_NE(said.out.find("told"), std::string::npos);
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_CANCELED");
    EXPECT_EQ(suite().berth({"cancel", run}).exit_code, 0) << "again is no mistake";
    const Said unknown = suite().berth({"cancel", "rn_00000000000000000000000000"});
    EXPECT_EQ(unknown.exit_code, 1);
    EXPECT_NE(unknown.err.find("berth runs"), std::string::npos) << unknown.err;
    EXPECT_EQ(suite().berth({"attach", "rn_00000000000000000000000000"}).exit_code, 120);

    auto deaf = suite().start(
        run_sh(
            "trap '' INT; echo ready; while :; do sleep 0.05; done", {"--no-sync", "--lease", lease}
        ),
        {}
    );
    ASSERT_TRUE(deaf->wait_out("ready"));
    EXPECT_EQ(suite().berth({"cancel", "--grace", "300ms", only_run_of(lease)}).exit_code, 0);
    EXPECT_EQ(deaf->finish().exit_code, 137) << "who does not hear is killed after the grace";
    release(lease);
}

TEST_F(CliSystem, ControlCOnceInterruptsTwiceCancelsThriceLeaves) {
    const std::string lease = acquire();
    auto running = suite().start(
        run_sh(
            "n=0; trap 'n=$((n+1)); echo int $n; test $n -lt 2 || exit 43' INT; echo ready; while "
            ":; "
            "do "
            "sleep 0.05; done",
            {"--no-sync", "--lease", lease}
        ),
        {}
    );
    ASSERT_TRUE(running->wait_out("ready"));
    const std::string run = only_run_of(lease);
    running->signal(SIGINT);
    ASSERT_TRUE(running->wait_out("int 1"));
    EXPECT_EQ(member(suite().api("GET", "/v1/runs/" + run), "state"), "RUN_STATE_RUNNING")
        << "once is the command's own affair";
    running->signal(SIGINT);
    EXPECT_EQ(running->finish().exit_code, 43);
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_CANCELED");

    auto stubborn = suite().start(
        run_sh(
            "n=0; trap 'n=$((n+1)); echo int $n' INT; echo ready; while :; do sleep 0.05; done",
            {"--no-sync", "--lease", lease}
        ),
        {}
    );
    ASSERT_TRUE(stubborn->wait_out("ready"));
    const std::string left = only_run_of(lease);
    for (int i = 1; i <= 2; ++i) {
        stubborn->signal(SIGINT);
        ASSERT_TRUE(stubborn->wait_out("int " + std::to_string(i))) << stubborn->out();
    }
    stubborn->signal(SIGINT);
    const Said said = stubborn->finish();
    EXPECT_EQ(said.exit_code, 130) << said.err;
    EXPECT_NE(said.err.find("berth attach " + left), std::string::npos) << said.err;
    EXPECT_EQ(suite().berth({"cancel", "--grace", "100ms", left}).exit_code, 0);
    EXPECT_EQ(ended(left).string_or("state", ""), "RUN_STATE_CANCELED");
    release(lease);
}

TEST_F(CliSystem, ResultsOfARunAreFetchedBeforeItsMachineGoesAndKept) {
    const fs::path tree = suite().folder() / "tested";
    fs::create_directories(tree);
    shell(
        tree,
        "git init -q . && echo x > a && printf 'results:\\n  junit: [\"out/*.xml\"]\\n' > "
        "berth.yaml"
    );
    Suite::CommandOptions options;
    options.cwd = tree;
    options.env = {{"XDG_STATE_HOME", (suite().folder() / "state").string()}};
    const std::string script =
        "mkdir -p out dist/deep; echo bin > dist/deep/app; echo no > dist/other.txt; "
        "printf '<testsuite name=\"s\"><testcase name=\"good\"/><testcase name=\"bad\">"
        "<failure message=\"not 1\">line 7</failure></testcase></testsuite>' > out/r.xml";
    const Said said = suite().berth(
        run_sh(script, {"--json", "--fail-on-test-failures", "--artifact", "dist/deep/*"}), options
    );
    EXPECT_EQ(said.exit_code, 1) << said.err;
    const Json result = json_of(said.out);
    const Json* exit = result.find("exit");
    ASSERT_NE(exit, nullptr) << said.out;
    EXPECT_EQ(exit->string_or("origin", ""), "berth");
    const Json* results = result.find("results");
    ASSERT_NE(results, nullptr) << said.out;
    EXPECT_EQ(results->find("tests")->int_or("failed", 0), 1);
    EXPECT_TRUE(machines_gone()) << "the machine is given back all the same";
    EXPECT_FALSE(fs::exists(tree / "dist")) << "nothing is written into the tree";

    const std::string run = results->string_or("run", "");
    const Said shown = suite().berth({"results"}, options);
    EXPECT_EQ(shown.exit_code, 0) << shown.err;
    EXPECT_EQ(shown.out.find(run + " 2 tests: 1 passed, 1 failed"), 0U) << shown.out;
    EXPECT_NE(shown.out.find("FAILED s > bad\n  not 1\n    line 7\n"), std::string::npos)
        << shown.out;
    EXPECT_NE(shown.out.find("\ndist/deep/app\n"), std::string::npos);
    const fs::path copies = suite().folder() / "copies";
    EXPECT_EQ(suite().berth({"results", run, "--download", copies.string()}, options).exit_code, 0);
    EXPECT_EQ(read_file(copies / "dist/deep/app").value_or(""), "bin\n");
    EXPECT_FALSE(fs::exists(copies / "dist/other.txt"));

    const Said gone = suite().berth({"results", "--fetch"}, options);
    EXPECT_EQ(gone.exit_code, 1);
    EXPECT_NE(gone.err.find("is gone"), std::string::npos) << gone.err;

    const Said history = suite().berth({"history"}, options);
    EXPECT_EQ(history.exit_code, 0) << history.err;
    EXPECT_NE(history.out.find(run), std::string::npos) << history.out;
    const Json list = json_of(suite().berth({"history", "--json"}, options).out);
    ASSERT_NE(list.find("runs"), nullptr);
    EXPECT_EQ(list.find("runs")->as_array()->size(), 1U) << "only this tree's";
}

TEST_F(CliSystem, ResultsOfAKeptLeaseCountOnlyWhatThisRunWrote) {
    const std::map<std::string, std::string> env{
        {"XDG_STATE_HOME", (suite().folder() / "state2").string()}};
    const std::string lease = acquire();
    const auto run = [&](const std::string& script) {
        return with(env, run_sh(script, {"--no-sync", "--lease", lease, "--junit", "*.xml"}));
    };
    const std::string report = "<testsuite><testcase name=\"a\"/></testsuite>";
    const Said first = run("echo '" + report + "' > one.xml; touch -d '1 minute ago' one.xml");
    EXPECT_EQ(first.exit_code, 0) << first.err;
    EXPECT_NE(first.err.find("no report"), std::string::npos) << first.err;
    const Said second = run("echo '" + report + "' > two.xml");
    EXPECT_NE(second.err.find("1 test: 1 passed"), std::string::npos) << second.err;
    // A run that was started without a word about results: they are fetched when asked for.
    const Said later = with(
        env,
        run_sh("echo '" + report + "' > three.xml", {"--no-sync", "--lease", lease, "--detach"})
    );
    const std::string id = later.out.substr(0, later.out.find('\n'));
    EXPECT_EQ(ended(id).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    EXPECT_EQ(with(env, {"results", id}).exit_code, 2) << "nothing says where they are";
    const Json results = json_of(with(env, {"results", id, "--json", "--junit", "three.xml"}).out);
    EXPECT_EQ(results.find("tests")->int_or("passed", 0), 1);
    release(lease);
}

TEST_F(CliSystem, SshAndShellAreSessionsOnAMachine) {
    const std::string lease = acquire();
    const Said listed = suite().berth({"ssh", lease, "sh", "-c", "pwd; exit 6"});
    EXPECT_EQ(listed.exit_code, 6) << listed.err;
    EXPECT_EQ(listed.out, "/workspace\n");
    Suite::CommandOptions typed;
    typed.no_input = false;
    typed.input = "echo $((40+2)); exit 9\n";
    const Said shell = suite().berth({"ssh", lease}, typed);
    EXPECT_EQ(shell.exit_code, 9) << shell.err;
    EXPECT_EQ(shell.out, "42\n");
    EXPECT_EQ(suite().berth({"ssh", "no-such-lease"}).exit_code, 122);
    // As with ssh the words are one line for a shell.
    const std::vector<std::pair<std::vector<std::string>, std::string>> lines = {
        {{"ssh", lease, "echo one; exit 6"}, "one\n"},
        {{"ssh", lease, "--", "echo one;", "exit 6"}, "one\n"},
        {{"ssh", lease, "echo", "a  b;", "exit", "6"}, "a b\n"},
        {{"ssh", lease, "echo", "'a  b';", "exit", "6"}, "a  b\n"},
        {{"ssh", "--lease", lease, "echo one; exit 6"}, "one\n"},
        {{"ssh", "--lease", lease, "--", "echo", "one;", "exit", "6"}, "one\n"},
        {{"ssh", lease, "--", "-x 2>&-; exit 6"}, ""},
    };
    for (const auto& [words, out] : lines) {
        const Said line = suite().berth(words);
        EXPECT_EQ(line.exit_code, 6) << words.back() << line.err;
        EXPECT_EQ(line.out, out) << line.err;
    }
    const Said flag = suite().berth({"ssh", lease, "-t", "tty"});
    EXPECT_EQ(flag.exit_code, 120);
    EXPECT_NE(flag.err.find("flags stand before the lease"), std::string::npos) << flag.err;
    release(lease);
    // What follows the dashes is a command, on the lease of this working tree.
    const Said made = suite().berth({"lease"});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    const Said tree = suite().berth({"ssh", "--", "echo", "here;", "exit", "7"});
    EXPECT_EQ(tree.exit_code, 7) << tree.err;
    EXPECT_EQ(tree.out, "here\n");
    const Said nowhere = suite().berth({"ssh", "", "echo", "here"});
    EXPECT_EQ(nowhere.exit_code, 120) << "its own lease is not meant";
    EXPECT_EQ(nowhere.out, "");
    EXPECT_EQ(suite().berth({"release"}).exit_code, 0);
    // The shell has the tree, and its machine goes with it.
    typed.input = "cat *.txt | wc -l >&2; exit 4\n";
    const Said own = suite().berth({"shell"}, typed);
    EXPECT_EQ(own.exit_code, 4) << own.err;
    EXPECT_TRUE(machines_gone());
}

TEST_F(CliSystem, DoctorIsWellHereAndNamesWhatIsMissing) {
    const Said well = suite().berth({"doctor", "--json"});
    EXPECT_EQ(well.exit_code, 0) << well.out << well.err;
    EXPECT_TRUE(json_of(well.out).bool_or("well", false)) << well.out;
    const Said poor = with({{"PATH", "/nonexistent"}, {"BERTH_TOKEN", "nonsense"}}, {"doctor"});
    EXPECT_EQ(poor.exit_code, 1);
    EXPECT_NE(poor.out.find("rsync"), std::string::npos) << poor.out;
    EXPECT_NE(poor.out.find("install the package rsync"), std::string::npos) << poor.out;
    EXPECT_NE(poor.out.find("log in again"), std::string::npos) << poor.out;
    const Said away = suite().berth({"doctor", "--server", "http://127.0.0.1:1"});
    EXPECT_EQ(away.exit_code, 1);
    EXPECT_NE(away.out.find("berth up"), std::string::npos) << away.out;
}

TEST_F(CliSystem, CompletionKnowsLiveNames) {
    const std::string lease = acquire();
    const std::string slug = member(suite().api("GET", "/v1/leases/" + lease), "slug");
    const Said names = suite().berth({"__complete", "--", "release", ""});
    EXPECT_NE(names.out.find(slug + "\tactive"), std::string::npos) << names.out << names.err;
    const std::string run = start(lease, "true");
    const Said runs = suite().berth({"__complete", "--", "logs", ""});
    EXPECT_NE(runs.out.find(run + "\t"), std::string::npos) << runs.out;
    const Said away =
        suite().berth({"__complete", "--server", "http://127.0.0.1:1", "--", "logs", ""});
    EXPECT_EQ(away.exit_code, 0) << "Tab never complains";
    EXPECT_EQ(away.out + away.err, "");
    release(lease);
}

TEST_F(CliSystem, ASlipIsToldTheNearestCommand) {
    for (const auto& [typed, meant] : {std::pair{"rnu", "'run'"}, {"lgoin", "'login'"}}) {
        const Said said = suite().berth({typed});
        EXPECT_EQ(said.exit_code, 2);
        EXPECT_NE(said.err.find(meant), std::string::npos) << said.err;
    }
}

TEST_F(CliSystem, TheFirstUpOnAnotherPortIsThisUsersDefaultAndSaysNothingElse) {
    EXPECT_NE(suite().greeting().find("Berth is ready at " + suite().url()), std::string::npos);
    EXPECT_NE(
        suite().greeting().find("'berth down --data " + suite().data().string() + "'"),
        std::string::npos
    ) << suite().greeting();
    EXPECT_EQ(suite().greeting().find("this shell talks to"), std::string::npos)
        << suite().greeting();
    // What it says is so: without any variable the CLI finds this deployment.
    EXPECT_EQ(with({{"BERTH_SERVER", ""}}, {"whoami"}).exit_code, 0);
}

TEST_F(CliSystem, DownLeavesNothingButWhatStillRunsAndSaysWhich) {
    Suite own;
    const auto lease_of = [&](const char* label) {
        const auto made =
            own.api("POST", "/v1/leases", std::string("{\"label\":\"") + label + "\"}");
        const auto active =
            own.api("GET", "/v1/leases/" + member(made, "id") + "?wait=active&timeout=30s");
        EXPECT_EQ(member(active, "state"), "LEASE_STATE_ACTIVE") << active.body;
        return std::pair(member(active, "id"), member(active, "machine"));
    };
    const auto [idle, idle_machine] = lease_of("idle");
    const auto [busy, busy_machine] = lease_of("busy");
    const fs::path go = own.data() / "machines" / busy_machine / "workspace" / "go";
    EXPECT_EQ(own.berth({"run", "--no-sync", "--lease", idle, "--", "touch", "kept"}).exit_code, 0);
    const Said started = own.berth(run_sh(
        "echo before; while [ ! -e go ]; do sleep 0.05; done; echo after; exit 5",
        {"--no-sync", "--detach", "--lease", busy}
    ));
    const std::string run = started.out.substr(0, started.out.find('\n'));
    ASSERT_TRUE(own.eventually([&] { return own.berth({"logs", run}).out == "before\n"; }));

    const std::vector<std::string> down{"down", "--data", own.data().string()};
    const Said stopped = own.berth(down);
    EXPECT_EQ(stopped.exit_code, 0) << stopped.err;
    EXPECT_NE(stopped.err.find(busy_machine + " goes on with 1 run"), std::string::npos)
        << stopped.err;
    EXPECT_NE(stopped.err.find("--all"), std::string::npos) << "and how to end it";
    EXPECT_EQ(stopped.err.find(idle_machine), std::string::npos);
    EXPECT_TRUE(MachineProcesses(own, idle_machine).all().empty());
    EXPECT_FALSE(MachineProcesses(own, busy_machine).all().empty());

    // The run outlasts it, also its own end.
    std::ofstream(go) << "\n";
    ASSERT_EQ(own.up().exit_code, 0) << own.logs();
    const auto end = json_of(own.api("GET", "/v1/runs/" + run + "?wait=ended&timeout=30s").body);
    EXPECT_EQ(end.string_or("state", ""), "RUN_STATE_FAILED") << end.dump();
    EXPECT_EQ(end.int_or("exit_code", 0), 5);
    EXPECT_EQ(own.berth({"logs", run}).out, "before\nafter\n");
    // The idle lease is live as before, and so is its workspace.
    const Said kept = own.berth({"run", "--no-sync", "--lease", idle, "--", "ls"});
    EXPECT_EQ(kept.out, "kept\n") << kept.err;

    // With --all nothing is left, whatever ran.
    const Said again = own.berth(run_sh("sleep 300", {"--no-sync", "--detach", "--lease", busy}));
    ASSERT_EQ(again.exit_code, 0) << again.err;
    ASSERT_EQ(own.berth(down).exit_code, 0);
    const Said all = own.berth({"down", "--all", "--json", "--data", own.data().string()});
    EXPECT_EQ(all.exit_code, 0) << all.err;
    EXPECT_EQ(all.out, "{\"stopped\":false,\"left\":[]}\n") << "an earlier down is mended";
    EXPECT_TRUE(MachineProcesses(own, busy_machine).all().empty());
    ASSERT_EQ(own.up().exit_code, 0) << own.logs();
    const std::string lost = again.out.substr(0, again.out.find('\n'));
    EXPECT_EQ(
        member(own.api("GET", "/v1/runs/" + lost + "?wait=ended&timeout=30s"), "state"),
        "RUN_STATE_LOST"
    );
}

TEST(CliUp, ASettingsFileWithoutProfilesHasTheDefaultOnes) {
    Suite suite({.settings = "broker:\n  currency: EUR\n"});
    const Said said = suite.berth({"run", "--no-sync", "--", "true"});
    EXPECT_EQ(said.exit_code, 0) << said.err;
}

}  // namespace
}  // namespace berth::testing

int main(int argc, char** argv) {
    std::string settings =
        "profiles:\n  default: {driver: local}\n  broken: {driver: aws}\n"
        "  one: {driver: local, max_machines: 1}\n";
    berth::testing::start_provider();
    if (berth::testing::provider != nullptr) {
        const std::string& url = berth::testing::provider_url;
        settings +=
            "gateway:\n  sign_in:\n    github: {client_id: berth-client, org: acme, url: '" + url +
            "/github', api_url: '" + url + "/api/v3'}\n" +
            "    oidc: {client_id: berth-client, issuer: '" + url + "'}\n";
    }
    const int result = berth::testing::SystemTest::run_all(argc, argv, std::move(settings));
    berth::testing::provider.reset();
    return result;
}
