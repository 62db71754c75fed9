// SPDX-License-Identifier: Apache-2.0
// behaviours: leases 15 and runs 9. Two processes of each service on one bus and one database; any
// of them may be killed at any moment.
#include <signal.h>

#include <atomic>
#include <thread>

#include "core/random.hpp"
#include "machine_processes.hpp"
#include "replica.hpp"
#include "system.hpp"

namespace berth::testing {
namespace {

constexpr const char* kParts[] = {"gateway", "lease", "prov", "run", "warden"};

class Replicas : public SystemTest, public ::testing::WithParamInterface<const char*> {
public:
    static void SetUpTestSuite() {
        SystemTest::SetUpTestSuite();
        for (const char* part : kParts) extra_[part] = std::make_unique<Replica>(suite(), part);
    }
    static void TearDownTestSuite() {
        extra_.clear();
        SystemTest::TearDownTestSuite();
    }

protected:
    static constexpr seconds kConvergence{30};  // the limit of failure, not a wait

    void SetUp() override {
        ASSERT_TRUE(suite().wait_ready()) << suite().status().dump();
        for (auto& [part, replica] : extra_) {
            if (!replica->runs()) replica = std::make_unique<Replica>(suite(), part);
        }
    }

    static std::string gateway(std::size_t which) {
        return which % 2 == 0 ? suite().url() : extra_["gateway"]->url();
    }

    /// Sends until there is an answer, at one gateway after the other; same key, so that it counts
    /// once.
    static http::Response insist(
        std::size_t first,
        const std::string& method,
        const std::string& path,
        const std::string& body = {},
        const std::string& key = {}
    ) {
        http::Response response;
        std::size_t turn = first;
        std::vector<std::pair<std::string, std::string>> headers;
        if (!key.empty()) headers.emplace_back("Idempotency-Key", key);
        const bool answered = suite().eventually(
            [&] {
                response = suite().api_at(gateway(turn++), method, path, body, headers);
                return response.status != 0 && response.status < 500;
            },
            kConvergence
        );
        EXPECT_TRUE(answered) << method << " " << path << " " << response.body << suite().logs();
        return response;
    }

    /// The fields of `path` until one has the wanted value.
    static std::string insist_state(
        std::size_t first, const std::string& path, const std::function<bool(const Json&)>& good
    ) {
        Json last;
        EXPECT_TRUE(suite().eventually(
            [&] {
                last = json_of(insist(first++, "GET", path).body);
                return good(last);
            },
            kConvergence
        )) << path
           << " " << last.dump() << suite().logs();
        return last.string_or("state", "");
    }

    static Said cli(std::size_t which, const std::vector<std::string>& arguments) {
        Suite::CommandOptions options;
        options.env = {{"BERTH_SERVER", gateway(which)}, {"BERTH_TOKEN", suite().token()}};
        return suite().berth(arguments, options);
    }

