// SPDX-License-Identifier: Apache-2.0
// The fear: something dies (kill -9) at the worst moment. Each process of the suite at each step of
// acquire, sync, run, release; then nothing accepted is lost, no command ran twice, nothing is left
// behind.
//
// BERTH_CRASH_ROUNDS repeats the whole matrix with other moments, BERTH_CRASH_FIRST tells where the
// moments begin; BERTH_CRASH_SEED replays one.
#include <signal.h>

#include <cstdlib>
#include <optional>
#include <thread>

#include "../system/machine_processes.hpp"
#include "../system/system.hpp"
#include "core/random.hpp"

namespace berth::testing {
namespace {

enum class Step { kAcquire, kSync, kStart, kRunning, kRelease };
constexpr std::uint64_t kSeedsOfOneStart = 1'000'000;  // between BERTH_CRASH_FIRST=1 and =2
constexpr const char* kStepNames[] = {"acquire", "sync", "start", "running", "release"};

using Case = std::tuple<const char*, Step>;

/// A number that the environment gives.
std::optional<std::uint64_t> number_in(const char* name) {
    const char* given = std::getenv(name);
    if (given == nullptr) return std::nullopt;
    return std::strtoull(given, nullptr, 10);
}

class CrashMatrix : public SystemTest, public ::testing::WithParamInterface<Case> {
protected:
    static constexpr seconds kConvergence{60};  // the limit of failure, not a wait

    /// Sends until the answer is one (the client's half of the promise: same key, again).
    http::Response insist(
        const std::string& method,
        const std::string& path,
        const std::string& body,
        const std::string& key
    ) {
        http::Response response;
        EXPECT_TRUE(suite().eventually(
            [&] {
                response = suite().api(
                    method,
                    path,
                    body,
                    key.empty()
                        ? std::vector<std::pair<std::string, std::string>>{}
                        : std::vector<std::pair<std::string, std::string>>{{"Idempotency-Key", key}}
                );
                return response.status != 0 && response.status < 500;
            },
            kConvergence
        )) << method
           << " " << path << " " << response.body << suite().logs();
        return response;
    }

    /// Command lines of this host's processes that hold `mark`.
    static std::string processes_with(const std::string& mark) {
        std::string found;
        std::error_code error;
        for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
            const auto command = read_file(entry.path() / "cmdline");
            if (command && command->find(mark) != std::string::npos) found += *command + "\n";
        }
        return found;
    }

    pid_t victim(const std::string& part, const std::string& machine) {
        if (part != "node") return suite().pid(part);
        const auto text = read_file(suite().data() / "machines" / machine / "node" / "pid");
        const auto id = text ? process::ProcessId::parse(*text)
                             : Result<process::ProcessId>(invalid("none", ""));
        return id && id->alive() ? id->pid : 0;
    }

