// SPDX-License-Identifier: Apache-2.0
// Proves spawning, identity and locks on real processes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "process/file_lock.hpp"
#include "process/privileges.hpp"
#include "process/process_id.hpp"
#include "process/spawn.hpp"

namespace berth::process {
namespace {

constexpr milliseconds kPatience{10'000};

std::string read_all(int fd) {
    std::string all;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::read(fd, buffer, sizeof buffer)) > 0;)
        all.append(buffer, static_cast<std::size_t>(got));
    return all;
}

/// Runs a command to its end and returns its stdout.
std::string output_of(SpawnSpec spec, int expected_code = 0) {
    Pipe out = make_pipe().value();
    spec.stdout_fd = out.write.get();
    auto child = spawn(spec);
    EXPECT_TRUE(child) << child.error().describe();
    out.write.reset();
    std::string text = read_all(out.read.get());
    const auto status = child->wait(kPatience);
    EXPECT_TRUE(status);
    EXPECT_EQ(status->code, expected_code);
    return text;
}

TEST(Spawn, GivesExactArgumentsEnvironmentAndDirectory) {
    SpawnSpec spec;
    spec.argv = {
        "/bin/sh",
        "-c",
        "printf '%s|' \"$@\" \"$A\" \"$HOME\" \"$(pwd)\"",
        "sh",
        "a b",
        "",
        "\"q\"\n",
        "é"};
    spec.env = {{"A=1 2", "PATH=/usr/bin:/bin"}};
    spec.cwd = "/usr";
    EXPECT_EQ(output_of(spec), "a b||\"q\"\n|é|1 2||/usr|");
}

TEST(Spawn, NamesTheStepThatFailed) {
    SpawnSpec spec;
    spec.argv = {"/no/such/program"};
    EXPECT_EQ(spawn(spec).error().code, "not_found");
    spec.argv = {"no-such-program-of-berth"};
    EXPECT_EQ(spawn(spec).error().code, "not_found");
    spec.argv = {"/etc/passwd"};
    EXPECT_EQ(spawn(spec).error().code, "not_executable");
    spec.argv = {"/bin/true"};
    spec.cwd = "/no/such/folder";
    EXPECT_EQ(spawn(spec).error().code, "bad_directory");
}

TEST(Spawn, ChildHoldsOnlyTheDescriptorsItWasGiven) {
    // A descriptor without close-on-exec that must not leak all the same.
    const Fd leaky(::open("/dev/null", O_RDONLY));
    ASSERT_GE(leaky.get(), 3);
    Pipe given = make_pipe().value();
    SpawnSpec spec;
    spec.argv = {
        "/bin/sh",
        "-c",
        "for n in 0 1 2 3 4 5 6 7 8 9 10 11; do test -e /proc/$$/fd/$n && printf '%s ' $n; done; "
        "echo hello >&7"};
    spec.stdin_fd = kNull;
    spec.fds = {{given.write.get(), 7}};
    EXPECT_EQ(output_of(spec), "0 1 2 7 ");
    given.write.reset();
    EXPECT_EQ(read_all(given.read.get()), "hello\n");
}

TEST(Spawn, DescriptorsMaySwapPlaces) {
    Pipe one = make_pipe().value();
    Pipe two = make_pipe().value();
    Fd eight(::fcntl(one.write.get(), F_DUPFD, 8));
    Fd next(::fcntl(two.write.get(), F_DUPFD, eight.get() + 1));
    SpawnSpec spec;  // each becomes the other's number; the shell writes through /proc, numbers may
                     // be above 9
    spec.argv = {
        "/bin/sh",
        "-c",
        "echo one >/proc/$$/fd/$1; echo two >/proc/$$/fd/$2",
        "sh",
        std::to_string(next.get()),
        std::to_string(eight.get())};
    spec.fds = {{eight.get(), next.get()}, {next.get(), eight.get()}};
    EXPECT_EQ(output_of(spec), "");
    one.write.reset();
    two.write.reset();
    eight.reset();
    next.reset();
    EXPECT_EQ(read_all(one.read.get()), "one\n");
    EXPECT_EQ(read_all(two.read.get()), "two\n");
}

TEST(Spawn, ReportsExitCodesAndSignals) {
    SpawnSpec spec;
    spec.argv = {"/bin/sh", "-c", "exit 37"};
    EXPECT_EQ(spawn(spec)->wait(kPatience)->code, 37);
    spec.argv = {"/bin/sh", "-c", "kill -9 $$"};
    const auto killed = spawn(spec)->wait(kPatience);
    EXPECT_EQ(killed->code, 137);
    EXPECT_EQ(killed->signal, 9);
    spec.argv = {"/bin/sleep", "60"};
    auto child = spawn(spec);
    EXPECT_EQ(child->wait(milliseconds{20}).error().code, "timeout");
    child->kill();
    EXPECT_EQ(child->poll()->signal, SIGKILL);
    EXPECT_FALSE(child->signal(SIGTERM));
}

TEST(Spawn, SignalsStartAtTheirDefaults) {
    ::signal(SIGPIPE, SIG_IGN);
    SpawnSpec spec;
    spec.argv = {"/bin/sh", "-c", "grep -E 'Sig(Ign|Blk)' /proc/self/status | tr -d '\\t\\n'"};
    EXPECT_EQ(output_of(spec), "SigBlk:0000000000000000SigIgn:0000000000000000");
    ::signal(SIGPIPE, SIG_DFL);
}

TEST(Spawn, DeathSignalEndsTheChildWithTheSpawningThread) {
    ProcessId id;
    std::thread([&] {
        SpawnSpec spec;
        spec.argv = {"/bin/sleep", "60"};
        spec.death_signal = SIGKILL;
        id = spawn(spec)->id();
    }).join();
    EXPECT_TRUE(id.wait_gone(kPatience));
    ::waitpid(id.pid, nullptr, 0);
}

TEST(Spawn, DropsToAnotherUser) {
    if (::getuid() != 0) GTEST_SKIP() << "needs root";
    SpawnSpec spec;
    spec.argv = {"/bin/sh", "-c", "id -u; id -g; id -G"};
    spec.user = SpawnSpec::User{64999, 64998};
    EXPECT_EQ(output_of(spec), "64999\n64998\n64998\n");
}

TEST(Privileges, DropIsForGood) {
    if (::getuid() != 0) GTEST_SKIP() << "needs root";
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(drop_privileges(64999, 64998) && ::setuid(0) != 0 ? 0 : 1);
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    EXPECT_FALSE(drop_privileges(0, 0));
}

TEST(ProcessIdentity, ARecycledPidIsNeverSignalled) {
    SpawnSpec spec;
    spec.argv = {"/bin/sleep", "60"};
    auto child = spawn(spec);
    ASSERT_TRUE(child);
    ProcessId other = child->id();
    other.start_time += 1;  // the same number, another life
    EXPECT_FALSE(other.alive());
    EXPECT_EQ(other.signal(SIGKILL).error().code, "no_process");
    EXPECT_TRUE(other.wait_gone(milliseconds{0}));
    EXPECT_TRUE(child->id().alive());
    EXPECT_EQ(ProcessId::parse(child->id().to_text() + "\n").value(), child->id());
    EXPECT_FALSE(ProcessId::parse("12"));
    EXPECT_FALSE(ProcessId::parse("12 x"));
    child->kill();
    EXPECT_FALSE(child->id().alive());
}

TEST(ProcessIdentity, AZombieCountsAsGone) {
    SpawnSpec spec;
    spec.argv = {"/bin/true"};
    auto child = spawn(spec);
    ASSERT_TRUE(child);
    EXPECT_TRUE(child->id().wait_gone(kPatience));  // not reaped yet
    EXPECT_FALSE(child->id().alive());
    EXPECT_EQ(child->wait(kPatience)->code, 0);
}

TEST(ProcessIdentity, EndKillsWhatIgnoresTerm) {
    Pipe ready = make_pipe().value();
    SpawnSpec spec;
    spec.argv = {"/bin/sh", "-c", "trap '' TERM; echo; while :; do sleep 60; done"};
    spec.stdout_fd = ready.write.get();
    auto child = spawn(spec);
    ready.write.reset();
    char byte;
    ASSERT_EQ(::read(ready.read.get(), &byte, 1), 1);
    const ProcessId sleeper = child->id();
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (signal_tree(sleeper, 0) < 2 && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();  // the sleep appears right after the echo
    EXPECT_GE(signal_tree(sleeper, SIGSTOP), 2U);
    EXPECT_GE(signal_tree(sleeper, SIGKILL), 2U);
    EXPECT_EQ(child->wait(kPatience)->signal, SIGKILL);
}

TEST(Lock, IsHeldUntilTheHolderDies) {
    std::string folder = (std::filesystem::temp_directory_path() / "berth-lock-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    const auto path = std::filesystem::path(folder) / "lock";
    EXPECT_FALSE(FileLock::is_held(path));
    Pipe ready = make_pipe().value();
    const pid_t pid = ::fork();
    if (pid == 0) {
        auto lock = FileLock::acquire(path);
        (void)!::write(ready.write.get(), "x", 1);
        for (;;) ::pause();
    }
    char byte;
    ASSERT_EQ(::read(ready.read.get(), &byte, 1), 1);
    EXPECT_TRUE(FileLock::is_held(path));
    EXPECT_EQ(FileLock::acquire(path, milliseconds{10}).error().code, "locked");
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    EXPECT_FALSE(FileLock::is_held(path));
    auto mine = FileLock::acquire(path);
    ASSERT_TRUE(mine);
    SpawnSpec spec;  // a child does not inherit it
    spec.argv = {"/bin/sleep", "60"};
    auto child = spawn(spec);
    mine->release();
    EXPECT_FALSE(FileLock::is_held(path));
    child->kill();
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace berth::process