    static inline std::map<std::string, std::unique_ptr<Replica>> extra_;
};

TEST_F(Replicas, OneKeyIsOneLeaseAndOneMachineThroughBothGateways) {
    std::vector<std::string> ids(10);
    std::vector<std::string> machines(10);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        threads.emplace_back([&, i] {
            const auto made = suite().api_at(
                gateway(i), "POST", "/v1/leases", "{}", {{"Idempotency-Key", "both-doors"}}
            );
            ids[i] = member(made, "id");
            machines[i] = member(made, "machine");
        });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_NE(ids.front(), "");
    for (std::size_t i = 0; i < ids.size(); ++i) {
        EXPECT_EQ(ids[i], ids.front());
        EXPECT_EQ(machines[i], machines.front());
    }
    const auto other = suite().api_at(
        gateway(1),
        "POST",
        "/v1/leases",
        R"({"label":"other"})",
        {{"Idempotency-Key", "both-doors"}}
    );
    EXPECT_EQ(other.status, 409) << other.body;
    const auto active =
        suite().api_at(gateway(1), "GET", "/v1/leases/" + ids[0] + "?wait=active&timeout=30s");
    EXPECT_EQ(member(active, "state"), "LEASE_STATE_ACTIVE") << active.body;
    EXPECT_EQ(suite().machines(), std::vector<std::string>{machines[0]});
    release(ids.front());
    EXPECT_TRUE(machines_gone());
}

/// What one of several users at once went through.
struct Flow {
    std::string lease;
    std::string machine;
    std::string run;
    std::string state;
    std::string output;
    std::string lease_state;
};

TEST_P(Replicas, KilledOneAfterTheOtherNothingIsLostDoubledOrLeftBehind) {
    const std::string part = GetParam();
    constexpr std::size_t kFlows = 4;
    constexpr std::size_t kCanceled = 3;  // the flow that cancels its run
    const std::string mark = std::to_string(Random::system().next());
    const std::string script =
        "echo start >> starts; i=0; while [ $i -lt 25 ]; do echo line $i; i=$((i+1)); sleep 0.04; "
        "done; wc -l < starts";
    std::vector<Flow> flows(kFlows);
    std::atomic<int> acquired{0};
    std::atomic<int> running{0};
    std::atomic<bool> killed_first{false};
    const auto live = [&](std::size_t i) {
        Flow& flow = flows[i];
        const std::string key = "replica-" + mark + "-" + std::to_string(i);
        const auto made = insist(i, "POST", "/v1/leases", "{}", key);
        flow.lease = member(made, "id");
        flow.machine = member(made, "machine");
        ++acquired;
        insist_state(i, "/v1/leases/" + flow.lease, [](const Json& lease) {
            return lease.string_or("state", "") == "LEASE_STATE_ACTIVE";
        });
        const std::string command = i == kCanceled ? "echo start; sleep 300" : script;
        flow.run = member(
            insist(
                i + 1,
                "POST",
                "/v1/runs",
                "{\"lease\":\"" + flow.lease + "\",\"argv\":[\"sh\",\"-c\"," +
                    Json(command).dump() + "]}",
                key + "-run"
            ),
            "id"
        );
        insist_state(i, "/v1/runs/" + flow.run, [](const Json& run) {
            return run.find("started_at") != nullptr;
        });
        ++running;
        if (i == kCanceled) {
            EXPECT_TRUE(suite().eventually([&] { return killed_first.load(); }));
            std::size_t door = i;  // what is canceled before it spoke has nothing to lose
            EXPECT_TRUE(suite().eventually(
                [&] {
                    return cli(door++, {"logs", flow.run}).out == "start\n";
                },
                kConvergence
            ));
            insist(i, "POST", "/v1/runs/" + flow.run + "/cancel", R"({"grace":"1s"})");
        }
        flow.state = insist_state(i + 1, "/v1/runs/" + flow.run, [](const Json& run) {
            return run.find("ended_at") != nullptr;
        });
        Said said;
        std::size_t turn = i;
        EXPECT_TRUE(suite().eventually(
            [&] {
                said = cli(turn++, {"logs", flow.run});
                return said.exit_code == 0 && !said.out.empty();
            },
            kConvergence
        )) << said.err;
        flow.output = said.out;
        insist(i, "POST", "/v1/leases/" + flow.lease + "/release");
        flow.lease_state = insist_state(i, "/v1/leases/" + flow.lease, [](const Json& lease) {
            return lease.string_or("state", "") == "LEASE_STATE_RELEASED";
        });
    };
    const pid_t supervised = suite().pid(part);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kFlows; ++i) threads.emplace_back(live, i);
    // The first in the middle of acquiring, the second in the middle of running: by then the first
    // is back.
    EXPECT_TRUE(suite().eventually([&] { return acquired.load() > 0; }));
    ASSERT_GT(supervised, 0);
    ::kill(supervised, SIGKILL);
    EXPECT_TRUE(suite().eventually([&] { return running.load() >= 2; }));
    EXPECT_TRUE(suite().wait_ready());
    extra_[part]->kill9();
    killed_first = true;
    for (std::thread& thread : threads) thread.join();

