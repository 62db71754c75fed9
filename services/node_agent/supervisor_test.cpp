// SPDX-License-Identifier: Apache-2.0
// Proves what a supervisor promises: exact ends, bounded memory and disk, output whole over readers
// that die.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <sstream>

#include "node_agent/test_machine.hpp"
#include "support/sanitized.hpp"

namespace berth::node::testing {
namespace {

std::uint64_t resident_kib(pid_t pid) {
    std::ifstream in("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6));
    }
    return 0;
}

std::uint64_t folder_bytes(const fs::path& folder) {
    std::uint64_t total = 0;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) total += entry.file_size(error);
    return total;
}

TEST(Supervisor, KeepsStreamsApartAndTheExitCodeExact) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.finish("a", "echo out; echo err >&2; printf 'n\\0l' ; exit 37");
    EXPECT_EQ(run.out(), std::string("out\nn\0l", 7));
    EXPECT_EQ(run.err(), "err\n");
    EXPECT_EQ(run.exit().state, EndState::kFailed);
    EXPECT_EQ(run.exit().code, 37);
    EXPECT_FALSE(run.exit().of_berth);
    EXPECT_EQ(run.exit().output_bytes, 11U);
    run.send({Word::kDone, 0, 0, 0, 0, {}});
    EXPECT_EQ(machine.supervisors[0].wait(kPatience)->code, 0);
    EXPECT_EQ(machine.finish("b", "true").exit().state, EndState::kSucceeded);
}

TEST(Supervisor, TellsNotFoundNotExecutableAndSignals) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    machine.start_argv("a", {"no-such-command"});
    Reader missing(machine.folder("a"));
    ASSERT_TRUE(missing.until_ended());
    EXPECT_EQ(missing.exit().code, 127);
    EXPECT_EQ(missing.err(), "berth: no-such-command: not found\n");
    machine.start_argv("b", {"/etc/passwd"});
    Reader closed(machine.folder("b"));
    ASSERT_TRUE(closed.until_ended());
    EXPECT_EQ(closed.exit().code, 126);
    Reader& killed = machine.finish("c", "kill -SEGV $$");
    EXPECT_EQ(killed.exit().code, 139);
    EXPECT_EQ(killed.exit().signal, SIGSEGV);
}

TEST(Supervisor, AFolderThatNoFileWasSentOfIsMadeAndNeverThroughASymlink) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    const auto in = [&](const std::string& run, const std::string& cwd) -> Reader& {
        Launch launch = machine.launch_of({"sh", "-c", "pwd; stat -c %U . ; id -un"});
        launch.env.push_back("BERTH_WORKSPACE=/workspace");
        launch.cwd = cwd;
        machine.start(run, launch);
        machine.readers.push_back(std::make_unique<Reader>(machine.folder(run)));
        EXPECT_TRUE(machine.readers.back()->until_ended());
        return *machine.readers.back();
    };
    Reader& made = in("a", "/workspace/build/deep");
    EXPECT_EQ(made.exit().code, 0) << made.err();
    EXPECT_EQ(made.out(), "/workspace/build/deep\nberth\nberth\n");
    // Elsewhere, through a link that leads out, and through a file: nothing is made, and it is not
    // the command that failed.
    fs::create_directory_symlink("/tmp", machine.dir / "workspace/out");
    std::ofstream(machine.dir / "workspace/file") << "x";
    int number = 0;
    for (const char* cwd :
         {"/tmp/build", "/workspace/out/build", "/workspace/file/build", "/workspace/../tmp/up"}) {
        Reader& refused = in("r" + std::to_string(number++), cwd);
        EXPECT_EQ(refused.exit().state, EndState::kFailed) << cwd;
        EXPECT_TRUE(refused.exit().of_berth) << cwd;
        EXPECT_FALSE(refused.exit().has_code) << cwd;
        EXPECT_NE(refused.exit().reason.find(std::string("cannot enter ") + cwd), std::string::npos)
            << refused.exit().reason;
        EXPECT_EQ(refused.out(), "") << cwd;
    }
    EXPECT_EQ(machine.finish("z", "ls /tmp").out(), "");
}