    /// Runs `action` and kills the victim some milliseconds after it began.
    void with_kill(
        const std::string& part,
        const std::string& machine,
        SeededRandom& random,
        const std::function<void()>& action
    ) {
        pid_t target = victim(part, machine);
        const milliseconds delay{static_cast<long long>(random.below(25))};
        std::thread killer([&] {
            // Not a wait for something: the moment of the crash is what varies.
            std::mutex mutex;
            std::condition_variable never;
            std::unique_lock lock(mutex);
            never.wait_for(lock, delay);
            // A machine's node may appear only during the step.
            if (target == 0)
                (void)suite().eventually(
                    [&] {
                        for (const std::string& made : suite().machines())
                            target = target == 0 ? victim("node", made) : target;
                        return target != 0;
                    },
                    seconds{5}
                );
            if (target != 0) ::kill(target, SIGKILL);
        });
        action();
        killer.join();
    }
};

TEST_P(CrashMatrix, NothingIsLostDoubledOrLeftBehind) {
    const auto [part, step] = GetParam();
    static std::uint64_t round = 0;
    const std::uint64_t seed =
        number_in("BERTH_CRASH_SEED")
            .value_or(
                number_in("BERTH_CRASH_FIRST").value_or(0) * kSeedsOfOneStart + 1'000 * ++round +
                static_cast<std::uint64_t>(step)
            );
    SCOPED_TRACE("BERTH_CRASH_SEED=" + std::to_string(seed));
    SeededRandom random(seed);
    const std::string key = "crash-" + std::to_string(Random::system().next());
    ASSERT_TRUE(suite().wait_ready()) << suite().status().dump();
    const auto crash_at =
        [&,
         part = std::string(part),
         step = step](Step here, const std::string& machine, const std::function<void()>& action) {
            if (here == step)
                with_kill(part, machine, random, action);
            else
                action();
        };

    std::string lease;
    std::string machine;
    crash_at(Step::kAcquire, {}, [&] {
        const auto made = insist("POST", "/v1/leases", "{}", key);
        ASSERT_LT(made.status, 300) << made.body;
        lease = member(made, "id");
        machine = member(made, "machine");
    });
    http::Response active;
    ASSERT_TRUE(suite().eventually(
        [&] {
            active = suite().api("GET", "/v1/leases/" + lease + "?wait=active&timeout=5s");
            return member(active, "state") == "LEASE_STATE_ACTIVE";
        },
        kConvergence
    )) << active.body
       << suite().logs();

    crash_at(Step::kSync, machine, [&] {
        Said said;
        ASSERT_TRUE(suite().eventually(
            [&] {
                said = suite().berth({"sync", "--lease", lease});
                return said.exit_code == 0;
            },
            kConvergence
        )) << said.err
           << suite().logs();
    });

    std::string run;
    const std::string script =
        ": " + key +
        "; cat a.txt; echo start >> starts; i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); "
        "sleep 0.03; done; wc -l < starts";
    crash_at(Step::kStart, machine, [&] {
        const auto made = insist(
            "POST",
            "/v1/runs",
            "{\"lease\":\"" + lease + "\",\"argv\":[\"sh\",\"-c\"," + Json(script).dump() + "]}",
            key + "-run"
        );
        ASSERT_LT(made.status, 300) << made.body;
        run = member(made, "id");
    });
    http::Response end;
    crash_at(Step::kRunning, machine, [&] {
        ASSERT_TRUE(suite().eventually(
            [&] {
                end = suite().api("GET", "/v1/runs/" + run + "?wait=ended&timeout=5s");
                return end.status == 200 && json_of(end.body).find("ended_at") != nullptr;
            },
            kConvergence
        )) << end.body
           << suite().logs();
    });
    EXPECT_EQ(member(end, "state"), "RUN_STATE_SUCCEEDED") << end.body << suite().logs();
    std::string expected = "hello\n";
    for (int i = 0; i < 20; ++i) expected += "line " + std::to_string(i) + "\n";
    expected += "1\n";  // started once
    Said logs;
    EXPECT_TRUE(suite().eventually(
        [&] {
            logs = suite().berth({"logs", run});
            return logs.exit_code == 0 && logs.out == expected;
        },
        seconds{20}
    )) << logs.out
       << logs.err;

    crash_at(Step::kRelease, machine, [&] {
        EXPECT_EQ(insist("POST", "/v1/leases/" + lease + "/release", {}, {}).status, 200);
    });
    EXPECT_TRUE(suite().eventually([&] { return suite().machines().empty(); }, kConvergence))
        << "a machine is left behind" << suite().logs();
    EXPECT_TRUE(suite().eventually(
        [&] {
            return MachineProcesses(suite(), machine).all().empty() && processes_with(key).empty();
        },
        kConvergence
    )) << "a process is left behind: "
       << processes_with(key) << suite().logs();
    EXPECT_TRUE(suite().eventually(
        [&] {
            return member(suite().api("GET", "/v1/leases/" + lease), "state") ==
                   "LEASE_STATE_RELEASED";
        },
        kConvergence
    ));
    const auto live = json_of(insist("GET", "/v1/leases", {}, {}).body);
    EXPECT_TRUE(live.find("leases") == nullptr || live.find("leases")->as_array()->empty())
        << "one key made one lease: " << live.dump();
    EXPECT_EQ(member(insist("POST", "/v1/leases", "{}", key), "id"), lease)
        << "the key still means the same lease";
}

INSTANTIATE_TEST_SUITE_P(
    Each,
    CrashMatrix,
    ::testing::Combine(
        ::testing::Values("gateway", "lease", "prov", "run", "warden", "node", "nats", "postgres"),
        ::testing::Values(Step::kAcquire, Step::kSync, Step::kStart, Step::kRunning, Step::kRelease)
    ),
    [](const auto& parameter) {
        return std::string(std::get<0>(parameter.param)) + "_at_" +
               kStepNames[static_cast<int>(std::get<1>(parameter.param))];
    }
);

}  // namespace
}  // namespace berth::testing

int main(int argc, char** argv) {
    ::testing::InitGoogleTest(&argc, argv);
    if (const auto rounds = berth::testing::number_in("BERTH_CRASH_ROUNDS"))
        ::testing::GTEST_FLAG(repeat) = static_cast<int>(*rounds);
    return RUN_ALL_TESTS();
}
