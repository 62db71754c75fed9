// SPDX-License-Identifier: Apache-2.0
// behaviours: runs 3, 7 and 8 where it hurts. What a sync refuses to do, a reader that does not
// read, a machine that is gone.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "host_port.hpp"
#include "machine_processes.hpp"
#include "net/fence.hpp"
#include "support/sanitized.hpp"
#include "system.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

class RunEdges : public SystemTest {
protected:
    /// A git working tree of `count` files f0, f1, …
    static fs::path tree_of(const std::string& name, int count, const std::string& settings = {}) {
        const fs::path tree = suite().folder() / name;
        fs::create_directories(tree);
        shell(
            tree,
            "git init -q . && i=0; while [ $i -lt " + std::to_string(count) +
                " ]; do echo $i > f$i; i=$((i+1)); done"
        );
        if (!settings.empty()) std::ofstream(tree / "berth.yaml") << settings;
        return tree;
    }
    static Said in(
        const fs::path& folder,
        const std::vector<std::string>& arguments,
        const std::map<std::string, std::string>& env = {}
    ) {
        Suite::CommandOptions options;
        options.cwd = folder;
        options.env = env;
        return suite().berth(arguments, options);
    }
    static std::string listing(const std::string& lease) {
        return suite()
            .berth(run_sh("ls -A | sort | tr '\\n' ' '", {"--no-sync", "--lease", lease}))
            .out;
    }
    /// The same command with a terminal as its stdin, stdout and stderr, where `answer` is typed.
    static Said on_a_terminal(
        const fs::path& folder, const std::string& arguments, const std::string& answer
    ) {
        const fs::path said = suite().folder() / "typescript";
        fs::remove(said);
        std::map<std::string, std::string> env{
            {"PATH", std::getenv("PATH")},
            {"HOME", (suite().folder() / "home").string()},
            {"XDG_CONFIG_HOME", (suite().folder() / "config").string()},
            {"XDG_CACHE_HOME", (suite().folder() / "cache").string()},
            {"BERTH_SERVER", suite().url()},
            {"LANG", "C.UTF-8"}};
        auto script = launch(
            {"script", "-qefc", bin("berth") + " " + arguments, said.string()}, folder, env, false
        );
        EXPECT_TRUE(script->wait_out("[y/N]")) << script->out();
        script->write_in(answer);
        return script->finish();
    }
};

TEST_F(RunEdges, Case3ATreeOfTooManyFilesIsRefusedToldAndGivenBack) {
    const fs::path tree = tree_of("many", 11, "sync:\n  max_files: 10\n");
    const Said refused = in(tree, {"run", "--", "ls"});
    EXPECT_EQ(refused.exit_code, 123) << refused.err;
    EXPECT_EQ(refused.out, "") << "nothing ran";
    for (const char* word : {"12 files", "sync.max_files (10)", ".berthignore", "--force-sync"})
        EXPECT_NE(refused.err.find(word), std::string::npos) << word << ": " << refused.err;
    EXPECT_TRUE(machines_gone()) << "the machine is given back";
    const Said result = in(tree, {"run", "--json", "--", "ls"});
    const Json exit = *json_of(result.out).find("exit");
    EXPECT_EQ(exit.int_or("code", 0), 123) << result.out;
    EXPECT_EQ(exit.string_or("origin", ""), "berth");
    const Said forced = in(tree, run_sh("ls | wc -l", {"--force-sync"}));
    EXPECT_EQ(forced.out, "12\n") << forced.err;
    const Said raised = in(tree, run_sh("ls | wc -l"), {{"BERTH_SYNC_MAX_FILES", "12"}});
    EXPECT_EQ(raised.out, "12\n") << raised.err;
}

