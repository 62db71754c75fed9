// SPDX-License-Identifier: Apache-2.0
// behaviours: warden 1, 3, 6, 7, 8, 9, 12, 13 on a real machine: commands are denied, held over
// restarts, approved and halted, and all of it is audited.
#include <signal.h>

#include "approvers.hpp"

namespace berth::testing {
namespace {

constexpr const char* kPolicy =
    "version: 1\n"
    "default: allow\n"
    "timeout: 10m\n"
    "rules:\n"
    "  - id: no-id\n"
    "    action: deny\n"
    "    reason: nobody asks who they are\n"
    "    match: {executable: id}\n"
    "  - id: ask-uname\n"
    "    action: ask\n"
    "    reason: a person shall say\n"
    "    match: {executable: uname}\n";

class GuardSystem : public ApproversTest {
public:
    static void SetUpTestSuite() {
        ApproversTest::SetUpTestSuite();
        apply(kPolicy);
    }

protected:
    static bool is_in(const std::string& run, const std::string& state) {
        return suite().eventually([&] {
            return member(suite().api("GET", "/v1/runs/" + run), "state") == state;
        });
    }
    static bool audited(const std::string& run, const std::string& fact) {
        return suite().eventually([&] {
            return cli("anna", {"audit", "query", "--run", run, "--fact", fact}).out.find(fact) !=
                   std::string::npos;
        });
    }
};

TEST_F(GuardSystem, ADeniedCommandDoesNotRunAndIsAudited) {
    const std::string lease = acquire();
    const std::string run = start(lease, "id; echo $?; /bin/true");
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    const Said logs = suite().berth({"logs", run});
    // Two pipes of the command: which line comes first is chance.
    EXPECT_NE(logs.out.find("126\n"), std::string::npos) << logs.out << logs.err;
    EXPECT_NE(
        logs.out.find("berth: denied by rule no-id: nobody asks who they are\n"), std::string::npos
    ) << logs.out;
    EXPECT_TRUE(audited(run, "exec_denied"));
    EXPECT_TRUE(audited(run, "exec_started"));
    EXPECT_TRUE(audited(run, "run_ended"));
    release(lease);
}

TEST_F(GuardSystem, AHeldCommandSurvivesRestartsAndRunsOnceItIsApproved) {
    const std::string lease = acquire();
    const std::string run = start(lease, "uname -s; echo $?; uname -s; echo $?");
    const std::string first = pending(run);
    EXPECT_TRUE(is_in(run, "RUN_STATE_HELD"));
    // Each alone, while it waits.
    for (const char* part : {"warden", "gateway", "run", "lease", "prov", "nats", "postgres"}) {
        suite().kill9(part);
        ASSERT_TRUE(suite().wait_ready()) << part << suite().logs();
        EXPECT_TRUE(is_in(run, "RUN_STATE_HELD")) << part;
    }
    const Said approved = cli("anna", {"approve", first});
    EXPECT_EQ(approved.exit_code, 0) << approved.err;
    std::string second = pending(run);
    EXPECT_NE(second, first);
    const Said denied = cli("bert", {"deny", second, "--comment", "once is enough"});
    EXPECT_EQ(denied.exit_code, 0) << denied.err;
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    const Said logs = suite().berth({"logs", run});
    EXPECT_EQ(logs.out, "Linux\n0\nberth: denied by rule ask-uname: once is enough\n126\n")
        << logs.err;
    release(lease);
}

TEST_F(GuardSystem, AHaltEndsWhatRunsUntilSomebodyElseResumes) {
    const std::string lease = acquire();
    const std::string run = start(lease, "echo up; sleep 600");
    ASSERT_TRUE(is_in(run, "RUN_STATE_RUNNING"));
    const Said halted = cli("anna", {"halt", "--reason", "enough"});
    EXPECT_EQ(halted.exit_code, 0) << halted.out << halted.err;
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_CANCELED");
    const std::string barred = start(lease, "echo no");
    EXPECT_EQ(ended(barred).string_or("state", ""), "RUN_STATE_LOST");
    const Json halts = json_of(suite().api("GET", "/v1/halts").body);
    ASSERT_NE(halts.find("halts"), nullptr) << halts.dump();
    const std::string halt = halts.find("halts")->as_array()->front().string_or("id", "");
    EXPECT_NE(cli("anna", {"resume", halt}).exit_code, 0) << "she pressed it";
    const Said resumed = cli("bert", {"resume", halt});
    EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_TRUE(suite().eventually([&] {
        return ended(start(lease, "true")).string_or("state", "") == "RUN_STATE_SUCCEEDED";
    }));
    const Said verified = cli("anna", {"audit", "verify"});
    EXPECT_EQ(verified.exit_code, 0) << verified.out;
    release(lease);
}

}  // namespace
}  // namespace berth::testing

int main(int argc, char** argv) {
    return berth::testing::SystemTest::run_all(
        argc, argv, "profiles:\n  default: {driver: local, parallel_runs: 4}\n"
    );
}
