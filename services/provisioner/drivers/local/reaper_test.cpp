// SPDX-License-Identifier: Apache-2.0
// Children are reaped when they end, and left alone when the reaper does.
#include "provisioner/drivers/local/reaper.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "core/time.hpp"

namespace berth::prov {
namespace {

process::Child start(std::vector<std::string> argv) {
    process::SpawnSpec spec;
    spec.argv = std::move(argv);
    spec.stdin_fd = process::kNull;
    auto child = process::spawn(spec);
    EXPECT_TRUE(child) << child.error().describe();
    return std::move(*child);
}

/// True when the kernel knows no such child any more: it was waited for.
bool reaped(pid_t pid) {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 &&
           errno == ECHILD;
}

bool soon(const std::function<bool()>& good) {
    const auto until = std::chrono::steady_clock::now() + seconds{10};
    while (!good()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::yield();
    }
    return true;
}

TEST(ReaperTest, NoZombieIsLeftHoweverManyEndAtOnce) {
    Reaper reaper;
    std::vector<pid_t> pids;
    for (int i = 0; i < 20; ++i) {
        auto child = start(
            i % 2 == 0 ? std::vector<std::string>{"true"}
                       : std::vector<std::string>{"sh", "-c", "kill -9 $$"}
        );
        pids.push_back(child.pid());
        reaper.take("m", std::move(child));
    }
    for (const pid_t pid : pids) EXPECT_TRUE(soon([pid] { return reaped(pid); })) << pid;
}

TEST(ReaperTest, ItsEndLeavesThoseThatRunAlone) {
    process::ProcessId id;
    {
        Reaper reaper;
        auto child = start({"sleep", "100"});
        id = child.id();
        reaper.take("m", std::move(child));
    }
    EXPECT_TRUE(id.alive());
    ASSERT_TRUE(id.signal(SIGKILL));
    EXPECT_EQ(::waitpid(id.pid, nullptr, 0), id.pid);
}

}  // namespace
}  // namespace berth::prov