TEST_F(RunEdges, Case3ATreeOfTooManyBytesIsRefused) {
    const fs::path tree = tree_of("large", 1, "sync:\n  max_bytes: 1MiB\n");
    std::ofstream(tree / "blob") << std::string(2U << 20U, 'x');
    const Said refused = in(tree, {"run", "--", "ls"});
    EXPECT_EQ(refused.exit_code, 123) << refused.err;
    EXPECT_NE(refused.err.find("sync.max_bytes (1 MiB)"), std::string::npos) << refused.err;
    std::ofstream(tree / ".berthignore") << "blob\n";
    const Said left_out = in(tree, {"run", "--", "ls"});
    EXPECT_EQ(left_out.exit_code, 0) << left_out.err;
    EXPECT_EQ(left_out.out, "berth.yaml\nf0\n");
}

TEST_F(RunEdges, Case3AHomeFolderAndTheWholeFileSystemAreNobodysWorkingTree) {
    const fs::path home = suite().folder() / "home";
    const std::string lease = acquire();
    for (const fs::path& folder : {home, fs::path("/"), suite().folder()}) {
        const SteadyTime began = std::chrono::steady_clock::now();
        const Said refused = in(folder, {"run", "--lease", lease, "--", "ls", "-A"});
        EXPECT_EQ(refused.exit_code, 123) << folder << refused.err;
        EXPECT_EQ(refused.out, "");
        EXPECT_NE(refused.err.find("The working tree"), std::string::npos) << refused.err;
        EXPECT_NE(refused.err.find("--no-sync"), std::string::npos) << refused.err;
        EXPECT_LT(std::chrono::steady_clock::now() - began, seconds{10}) << "without a look at it";
    }
    EXPECT_EQ(listing(lease), "") << "nothing was sent";
    const Said without = in(home, {"run", "--no-sync", "--lease", lease, "--", "echo", "fine"});
    EXPECT_EQ(without.out, "fine\n") << without.err;
    release(lease);
}

