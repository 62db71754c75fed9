// SPDX-License-Identifier: Apache-2.0
// behaviours: runs and leases on machines that are containers of a real engine.
#include <signal.h>

#include <cstdlib>
#include <fstream>

#include "host_port.hpp"
#include "net/fence.hpp"
#include "support/engine/container_engine.hpp"
#include "support/run_or_skip.hpp"
#include "system.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

ContainerEngine& engine() {
    static ContainerEngine one;
    return one;
}

class DockerSystem : public SystemTest {
public:
    static void SetUpTestSuite() {
        const std::string image = ContainerEngine::kImage;
        settings_ = "provisioner:\n  docker: {socket: " + engine().socket() +
                    "}\n"
                    "profiles:\n"
                    "  default: {driver: docker, image: '" +
                    image +
                    "'}\n"
                    "  small: {driver: docker, image: '" +
                    image +
                    "', memory: 64MiB, cpus: 0.5, pids: 64}\n"
                    "  net: {driver: docker, image: '" +
                    image + "', network: true}\n";
        SystemTest::SetUpTestSuite();
    }

protected:
    void TearDown() override { EXPECT_TRUE(nothing_left()) << left(); }
    static bool nothing_left(milliseconds patience = seconds{60}) {
        return suite().eventually([] { return left().empty(); }, patience);
    }
    /// Everything of any machine, at the engine and on the host.
    static std::string left() {
        std::string text;
        for (const std::string& thing : engine().labelled("berth.machine")) text += thing + "\n";
        std::error_code error;
        for (const auto& entry :
             fs::directory_iterator(suite().data() / "machines" / "docker", error)) {
            const std::string name = entry.path().filename().string();
            if (name.starts_with("m_")) text += "folder " + name + "\n";
        }
        for (const std::string& machine : suite().machines()) text += "local " + machine + "\n";
        return text;
    }
    static Said sh(
        const std::string& script, const std::vector<std::string>& options = {"--no-sync"}
    ) {
        return suite().berth(run_sh(script, options));
    }
    /// How many processes of this host have `mark` in their command line.
    static int marked(const std::string& mark) {
        int count = 0;
        std::error_code error;
        for (const auto& entry : fs::directory_iterator("/proc", error)) {
            const auto line = read_file(entry.path() / "cmdline");
            if (line && line->find(mark) != std::string::npos) ++count;
        }
        return count;
    }
};

TEST_F(DockerSystem, Case1BothStreamsTheTreeAndTheExactExitCode) {
    const Said said = sh("echo out; cat a.txt; echo err >&2; id -u; exit 37", {});
    EXPECT_EQ(said.exit_code, 37) << said.err << suite().logs();
    EXPECT_EQ(said.out, "out\nhello\n1000\n") << said.err;
    EXPECT_NE(said.err.find("err\n"), std::string::npos);
}

TEST_F(DockerSystem, Case1EveryExitCodeAndSignalIsExactOnOneWarmMachine) {
    const std::string lease = acquire();
    for (const int code : {0, 1, 120, 125, 126, 255})
        EXPECT_EQ(
            sh("exit " + std::to_string(code), {"--no-sync", "--lease", lease}).exit_code, code
        );
    EXPECT_EQ(sh("kill -9 $$", {"--no-sync", "--lease", lease}).exit_code, 137);
    EXPECT_EQ(
        suite().berth({"run", "--no-sync", "--lease", lease, "--", "no-such-command"}).exit_code,
        127
    );
    release(lease);
}

TEST_F(DockerSystem, Case2And6ArgumentsEnvironmentInputAndATerminal) {
    const std::string lease = acquire();
    Suite::CommandOptions options;
    options.input = "one\ntwo\n";
    const std::vector<std::string> words{
        "run",
        "--no-sync",
        "--lease",
        lease,
        "--",
        "sh",
        "-c",
        "printf '%s|' \"$@\"; echo; echo $HOME $USER $PATH; cat",
        "sh",
        "a b",
        "",
        "\n",
        "ü"};
    const Said said = suite().berth(words, options);
    EXPECT_EQ(said.exit_code, 0) << said.err;
    EXPECT_EQ(
        said.out,
        "a b||\n|ü|\n/home/berth berth "
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\none\ntwo\n"
    ) << "PATH is the image's";
    const Said terminal = suite().berth(run_sh(
        "tty; test -t 0 && test -w $(tty) && echo terminal; exit 5",
        {"--no-sync", "--tty", "--lease", lease}
    ));
    EXPECT_EQ(terminal.exit_code, 5) << terminal.err;
    EXPECT_NE(terminal.out.find("/dev/pts/"), std::string::npos) << terminal.out;
    EXPECT_NE(terminal.out.find("terminal"), std::string::npos) << terminal.out;
    release(lease);
}