    std::string expected;
    for (int i = 0; i < 25; ++i) expected += "line " + std::to_string(i) + "\n";
    std::map<std::string, int> machines;
    for (std::size_t i = 0; i < kFlows; ++i) {
        ++machines[flows[i].machine];
        EXPECT_EQ(flows[i].lease_state, "LEASE_STATE_RELEASED");
        EXPECT_EQ(flows[i].state, i == kCanceled ? "RUN_STATE_CANCELED" : "RUN_STATE_SUCCEEDED");
        EXPECT_EQ(flows[i].output, i == kCanceled ? "start\n" : expected + "1\n")
            << "whole, and the command started once";
    }
    EXPECT_EQ(machines.size(), kFlows) << "one machine per lease";
    EXPECT_TRUE(machines_gone()) << "a machine is left behind" << suite().logs();
    const auto rest = json_of(insist(0, "GET", "/v1/leases").body);
    EXPECT_TRUE(rest.find("leases") == nullptr || rest.find("leases")->as_array()->empty())
        << rest.dump();
}

INSTANTIATE_TEST_SUITE_P(Each, Replicas, ::testing::ValuesIn(kParts), [](const auto& parameter) {
    return std::string(parameter.param);
});

/// `berth up` frozen: what dies of its children stays dead, and only the second replicas are left.
class Frozen {
public:
    explicit Frozen(pid_t up) : up_(up) { ::kill(up_, SIGSTOP); }
    ~Frozen() { ::kill(up_, SIGCONT); }
    Frozen(const Frozen&) = delete;
    Frozen& operator=(const Frozen&) = delete;

private:
    pid_t up_;
};

// behaviours: runs 8, leases 5. The leaders' work (reaper, keeper, watch) is done by who is left.
TEST_F(Replicas, TheSecondOnesTakeOverWhatTheLeadersDidAndASilentMachinesRunIsLost) {
    const std::string silent = acquire();
    const std::string working = acquire();
    const std::string silent_machine =
        member(suite().api("GET", "/v1/leases/" + silent), "machine");
    const std::string working_machine =
        member(suite().api("GET", "/v1/leases/" + working), "machine");
    const std::string long_run = start(working, "sleep 2; echo survived");
    const auto up =
        process::ProcessId::parse(read_file(suite().data() / "run" / "berth.pid").value_or(""));
    ASSERT_TRUE(up);
    std::vector<pid_t> victims;
    for (const char* part : kParts) victims.push_back(suite().pid(part));
    const std::string second = extra_["gateway"]->url();
    {
        const Frozen frozen(up->pid);
        for (const pid_t victim : victims) ::kill(victim, SIGKILL);

        Suite::CommandOptions options;
        options.env = {{"BERTH_SERVER", second}, {"BERTH_TOKEN", suite().token()}};
        auto asker = suite().start(
            run_sh("echo begun; sleep 300", {"--no-sync", "--lease", silent}), options
        );
        ASSERT_TRUE(asker->wait_out("begun")) << asker->finish().err;
        const MachineProcesses dead(suite(), silent_machine);
        dead.die_for_good();
        const SteadyTime died = std::chrono::steady_clock::now();

        // The reaper: a lease's time is over.
        const auto brief =
            suite().api_at(second, "POST", "/v1/leases", R"({"ttl":"2s","idle_timeout":"1h"})");
        ASSERT_LT(brief.status, 300) << brief.body;
        insist_state(1, "/v1/leases/" + member(brief, "id"), [](const Json& lease) {
            return lease.string_or("state", "") == "LEASE_STATE_EXPIRED";
        });
        // The keeper: a node agent that dies is started again, and reaped.
        const MachineProcesses machine(suite(), working_machine);
        std::optional<process::ProcessId> node;
        for (int i = 0; i < 2; ++i) {
            ASSERT_TRUE(suite().eventually([&] {
                const auto now = machine.node();
                if (!now || (node && *now == *node)) return false;
                node = now;
                return true;
            })) << "no new node agent";
            ASSERT_TRUE(node->signal(SIGKILL));
        }
        Json end;
        ASSERT_TRUE(suite().eventually([&] {
            end = json_of(
                suite()
                    .api_at(second, "GET", "/v1/runs/" + long_run + "?wait=ended&timeout=5s")
                    .body
            );
            return end.find("ended_at") != nullptr;
        }));
        EXPECT_EQ(end.string_or("state", ""), "RUN_STATE_SUCCEEDED") << end.dump();
        EXPECT_EQ(cli(1, {"logs", long_run}).out, "survived\n");

        // The watch: its asker hears that the run is lost, and why.
        const Said said = asker->finish();
        const auto took = std::chrono::steady_clock::now() - died;
        EXPECT_EQ(said.exit_code, 125) << said.err;
        EXPECT_EQ(said.out, "begun\n");
        EXPECT_NE(said.err.find("has not been heard"), std::string::npos) << said.err;
        EXPECT_LT(took, seconds{30});
        const auto runs = json_of(suite().api_at(second, "GET", "/v1/runs?lease=" + silent).body);
        EXPECT_EQ(runs.find("runs")->as_array()->front().string_or("state", ""), "RUN_STATE_LOST")
            << runs.dump();

        // The lease ends properly, and with it what is left of the machine.
        for (const std::string& lease : {silent, working})
            EXPECT_EQ(
                suite().api_at(second, "POST", "/v1/leases/" + lease + "/release").status, 200
            );
        EXPECT_TRUE(machines_gone()) << suite().logs();
        EXPECT_TRUE(dead.all().empty());
        EXPECT_TRUE(suite().eventually([&] { return zombies_of(extra_["prov"]->pid()) == 0; }))
            << "node agents that ended are waited for";
    }
    EXPECT_TRUE(suite().wait_ready());
}

}  // namespace
}  // namespace berth::testing