TEST_F(RunEdges, Case10TwoTreesOnOneLeaseNeverMix) {
    const fs::path one = tree_of("one", 2), two = tree_of("two", 1);
    std::ofstream(one / "only-one") << "1";
    std::ofstream(two / "only-two") << "2";
    const std::string lease = acquire();
    const std::vector<std::string> list = run_sh("ls | tr '\\n' ' '", {"--lease", lease});
    EXPECT_EQ(in(one, list).out, "f0 f1 only-one ");
    EXPECT_EQ(in(two, list).out, "f0 only-two ") << "nothing of the other tree is left";
    EXPECT_EQ(in(one, list).out, "f0 f1 only-one ") << "unchanged here, and yet sent again";

    // A second command line waits with its tree until the first one's run has ended.
    Suite::CommandOptions options;
    options.cwd = one;
    options.no_input = false;
    auto first =
        suite().start(run_sh("echo up; read x; ls | tr '\\n' ' '", {"--lease", lease}), options);
    options.no_input = true;
    ASSERT_TRUE(first->wait_out("up")) << suite().logs();
    options.cwd = two;
    auto second = suite().start(list, options);
    ASSERT_TRUE(second->wait_err("waiting: run ")) << suite().logs();
    first->write_in("go\n");
    EXPECT_EQ(first->finish().out, "up\nf0 f1 only-one ");
    EXPECT_EQ(second->finish().out, "f0 only-two ");

    // An explicit sync is for those who want it at once, into what is running.
    options.cwd = two;
    options.no_input = false;
    auto server =
        suite().start(run_sh("echo up; read x; cat only-two", {"--lease", lease}), options);
    ASSERT_TRUE(server->wait_out("up")) << suite().logs();
    std::ofstream(two / "only-two") << "edited";
    const Said synced = in(two, {"sync", "--lease", lease});
    EXPECT_EQ(synced.exit_code, 0) << synced.err;
    server->write_in("go\n");
    EXPECT_EQ(server->finish().out, "up\nedited");
    release(lease);
}
TEST_F(RunEdges, Case10RunsSideBySideEachHaveTheirOwnWorkingTree) {
    const fs::path one = tree_of("left", 2), two = tree_of("right", 1);
    std::ofstream(one / "only-one") << "1";
    std::ofstream(two / "only-two") << "2";
    const std::string lease = acquire(R"({"profile":"side"})");
    const auto begin = [&](const fs::path& tree, const std::string& script) {
        Suite::CommandOptions options;
        options.cwd = tree;
        options.no_input = false;
        return suite().start(run_sh(script, {"--lease", lease}), options);
    };
    const std::string script =
        "echo up; read x; touch made-$x; ls | tr '\\n' ' '; [ \"$PWD\" = \"$BERTH_WORKSPACE\" ]";
    auto first = begin(one, script);
    ASSERT_TRUE(first->wait_out("up")) << suite().logs();
    // The second starts while the first runs, on a tree of its own.
    auto second = begin(two, script);
    ASSERT_TRUE(second->wait_out("up")) << suite().logs();
    auto third = begin(two, script);
    ASSERT_TRUE(third->wait_out("up")) << suite().logs();
    first->write_in("first\n");
    const Said said = first->finish();
    EXPECT_EQ(said.out, "up\nf0 f1 made-first only-one ");
    EXPECT_EQ(said.exit_code, 0) << "it works where BERTH_WORKSPACE says";
    second->write_in("second\n");
    EXPECT_EQ(second->finish().out, "up\nf0 made-second only-two ");
    third->write_in("third\n");
    EXPECT_EQ(third->finish().out, "up\nf0 made-third only-two ") << "nothing of the second";

    // What a run left is fetched from its own tree.
    const Said results = in(
        one,
        run_sh("mkdir out && echo mine > out/a.txt", {"--lease", lease, "--artifact", "out/*.txt"})
    );
    EXPECT_EQ(results.exit_code, 0) << results.err;
    const auto where = results.err.find("artifact in ") + std::string("artifact in ").size();
    const fs::path files = results.err.substr(where, results.err.find('\n', where) - where);
    EXPECT_EQ(read_file(files / "out" / "a.txt").value_or(""), "mine\n") << results.err;

    // More than the profile lets run at once wait, and then see their own tree too.
    std::vector<std::unique_ptr<Running>> running;
    for (int i = 0; i < 3; ++i) {
        running.push_back(begin(one, "echo up; read x; ls | wc -l"));
        ASSERT_TRUE(running.back()->wait_out("up")) << i << suite().logs();
    }
    auto waiting = begin(one, "ls | tr '\\n' ' '");
    ASSERT_TRUE(suite().eventually([&] {
        return suite().api("GET", "/v1/runs?lease=" + lease).body.find("RUN_STATE_QUEUED") !=
               std::string::npos;
    })) << suite().logs();
    for (auto& each : running) {
        each->write_in("x\n");
        EXPECT_EQ(each->finish().out, "up\n3\n");
    }
    EXPECT_EQ(waiting->finish().out, "f0 f1 only-one ");
    release(lease);
}

TEST_F(RunEdges, AFolderThatIsNotSyncedIsThereForTheCommandAllTheSame) {
    const fs::path tree = tree_of("built", 1);
    std::ofstream(tree / ".gitignore") << "build/\n";
    fs::create_directories(tree / "build");
    const Said said = in(tree / "build", run_sh("basename $PWD; ls ../f0"));
    EXPECT_EQ(said.exit_code, 0) << said.err;
    EXPECT_EQ(said.out, "build\n../f0\n");
    const std::string lease = acquire();
    const Said kept =
        in(tree, {"run", "--lease", lease, "--", "sh", "-c", "rm -rf build; ln -s /tmp build"});
    EXPECT_EQ(kept.exit_code, 0) << kept.err;
    fs::create_directories(tree / "build" / "deep");
    const Said refused =
        in(tree / "build" / "deep", run_sh("true", {"--no-sync", "--lease", lease, "--json"}));
    const Json exit = *json_of(refused.out).find("exit");
    EXPECT_EQ(exit.string_or("origin", ""), "berth") << refused.out << refused.err;
    EXPECT_EQ(exit.int_or("code", 0), 125);
    EXPECT_NE(refused.out.find("cannot enter /workspace/build/deep"), std::string::npos)
        << refused.out;
    release(lease);
}