TEST_F(DockerSystem, Case3ChangesAndDeletionsFollow) {
    const fs::path tree = suite().folder() / "docker-tree";
    fs::create_directories(tree / "deep");
    shell(tree, "git init -q . && echo 1 > a && echo 2 > b && echo 3 > deep/c");
    Suite::CommandOptions options;
    options.cwd = tree;
    const std::string lease = acquire();
    const std::vector<std::string> list =
        run_sh("ls; cat deep/c; stat -c %U a", {"--lease", lease});
    EXPECT_EQ(suite().berth(list, options).out, "a\nb\ndeep\n3\nberth\n");
    shell(tree, "rm b && echo 4 > deep/c");
    EXPECT_EQ(suite().berth(list, options).out, "a\ndeep\n4\nberth\n");
    release(lease);
}

TEST_F(DockerSystem, Case5ControlCReachesTheWholeTree) {
    auto running = suite().start(
        run_sh(
            "trap 'echo interrupted; exit 42' INT; (setsid sh -c 'sleep 300; : berth-docker-mark' "
            "&) "
            "; sh -c 'trap \"\" INT TERM; sleep 301; : berth-docker-mark' & echo ready; wait; wait",
            {"--no-sync"}
        ),
        {}
    );
    ASSERT_TRUE(running->wait_out("ready")) << suite().logs();
    EXPECT_GT(marked("berth-docker-mark"), 1);
    running->signal(SIGINT);
    const Said said = running->finish();
    EXPECT_EQ(said.exit_code, 42) << said.err;
    EXPECT_NE(said.out.find("interrupted"), std::string::npos);
    EXPECT_TRUE(nothing_left());
    EXPECT_EQ(marked("berth-docker-mark"), 0) << "no descendant is left";
}

TEST_F(DockerSystem, Case8ATimeoutAndACancelEndTheWholeTree) {
    const std::string lease = acquire();
    const std::string script =
        "trap '' INT TERM; (setsid sh -c \"trap '' TERM; sleep 300; : berth-docker-mark\" &); echo "
        "up; while :; do sleep 1; done";
    const std::string run = start(lease, script);
    ASSERT_TRUE(suite().eventually([] { return marked("berth-docker-mark") > 0; }));
    EXPECT_LT(
        suite().api("POST", "/v1/runs/" + run + "/cancel", "{\"grace\":\"0.2s\"}").status, 300
    );
    const Json end = ended(run);
    EXPECT_EQ(end.string_or("state", ""), "RUN_STATE_CANCELED") << end.dump();
    EXPECT_TRUE(suite().eventually([] { return marked("berth-docker-mark") == 0; }));
    EXPECT_EQ(sh("echo alive", {"--no-sync", "--lease", lease}).out, "alive\n");
    release(lease);
}

TEST_F(DockerSystem, ALimitOfMemoryIsToldInWords) {
    const Said said =
        sh("perl -e '$x = \"a\" x (200 << 20)' || echo code $?",
           {"--no-sync", "--profile", "small"});
    EXPECT_EQ(said.exit_code, 0);
    EXPECT_EQ(said.out, "code 137\n") << "the command goes on";
    EXPECT_NE(said.err.find("memory limit of 64 MiB was reached"), std::string::npos)
        << said.exit_code << " " << said.out << said.err;
    const Said killed = suite().berth(
        {"run", "--no-sync", "--profile", "small", "--", "perl", "-e", "$x = 'a' x (200 << 20)"}
    );
    EXPECT_EQ(killed.exit_code, 137) << killed.err;
    EXPECT_NE(killed.err.find("memory limit of 64 MiB was reached"), std::string::npos)
        << killed.err;
}

