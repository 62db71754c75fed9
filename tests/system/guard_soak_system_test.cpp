// SPDX-License-Identifier: Apache-2.0
// behaviours: warden 13, 14 with commands that a real machine intercepts: a thousand, each tenth of
// which a person approves besides.
#include <fstream>
#include <iostream>
#include <set>

#include "guard_system.hpp"
#include "machine_processes.hpp"
#include "support/sanitized.hpp"

namespace berth::testing {
namespace {

constexpr int kSoakCommands = 1'000;

/// Approves everything that waits, until `enough` are.
void approve_all(
    const std::string& url, const std::string& token, Suite& suite, std::size_t enough
) {
    std::set<std::string> decided;
    const std::vector<std::pair<std::string, std::string>> headers{
        {"Authorization", "Bearer " + token}};
    (void)suite.eventually(
        [&] {
            const auto page =
                suite.api_at(url, "GET", "/v1/approvals?state=pending&limit=100", {}, headers);
            const auto json = Json::parse(page.body);
            const Json* list = json ? json->find("approvals") : nullptr;
            if (list == nullptr || list->as_array() == nullptr) return false;
            for (const Json& one : *list->as_array()) {
                const std::string id = one.string_or("id", "");
                const auto done = suite.api_at(
                    url, "POST", "/v1/approvals/" + id + "/decide", R"({"approve":true})", headers
                );
                if (done.status == 200) decided.insert(id);
            }
            return decided.size() >= enough;
        },
        seconds{500}
    );
    EXPECT_EQ(decided.size(), enough);
}

/// Resident memory in MiB; 0: no such process.
double resident_of(pid_t pid) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1'024;
    }
    return 0;
}

TEST_F(GuardSystem, AHundredCommandsOfOneMachineWaitAtOnceInBoundedMemory) {
    constexpr int kAsks = 100;
    constexpr double kMostSupervisor = 32;  // in MiB, all of it
    constexpr double kMostGrowth = 64;      // of the node agent and of warden
    const std::string lease = acquire();
    const MachineProcesses machine(
        suite(), member(suite().api("GET", "/v1/leases/" + lease), "machine")
    );
    EXPECT_EQ(ended(start(lease, "true")).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    const auto node = machine.node();
    ASSERT_TRUE(node);
    const double node_before = resident_of(node->pid);
    const double warden_before = resident_of(suite().pid("warden"));
    ASSERT_GT(node_before * warden_before, 0);
    const std::string run = start(
        lease,
        "i=0; while [ $i -lt " + std::to_string(kAsks) + " ]; do i=$((i+1)); uname -s & done; wait"
    );
    ASSERT_TRUE(suite().eventually([&] {
        const Json all = json_of(suite().api("GET", "/v1/approvals?state=pending&limit=100").body);
        const Json* list = all.find("approvals");
        return list != nullptr && list->as_array() != nullptr &&
               list->as_array()->size() == static_cast<std::size_t>(kAsks);
    })) << suite().logs();
    double supervisor = 0;
    for (const auto& process : machine.all()) {
        const auto name = read_file("/proc/" + std::to_string(process.pid) + "/comm");
        if (name && name->starts_with("berth-superviso"))
            supervisor = std::max(supervisor, resident_of(process.pid));
    }
    const double node_growth = resident_of(node->pid) - node_before;
    const double warden_growth = resident_of(suite().pid("warden")) - warden_before;
    std::cout << kAsks << " held: supervisor " << supervisor << " MiB, node agent +" << node_growth
              << " MiB, warden +" << warden_growth << " MiB\n";
    EXPECT_GT(supervisor, 0);
    if (!kSanitized) {
        EXPECT_LT(supervisor, kMostSupervisor);
        EXPECT_LT(node_growth, kMostGrowth);
        EXPECT_LT(warden_growth, kMostGrowth);
    }
    approve_all(suite().url(), tokens_.at("anna"), suite(), kAsks);
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    EXPECT_EQ(logs(run).out.size(), std::string_view("Linux\n").size() * kAsks);
    release(lease);
}

TEST_F(GuardSystem, ASoakOfInterceptedCommandsIsAuditedWhole) {
    constexpr int kRuns = 4;
    const int each = kSoakCommands / kRuns;
    const int asks = each / 10;  // of each run
    const std::string lease = acquire();
    std::vector<std::string> runs;
    for (int run = 0; run < kRuns; ++run) {
        runs.push_back(start(
            lease,
            "i=0; while [ $i -lt " + std::to_string(each) +
                " ]; do i=$((i+1)); /bin/true; [ $((i % 10)) != 0 ] || uname -s; done"
        ));
    }
    approve_all(suite().url(), tokens_.at("anna"), suite(), static_cast<std::size_t>(kRuns * asks));
    std::map<std::string, int> counts;
    std::set<std::string> approvals;
    for (const auto& run : runs) {
        const auto end =
            json_of(suite().api("GET", "/v1/runs/" + run + "?wait=ended&timeout=50s").body);
        EXPECT_EQ(end.string_or("state", ""), "RUN_STATE_SUCCEEDED") << end.dump();
        EXPECT_EQ(
            logs(run).out.size(), std::string_view("Linux\n").size() * static_cast<unsigned>(asks)
        );
        (void)records(run, "run_ended");  // with it the whole audit of the run is there
    }
    const auto exported = suite().api("GET", "/v1/audit/export");
    ASSERT_EQ(exported.status, 200);
    for (std::size_t at = 0; at < exported.body.size();) {
        const auto end = exported.body.find('\n', at);
        const Json record = json_of(exported.body.substr(at, end - at));
        at = end == std::string::npos ? exported.body.size() : end + 1;
        const Json* origin = record.find("origin");
        const std::string run = origin == nullptr ? "" : origin->string_or("run", "");
        if (std::find(runs.begin(), runs.end(), run) == runs.end()) continue;
        const std::string program = record.string_or("executable", "");
        counts[record.string_or("fact", "") + " " + program.substr(program.rfind('/') + 1)]++;
        if (record.string_or("fact", "") == "approval_decided") {
            EXPECT_TRUE(approvals.insert(record.string_or("approval", "")).second);
        }
    }
    const int commands = each * kRuns;
    EXPECT_EQ(counts["exec_started true"], commands);
    EXPECT_EQ(counts["exec_ended true"], commands);
    for (const char* fact :
         {"exec_held uname",
          "approval_requested uname",
          "approval_decided uname",
          "exec_released uname",
          "exec_started uname",
          "exec_ended uname"})
        EXPECT_EQ(counts[fact], asks * kRuns) << fact;
    EXPECT_EQ(approvals.size(), static_cast<std::size_t>(asks * kRuns));
    const Said verified = cli("anna", {"audit", "verify"});
    EXPECT_EQ(verified.exit_code, 0) << verified.out << verified.err;
    std::cout << commands << " intercepted commands and " << asks * kRuns
              << " approvals: " << verified.out;
    release(lease);
}

}  // namespace
}  // namespace berth::testing