TEST(Supervisor, GivesExactArgumentsAndEnvironment) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    Launch launch = machine.launch_of(
        {"sh",
         "-c",
         "printf '<%s>' \"$@\"; env | sort; pwd; for n in 0 1 2 3 4 5 6 7 8 9; do test -e "
         "/proc/$$/fd/$n && printf '%s ' $n; done",
         "x",
         "a b",
         "",
         "\n\"'$",
         "\xff"}
    );
    launch.env = {"PATH=/usr/bin:/bin", "LD_PRELOAD=", "A=x=y z"};
    launch.cwd = "/tmp";
    machine.start("a", launch);
    Reader run(machine.folder("a"));
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(
        run.out(),
        "<a b><><\n\"'$><\xff>A=x=y z\nLD_PRELOAD=\nPATH=/usr/bin:/bin\nPWD=/tmp\n/tmp\n0 1 2 "
    );
}

TEST(Supervisor, NeverStartsTwice) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.finish("a", "echo x >> /workspace/count");
    run.send({Word::kDone, 0, 0, 0, 0, {}});
    ASSERT_TRUE(machine.supervisors[0].wait(kPatience));
    // Again, and two at once: the durable `started` and the lock refuse all.
    EXPECT_EQ(machine.shell("a", "echo x >> /workspace/count").wait(kPatience)->code, 3);
    EXPECT_EQ(read_file(machine.dir / "workspace/count").value(), "x\n");
    machine.shell("b", "echo x >> /workspace/count2; sleep 3");
    machine.shell("b", "echo x >> /workspace/count2; sleep 3");
    std::optional<process::ExitStatus> refused;  // whichever came second to the lock
    const std::size_t last = machine.supervisors.size() - 1;
    EXPECT_TRUE(eventually([&] {
        refused = machine.supervisors[last].poll();
        if (!refused) refused = machine.supervisors[last - 1].poll();
        return refused.has_value();
    }));
    EXPECT_EQ(refused ? refused->code : -1, 3);
    EXPECT_TRUE(eventually([&] { return fs::exists(machine.dir / "workspace/count2"); }));
    EXPECT_EQ(read_file(machine.dir / "workspace/count2").value(), "x\n");
}

TEST(Supervisor, ForwardsSignalsToTheGroupAndCancelsWhatIgnoresThem) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    machine.shell("a", "trap 'echo got; exit 5' INT; echo ready; while :; do sleep 0.05; done");
    Reader polite(machine.folder("a"));
    ASSERT_TRUE(polite.until([&] { return polite.out() == "ready\n"; }));
    polite.signal(SIGINT);
    ASSERT_TRUE(polite.until_ended());
    EXPECT_EQ(polite.exit().code, 5);
    EXPECT_EQ(polite.out(), "ready\ngot\n");

    machine.shell("b", "trap '' INT TERM; echo ready; sleep 600 & wait; sleep 600");
    Reader stubborn(machine.folder("b"));
    ASSERT_TRUE(stubborn.until([&] { return stubborn.out() == "ready\n"; }));
    stubborn.signal(SIGINT);
    stubborn.send({Word::kCancel, 50, 0, 0, 0, {}});
    ASSERT_TRUE(stubborn.until_ended());
    EXPECT_EQ(stubborn.exit().state, EndState::kCanceled);
    EXPECT_EQ(stubborn.exit().signal, SIGKILL);
}