TEST_F(DockerSystem, LimitsOfProcessesAndOfTheCpuHold) {
    const Said said = sh(
        "i=0; while [ $i -lt 100 ]; do sleep 20 & i=$((i+1)); done 2>&1 | tail -1; cat "
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max",
        {"--no-sync", "--profile", "small"}
    );
    EXPECT_NE(said.out.find("fork"), std::string::npos) << said.out << said.err;
    const Said quota =
        sh("cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 "
           "/sys/fs/cgroup/cpu.max",
           {"--no-sync", "--profile", "small"});
    EXPECT_EQ(quota.out, "50000\n");
}

TEST_F(DockerSystem, Case8ATimeoutEndsTheWholeTreeWithACodeOfItsOwn) {
    const Said said =
        sh("setsid sh -c 'sleep 300; : berth-docker-marker-8' & sleep 300; : berth-docker-marker-8",
           {"--no-sync", "--timeout", "1s"});
    EXPECT_EQ(said.exit_code, 124) << said.err << suite().logs();
    EXPECT_NE(said.err.find("berth: "), std::string::npos) << said.err;
    EXPECT_EQ(marked("berth-docker-marker-8"), 0);
    // On a machine that stays: the next command finds nothing of it.
    const std::string lease = acquire();
    const Said kept =
        sh("setsid sleep 301 & sleep 301", {"--no-sync", "--timeout", "1s", "--lease", lease});
    EXPECT_EQ(kept.exit_code, 124) << kept.err;
    const Said after =
        sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 30[1]'",
           {"--no-sync", "--lease", lease});
    EXPECT_EQ(after.out, "0\n") << after.err;
    release(lease);
}

TEST_F(DockerSystem, ANetworkIsThereWhereTheProfileSaysSoAndOnlyThere) {
    EXPECT_EQ(sh("ls /sys/class/net").out, "lo\n");
    const Said with = sh("ls /sys/class/net | tr '\\n' ' '", {"--no-sync", "--profile", "net"});
    EXPECT_EQ(with.out, "eth0 lo ") << with.err;
}

TEST_F(DockerSystem, AMachineReachesNeitherTheHostNorTheMetadataAddressNorAnotherMachine) {
    HostPort door;
    const std::string settings = read_file(suite().data() / "etc" / "prov.yaml").value_or("");
    const auto colon = settings.find(':', settings.find("nats://127.0.0.1") + 7);
    ASSERT_NE(colon, std::string::npos) << "the bus listens on this host";
    const std::string bus = std::to_string(std::atoi(settings.c_str() + colon + 1));
    std::vector<std::string> addresses = net::host_addresses();
    std::erase_if(addresses, [](const std::string& each) {
        return each.find(':') != std::string::npos;
    });
    addresses.emplace_back("169.254.169.254");
    // Another machine, in which something listens and tells of visits: the first is its own.
    const std::string other = acquire(R"({"profile":"net"})");
    const std::string listening = start(
        other,
        "ip=$(awk '/32 host/{print f} {f=$2}' /proc/net/fib_trie | grep -v 127.0.0.1 | head -1); "
        "perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(Listen=>64,LocalPort=>7777,"
        "ReuseAddr=>1) or die; $|=1; print \"at $ARGV[0]\\n\"; "
        "$own=IO::Socket::INET->new(\"127.0.0.1:7777\") or die; while($c=$s->accept){print "
        "\"visited\\n\"; close $c}' $ip"
    );
    std::string heard;
    ASSERT_TRUE(suite().eventually([&] {
        heard = suite().api("GET", "/v1/runs/" + listening + "/output?format=text").body;
        return heard.find("at ") != std::string::npos &&
               heard.find("visited\n") != std::string::npos;
    })) << heard
        << suite().logs();
    const std::string neighbour =
        heard.substr(heard.find("at ") + 3, heard.find('\n') - heard.find("at ") - 3);
    ASSERT_NE(neighbour.find('.'), std::string::npos) << heard;
    auto here = launch({"bash", "-c", try_doors({}, {bus})}, "/", {}, true);
    const Said from_here = here->finish();
    EXPECT_NE(from_here.out.find("REACHED 127.0.0.1 " + bus), std::string::npos) << from_here.out;
    addresses.push_back(neighbour);
    const Said said = suite().berth(
        {"run",
         "--no-sync",
         "--profile",
         "net",
         "--",
         "bash",
         "-c",
         try_doors(addresses, {door.port(), bus, "5432", "7777", "80"})}
    );
    EXPECT_NE(said.out.find("tried 1"), std::string::npos) << said.out << said.err;
    EXPECT_EQ(said.out.find("REACHED"), std::string::npos) << said.out;
    EXPECT_FALSE(door.reached());
    EXPECT_EQ(suite().api("GET", "/v1/runs/" + listening + "/output?format=text").body, heard)
        << "nobody else came";
    release(other);
}