TEST_F(RunEdges, Case3AMassDeletionIsAskedBeforeItHappens) {
    const fs::path tree = tree_of("shrinking", 12);
    const std::string lease = acquire();
    ASSERT_EQ(in(tree, {"sync", "--lease", lease}).exit_code, 0);
    shell(tree, "rm f0 f1 f2 f3 f4 f5 f6");
    const std::string before = listing(lease);
    const Said refused = in(tree, {"sync", "--lease", lease});
    EXPECT_EQ(refused.exit_code, 1);
    for (const char* word : {"7 of the 12", "f0, f1, f2, ...", "max_delete_percent (50 %)"})
        EXPECT_NE(refused.err.find(word), std::string::npos) << word << ": " << refused.err;
    EXPECT_EQ(in(tree, {"run", "--lease", lease, "--", "ls"}).exit_code, 123);
    EXPECT_EQ(listing(lease), before) << "nothing was deleted unasked";
    const Said no = on_a_terminal(tree, "sync --lease " + lease, "n\n");
    EXPECT_EQ(no.exit_code, 1) << no.out;
    EXPECT_EQ(listing(lease), before) << "nor against the answer";
    const Said yes = on_a_terminal(tree, "sync --lease " + lease, "y\n");
    EXPECT_EQ(yes.exit_code, 0) << yes.out;
    EXPECT_EQ(listing(lease), ".git f10 f11 f7 f8 f9 ");
    release(lease);
}

TEST_F(RunEdges, Case3IgnoredFilesStayOnBothSidesUnlessTheyAreAskedFor) {
    const fs::path tree = tree_of("picky", 1);
    shell(
        tree,
        "printf 'out/\\n' > .gitignore; printf 'secret\\nf*.tmp\\n' > .berthignore; echo s > "
        "secret; "
        "touch f1.tmp; mkdir out; echo wanted > out/report.json; echo no > out/object.o"
    );
    const std::string lease = acquire();
    const auto remote = [&](const std::vector<std::string>& more, const std::string& script) {
        std::vector<std::string> all{"--lease", lease};
        all.insert(all.end(), more.begin(), more.end());
        const Said said = in(tree, run_sh(script, all));
        EXPECT_EQ(said.exit_code, 0) << said.err;
        return said.out;
    };
    EXPECT_EQ(
        remote(
            {},
            "mkdir -p out; echo built > out/made-there; find . -path ./.git -prune -o -type f "
            "-print | sort"
        ),
        "./.berthignore\n./.gitignore\n./f0\n./out/made-there\n"
    );
    shell(tree, "rm -r out && mkdir out && echo wanted > out/report.json && echo more > f0");
    EXPECT_EQ(
        remote({"--include", "out/*.json", "--include", "f1.tmp"}, "ls out; cat f0"),
        "made-there\nreport.json\nmore\n"
    ) << "what is ignored is not deleted there, what is asked for comes";
    release(lease);
}