TEST(Supervisor, ACancelThatComesTwiceIsACancel) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    machine.shell("a", "head -c 100000000 /dev/zero");
    Reader run(machine.folder("a"));
    run.reading = false;
    run.keep = false;
    // A full spool keeps the run open after its command is dead.
    ASSERT_TRUE(run.until([&] { return run.written > kSpoolLimitBytes - 2 * kRecordBytes; }));
    std::istringstream pids(read_file(machine.folder("a") / "pids").value());
    std::vector<process::ProcessId> processes;
    for (std::string line; std::getline(pids, line);)
        processes.push_back(process::ProcessId::parse(line).value());
    ASSERT_FALSE(processes.empty());
    run.send({Word::kCancel, 10'000, 0, 0, 0, {}});
    run.signal(SIGTERM);
    ASSERT_TRUE(eventually([&] {
        return std::none_of(processes.begin(), processes.end(), [](const auto& id) {
            return id.alive();
        });
    }));
    run.send({Word::kCancel, 10'000, 0, 0, 0, {}});
    run.reading = true;
    run.read_spool();
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.exit().state, EndState::kCanceled);
}

TEST(Supervisor, TimesOutWithTheWholeTree) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    Launch launch =
        machine.launch_of({"sh", "-c", "trap '' TERM; sleep 600 & setsid sleep 600 & echo up; wait"}
        );
    launch.deadline_us = to_unix_micros(Clock::system().now()) + 300'000;
    launch.grace_ms = 100;
    machine.start("a", launch);
    Reader run(machine.folder("a"));
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.exit().state, EndState::kTimedOut);
    EXPECT_EQ(run.out(), "up\n");
}

TEST(Supervisor, ForwardsStdinAndItsEnd) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    Launch launch = machine.launch_of({"sh", "-c", "cat; echo end"});
    launch.input = true;
    machine.start("a", launch);
    Reader run(machine.folder("a"));
    ASSERT_TRUE(run.until_hello());
    EXPECT_EQ(run.stdin_room, kStdinWindow);
    std::string sent;
    for (int i = 0; i < 100; ++i) {  // more than the window, so that room must come back
        const std::string piece(kStdinPiece, static_cast<char>('a' + i % 26));
        ASSERT_TRUE(run.until([&] { return run.stdin_room >= piece.size(); }));
        run.stdin_room -= piece.size();
        run.send({Word::kStdin, 0, 0, 0, 0, piece});
        sent += piece;
    }
    run.send({Word::kStdinEnd, 0, 0, 0, 0, {}});
    ASSERT_TRUE(run.until_ended());
    EXPECT_TRUE(run.out() == sent + "end\n") << run.out().size();
    // Without stdin the command reads nothing, and does not wait.
    EXPECT_EQ(machine.finish("b", "cat; echo end").out(), "end\n");
}

TEST(Supervisor, GivesARealTerminalWithResize) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    Launch launch = machine.launch_of(
        {"sh",
         "-c",
         "tty; stty size; trap 'stty size; exit 0' WINCH; read line; echo got $line; echo ready; "
         "while :; do sleep 0.05; done"}
    );
    launch.tty = launch.input = true;
    launch.rows = 33;
    launch.cols = 101;
    machine.start("a", launch);
    Reader run(machine.folder("a"));
    ASSERT_TRUE(run.until([&] { return run.out().find("33 101\r\n") != std::string::npos; }));
    EXPECT_TRUE(run.out().starts_with("/dev/pts/0\r\n")) << run.out();
    run.send({Word::kStdin, 0, 0, 0, 0, "hello\n"});
    ASSERT_TRUE(run.until([&] { return run.out().find("got hello\r\nready") != std::string::npos; })
    ) << run.out();
    run.send({Word::kResize, 40, 120, 0, 0, {}});
    ASSERT_TRUE(run.until_ended()) << run.out();
    EXPECT_NE(run.out().find("40 120"), std::string::npos) << run.out();
    EXPECT_EQ(run.exit().code, 0);
}

TEST(Supervisor, AnnouncesTheOutputCapAndLetsTheCommandGoOn) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    Launch launch = machine.launch_of(
        {"sh",
         "-c",
         "head -c 300000 /dev/zero | tr '\\0' x; echo late >&2; touch /workspace/went-on"}
    );
    launch.output_cap = 100'000;
    machine.start("a", launch);
    Reader run(machine.folder("a"));
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.out().size() + run.err().size(), 100'000U);
    EXPECT_EQ(
        run.streams[OutStream::kBerth],
        "output cap of 100000 bytes reached; the command goes on, its further output is dropped\n"
    );
    EXPECT_TRUE(run.exit().capped);
    EXPECT_TRUE(fs::exists(machine.dir / "workspace/went-on"));
}