TEST_F(DockerSystem, Case9ANodeKilledMidRunLosesNothing) {
    auto running = suite().start(
        run_sh("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.3; done; exit 6", {"--no-sync"}), {}
    );
    ASSERT_TRUE(running->wait_out("2\n")) << suite().logs();
    for (const auto& entry : fs::directory_iterator(suite().data() / "machines" / "docker")) {
        const auto pid = read_file(entry.path() / "node" / "pid");
        if (pid) ::kill(std::atoi(pid->c_str()), SIGKILL);
    }
    const Said said = running->finish();
    EXPECT_EQ(said.exit_code, 6) << said.err << suite().logs();
    EXPECT_EQ(said.out, "1\n2\n3\n4\n5\n6\n7\n8\n");
}

TEST_F(DockerSystem, AContainerKilledByOthersEndsItsRunsAndComesBackWithItsWorkspace) {
    const std::string lease = acquire();
    EXPECT_EQ(sh("echo kept > /workspace/kept", {"--no-sync", "--lease", lease}).exit_code, 0);
    const std::string run = start(lease, "echo up; sleep 600");
    Json container;
    ASSERT_TRUE(suite().eventually([&] {
        for (const std::string& thing : engine().labelled("berth.machine")) {
            if (thing.starts_with("container "))
                container = engine().get("/containers/" + thing.substr(10) + "/top");
        }
        return container.dump().find("sleep") != std::string::npos;
    }));
    for (const std::string& thing : engine().labelled("berth.machine")) {
        if (thing.starts_with("container "))
            (void)engine().call("POST", "/containers/" + thing.substr(10) + "/kill");
    }
    const Json end = ended(run);
    EXPECT_EQ(end.string_or("state", ""), "RUN_STATE_FAILED") << end.dump();
    EXPECT_TRUE(suite().eventually([&] {
        return sh("cat /workspace/kept", {"--no-sync", "--lease", lease}).out == "kept\n";
    })) << suite().logs();
    release(lease);
}

/// Lease case 7: killed at any of its steps. The kills are spread over the time a create and a
/// destroy take, so that over the rounds every step is hit.
TEST_F(DockerSystem, LeaseCase7AProvisionerOrBrokerKilledAtAnyStepLeavesNothing) {
    constexpr int kRounds = 12;
    constexpr milliseconds kStep{60};
    for (int round = 0; round < kRounds; ++round) {
        SCOPED_TRACE(round);
        auto running = suite().start(
            {"run", "--no-sync", "--profile", round % 3 == 0 ? "net" : "default", "--", "true"}, {}
        );
        // The moment is the point of the test: nothing can be awaited here.
        std::this_thread::sleep_for(kStep * (round + 1));
        suite().kill9(round % 4 == 3 ? "lease" : "prov");
        const Said said = running->finish(seconds{90});
        EXPECT_GE(said.exit_code, 0) << said.err;
        ASSERT_TRUE(nothing_left()) << left() << said.err << suite().logs();
        ASSERT_TRUE(suite().wait_ready());
    }
}