// behaviours: runs 7.
TEST_F(RunEdges, Case7AReaderThatStallsBoundsNothingButItself) {
    constexpr std::size_t kPeriod = 64;
    constexpr std::size_t kBytes = 320U << 20U;
    const char* asked = std::getenv("BERTH_STALL_SECONDS");
    const seconds stall{asked == nullptr ? 2 : std::atoi(asked)};
    const std::string lease = acquire(R"({"profile":"much"})");
    const std::string machine = member(suite().api("GET", "/v1/leases/" + lease), "machine");
    std::string period;
    for (std::size_t i = 0; i + 1 < kPeriod; ++i) period += static_cast<char>('A' + i * 7 % 26);
    const std::string run =
        start(lease, "yes '" + period + "' | head -c " + std::to_string(kBytes) + "; exit 3");
    // Its stdout is a pipe that nobody reads for now.
    process::Pipe out = process::make_pipe().value();
    process::SpawnSpec spec;
    spec.argv = {bin("berth"), "attach", run};
    spec.cwd = suite().tree().string();
    spec.env = std::vector<std::string>{
        "PATH=/usr/bin:/bin",
        "HOME=" + (suite().folder() / "home").string(),
        "BERTH_SERVER=" + suite().url(),
        "BERTH_TOKEN=" + suite().token()};
    spec.stdin_fd = process::kNull;
    spec.stdout_fd = out.write.get();
    spec.death_signal = SIGKILL;
    process::Child reader = process::spawn(spec).value();
    out.write.reset();
    const Json end = ended(run);
    EXPECT_EQ(end.string_or("state", ""), "RUN_STATE_FAILED") << end.dump();
    EXPECT_EQ(end.int_or("exit_code", 0), 3) << "the run ends though its reader has read nothing";
    EXPECT_EQ(end.string_or("output_bytes", ""), std::to_string(kBytes)) << end.dump();
    // Not a wait for something: the reader's absence is what is tested.
    (void)reader.wait(stall);
    EXPECT_FALSE(reader.poll()) << "the reader was given up";
    std::size_t got = 0;
    bool right = true;
    std::string buffer(1U << 20U, '\0');
    for (;;) {
        const ssize_t count = ::read(out.read.get(), buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break;
        for (ssize_t i = 0; i < count && right; ++i, ++got) {
            const std::size_t place = got % kPeriod;
            right = buffer[static_cast<std::size_t>(i)] ==
                    (place + 1 == kPeriod ? '\n' : period[place]);
        }
        if (!right) break;
    }
    EXPECT_TRUE(right) << "a wrong byte at " << got;
    EXPECT_EQ(got, kBytes);
    const auto status = reader.wait(seconds{30});
    ASSERT_TRUE(status);
    EXPECT_EQ(status->code, 3);
    const auto peak = [](pid_t pid) {  // resident, the most it ever was, in KiB
        const std::string text = read_file("/proc/" + std::to_string(pid) + "/status").value_or("");
        const auto at = text.find("VmHWM:");
        return at == std::string::npos ? 0L : std::atol(text.c_str() + at + 6);
    };
    const auto node = MachineProcesses(suite(), machine).node();
    ASSERT_TRUE(node);
    for (const auto& [name, pid] :
         {std::pair<const char*, pid_t>{"gateway", suite().pid("gateway")}, {"node", node->pid}}) {
        const long most = peak(pid);
        RecordProperty(std::string(name) + "_peak_kib", std::to_string(most));
        EXPECT_GT(most, 0) << name;
        if (!kSanitized) {
            EXPECT_LT(most, 100L << 10U) << name;
        }
    }
    release(lease);
}

// behaviours: runs 8. The silent machine is in replicas_system_test.cpp; this one is provably gone.
TEST_F(RunEdges, Case8AMachineThatVanishesTakesItsRunsAndItsLeaseWithIt) {
    const std::string lease = acquire();
    const std::string machine = member(suite().api("GET", "/v1/leases/" + lease), "machine");
    auto asker =
        suite().start(run_sh("echo begun; sleep 300", {"--no-sync", "--lease", lease}), {});
    ASSERT_TRUE(asker->wait_out("begun"));
    const SteadyTime died = std::chrono::steady_clock::now();
    const MachineProcesses dead(suite(), machine);
    dead.die_for_good();
    fs::remove_all(dead.folder);
    const Said said = asker->finish();
    EXPECT_LT(std::chrono::steady_clock::now() - died, seconds{30});
    EXPECT_EQ(said.exit_code, 125) << said.err;
    EXPECT_EQ(said.out, "begun\n");
    EXPECT_NE(said.err.find("its machine is gone"), std::string::npos) << said.err;
    ASSERT_TRUE(suite().eventually([&] {
        return member(suite().api("GET", "/v1/leases/" + lease), "state") != "LEASE_STATE_ACTIVE";
    }));
    const auto over = suite().api("GET", "/v1/leases/" + lease);
    EXPECT_EQ(member(over, "state"), "LEASE_STATE_FAILED") << over.body;
    EXPECT_EQ(suite().api("POST", "/v1/leases/" + lease + "/heartbeat").status, 409);
    EXPECT_TRUE(machines_gone()) << suite().logs();
    EXPECT_TRUE(dead.all().empty());
    EXPECT_TRUE(suite().eventually([&] { return zombies_of(suite().pid("prov")) == 0; }));
}

// The bus, the database and every other door of the host stay shut for a machine, with a network
// and without, by every address that the host has.
TEST_F(RunEdges, AMachineReachesNeitherTheHostsBusNorItsDatabaseNorTheMetadataAddress) {
    HostPort door;
    const std::string settings = read_file(suite().data() / "etc" / "prov.yaml").value_or("");
    const auto colon = settings.find(':', settings.find("nats://127.0.0.1") + 7);
    ASSERT_NE(colon, std::string::npos) << "the bus listens on this host";
    const std::string bus = std::to_string(std::atoi(settings.c_str() + colon + 1));
    const std::vector<std::string> ports{door.port(), bus, "5432"};
    std::vector<std::string> addresses = net::host_addresses();
    std::erase_if(addresses, [](const std::string& each) {
        return each.find(':') != std::string::npos;
    });
    ASSERT_FALSE(addresses.empty());
    // From the host both answer: the test means something.
    auto here = launch({"bash", "-c", try_doors(addresses, {door.port(), bus})}, "/", {}, true);
    const Said from_here = here->finish();
    EXPECT_NE(from_here.out.find("REACHED 127.0.0.1 " + bus), std::string::npos) << from_here.out;
    EXPECT_NE(from_here.out.find("REACHED " + addresses[0] + " " + door.port()), std::string::npos)
        << from_here.out;
    while (door.reached()) {
    }
    addresses.emplace_back("169.254.169.254");
    std::vector<std::string> profiles{"default"};
    // As root the suite runs as another user, to whom it may be closed.
    struct stat tun {};
    if (::stat("/dev/net/tun", &tun) == 0 && (tun.st_mode & 0006) == 0006)
        profiles.emplace_back("net");
    else
        std::fprintf(stderr, "NOT SHOWN for a profile with network: /dev/net/tun is closed here\n");
    for (const std::string& profile : profiles) {
        const Said said = suite().berth(
            {"run",
             "--no-sync",
             "--profile",
             profile,
             "--",
             "bash",
             "-c",
             try_doors(addresses, ports) + "; ls -d " + (suite().data() / "run").string() + " " +
                 (suite().data() / "etc").string() + " 2>/dev/null"}
        );
        EXPECT_EQ(said.out.find("REACHED"), std::string::npos) << profile << ": " << said.out;
        EXPECT_EQ(said.out.find(suite().data().string()), std::string::npos)
            << "the database's socket and the services' credentials are not even there";
        EXPECT_NE(said.out.find(profile == "net" ? "tried 1" : "tried"), std::string::npos)
            << said.out << said.err << suite().logs();
        EXPECT_FALSE(door.reached()) << profile;
    }
    EXPECT_TRUE(machines_gone());
}

// Destroying a machine ends what it finds by its records; an agent that was just starting is in
// none of them yet.
TEST_F(RunEdges, AnAgentWhoseMachineIsRemovedUnderItEndsItself) {
    const std::string lease = acquire();
    const std::string machine = member(suite().api("GET", "/v1/leases/" + lease), "machine");
    const auto node = MachineProcesses(suite(), machine).node();
    ASSERT_TRUE(node);
    fs::remove_all(suite().data() / "machines" / machine);
    EXPECT_TRUE(node->wait_gone(seconds{15}));
    EXPECT_TRUE(suite().eventually([&] {
        return member(suite().api("GET", "/v1/leases/" + lease), "state") == "LEASE_STATE_FAILED";
    }));
    EXPECT_TRUE(machines_gone());
}

}  // namespace
}  // namespace berth::testing

int main(int argc, char** argv) {
    return berth::testing::SystemTest::run_all(
        argc,
        argv,
        "profiles:\n  default: {driver: local}\n  much: {driver: local, output_cap: "
        "1GiB}\n  side: {driver: local, parallel_runs: 3}\n  net: {driver: local, network: true}\n"
    );
}