TEST(Supervisor, BlocksTheCommandWhenTheSpoolIsFullAndGoesOnWhenItIsRead) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    machine.shell("a", "head -c 100000000 /dev/zero; echo done >&2");
    Reader run(machine.folder("a"));
    run.reading = false;
    run.keep = false;
    ASSERT_TRUE(run.until([&] { return run.written > kSpoolLimitBytes - 2 * kRecordBytes; }));
    EXPECT_FALSE(
        run.until([&] { return run.ended || run.written > kSpoolLimitBytes; }, milliseconds{300})
    );
    EXPECT_LE(folder_bytes(machine.folder("a") / "spool"), kSpoolLimitBytes + kSegmentBytes);
    run.reading = true;
    run.read_spool();
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.read_bytes, 100'000'005U);
    // The last confirmations are on their way.
    EXPECT_TRUE(eventually([&] {
        return folder_bytes(machine.folder("a") / "spool") <= 2 * kSegmentBytes;
    })) << folder_bytes(machine.folder("a") / "spool");
}

TEST(Supervisor, OutputIsWholeOverAReaderThatDies) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    machine.shell("a", "seq 1 2000000");
    Fd gate(::open((machine.dir / "first").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    // The first reader confirms what it kept on disk and is killed in the middle.
    const pid_t first = ::fork();
    if (first == 0) {
        Reader reader(machine.folder("a"));
        reader.confirm = false;
        std::size_t stored = 0;
        reader.until([&] {
            const std::string& all = reader.out();
            (void)!::write(gate.get(), all.data() + stored, all.size() - stored);
            stored = all.size();
            reader.send({Word::kConfirm, stored, 0, 0, 0, {}});
            return false;
        });
        ::_exit(0);
    }
    ASSERT_TRUE(eventually([&] { return fs::file_size(machine.dir / "first") > 1'000'000; }));
    ::kill(first, SIGKILL);
    ::waitpid(first, nullptr, 0);
    std::uint64_t confirmed = 0;
    {
        Reader probe(machine.folder("a"));
        probe.reading = false;
        ASSERT_TRUE(probe.until_hello());
        confirmed = probe.confirmed;
    }
    Reader second(machine.folder("a"), confirmed);
    ASSERT_TRUE(second.until_ended());
    std::string whole =
        read_file(machine.dir / "first").value().substr(0, confirmed) + second.out();
    std::string expected;
    for (int i = 1; i <= 2'000'000; ++i) expected += std::to_string(i) + "\n";
    EXPECT_EQ(whole.size(), expected.size());
    EXPECT_TRUE(whole == expected);
}

TEST(Supervisor, PassesTwoHundredMegabytesInLittleMemory) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    const auto begin = std::chrono::steady_clock::now();
    process::Child& supervisor = machine.shell("a", "head -c 200000000 /dev/zero");
    Reader run(machine.folder("a"));
    run.keep = false;
    ASSERT_TRUE(run.until_ended());
    const auto took =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin);
    EXPECT_EQ(run.read_bytes, 200'000'000U);
    if (!berth::testing::kSanitized) {
        EXPECT_LT(resident_kib(supervisor.pid()), 8U * 1024);
    }
    RecordProperty("milliseconds", static_cast<int>(took.count()));
    std::printf(
        "200 MB in %lld ms, supervisor %llu KiB\n",
        static_cast<long long>(took.count()),
        static_cast<unsigned long long>(resident_kib(supervisor.pid()))
    );
}

TEST(Supervisor, SaysWhyWhenTheSandboxCannotBeMade) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    Launch launch = machine.launch_of({"true"});
    launch.sandbox.insert(launch.sandbox.begin() + 1, {"--ro-bind", "/no/such/source", "/x"});
    machine.start("a", launch);
    Reader run(machine.folder("a"));
    ASSERT_TRUE(run.until_ended());
    EXPECT_TRUE(run.exit().of_berth);
    EXPECT_NE(run.exit().reason.find("/no/such/source"), std::string::npos) << run.exit().reason;
    launch = machine.launch_of({"true"});
    launch.holder = "1 1";
    machine.start("b", launch);
    Reader gone(machine.folder("b"));
    ASSERT_TRUE(gone.until_ended());
    EXPECT_TRUE(gone.exit().of_berth);
}

}  // namespace
}  // namespace berth::node::testing