TEST_F(DockerSystem, Case10RunsSideBySideEachHaveTheirOwnWorkingTree) {
    const std::string recipe = R"({"driver":"docker","parallel_runs":2,"image":")" +
                               std::string(ContainerEngine::kImage) + R"("})";
    ASSERT_EQ(suite().api("PUT", "/v1/profiles/side", recipe).status, 200);
    const std::string lease = acquire(R"({"profile":"side"})");
    const auto begin = [&] {
        Suite::CommandOptions options;
        options.no_input = false;
        return suite().start(
            run_sh("echo up; read x; touch made-$x; ls | tr '\\n' ' '", {"--lease", lease}), options
        );
    };
    auto first = begin();
    ASSERT_TRUE(first->wait_out("up")) << suite().logs();
    auto second = begin();
    ASSERT_TRUE(second->wait_out("up")) << "beside the first" << suite().logs();
    first->write_in("one\n");
    second->write_in("two\n");
    EXPECT_EQ(first->finish().out, "up\na.txt made-one ");
    EXPECT_EQ(second->finish().out, "up\na.txt made-two ");
    // Copies of ended runs are few, and go: what is left are the newest, this one's and no other.
    for (int i = 0; i < 10; ++i)
        EXPECT_EQ(sh("true", {"--no-sync", "--lease", lease}).exit_code, 0);
    EXPECT_TRUE(suite().eventually([&] {
        const Said said = sh("ls /tmp/berth-work | wc -l", {"--no-sync", "--lease", lease});
        return said.exit_code == 0 && std::stoi(said.out) <= 10;
    })) << suite().logs();
    release(lease);
    EXPECT_EQ(suite().api("DELETE", "/v1/profiles/side").status, 204);
}

/// The pool of a profile as everybody sees it.
Json pool_of(Suite& suite, const std::string& profile) {
    const auto all = Json::parse(suite.api("GET", "/v1/pools").body);
    for (const Json& each : *all->find("pools")->as_array()) {
        if (each.string_or("profile", "") == profile) return each;
    }
    return {};
}

TEST_F(DockerSystem, LeaseCase10AWarmPoolIsFullAgainSoonAndHandsNoContainerOnTwice) {
    const auto filled = [](milliseconds patience) {
        return suite().eventually(
            [] { return pool_of(suite(), "pool").int_or("idle", 0) == 2; }, patience
        );
    };
    ASSERT_EQ(
        suite()
            .api(
                "PUT",
                "/v1/profiles/pool",
                R"({"driver":"docker","image":")" + std::string(ContainerEngine::kImage) +
                    R"(","warm_min":2,"max_machines":6})"
            )
            .status,
        200
    );
    ASSERT_TRUE(filled(seconds{30})) << suite().logs();
    std::vector<std::string> leases;
    std::vector<std::string> machines;
    for (int i = 0; i < 2; ++i) {
        const auto made = suite().api("POST", "/v1/leases", R"({"profile":"pool"})");
        EXPECT_EQ(made.status, 201) << "active at once: " << made.body;
        leases.push_back(member(made, "id"));
        machines.push_back(member(made, "machine"));
    }
    const auto emptied = std::chrono::steady_clock::now();
    EXPECT_TRUE(filled(seconds{5})) << suite().logs();
    const auto took =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - emptied);
    RecordProperty("refill_ms", static_cast<int>(took.count()));
    std::printf(
        "a pool of two is full again after %lld ms\n", static_cast<long long>(took.count())
    );
    for (const std::string& lease : leases) release(lease);
    for (const std::string& machine : machines) {
        EXPECT_TRUE(suite().eventually([&] {
            return member(suite().api("GET", "/v1/machines/" + machine), "state") ==
                   "MACHINE_STATE_GONE";
        })) << "nobody else gets it";
    }
    EXPECT_EQ(suite().api("DELETE", "/v1/profiles/pool").status, 204);
    EXPECT_TRUE(nothing_left());
}

TEST_F(DockerSystem, DownEndsContainersAndUpTakesALiveLeaseUpAgain) {
    const std::string lease = acquire();
    EXPECT_EQ(sh("echo kept > /workspace/kept", {"--no-sync", "--lease", lease}).exit_code, 0);
    suite().down();
    for (const std::string& thing : engine().labelled("berth.machine")) {
        if (!thing.starts_with("container ")) continue;
        const Json state = engine().get("/containers/" + thing.substr(10) + "/json");
        EXPECT_FALSE(state.find("State")->bool_or("Running", true)) << "nothing runs after down";
    }
    ASSERT_EQ(suite().up().exit_code, 0);
    EXPECT_TRUE(suite().eventually([&] {
        return sh("cat /workspace/kept", {"--no-sync", "--lease", lease}).out == "kept\n";
    })) << suite().logs();
    release(lease);
}

}  // namespace

/// Why there is no engine; empty: there is one.
const std::string& why_no_engine() { return engine().why_not(); }

}  // namespace berth::testing

int main(int argc, char** argv) {
    return berth::testing::run_or_skip(
        argc, argv, "DOCKER SYSTEM TEST", berth::testing::why_no_engine()
    );
}
