// SPDX-License-Identifier: Apache-2.0
// behaviours: warden 1, 3, 6, 7, 8, 9, 12, 13 on a real machine: commands are denied, held over
// restarts, approved and halted, and all of it is audited.
#include "guard_system.hpp"

#include <signal.h>

namespace berth::testing {
namespace {

TEST_F(GuardSystem, ADeniedCommandDoesNotRunAndIsAudited) {
    const std::string lease = acquire();
    const std::string run = start(lease, "id; echo $?; /bin/true");
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    const Said said = logs(run);
    // Two pipes of the command: which line comes first is chance.
    EXPECT_NE(said.out.find("126\n"), std::string::npos) << said.out << said.err;
    EXPECT_NE(
        said.out.find("berth: denied by rule no-id: nobody asks who they are\n"), std::string::npos
    ) << said.out;
    const auto denied = records(run, "exec_denied");
    ASSERT_EQ(denied.size(), 1U);
    EXPECT_EQ(denied[0].string_or("rule", ""), "no-id");
    EXPECT_EQ(denied[0].string_or("action", ""), "deny");
    EXPECT_EQ(denied[0].string_or("user", ""), "admin");
    EXPECT_EQ(denied[0].int_or("exit_code", 0), 126);
    EXPECT_EQ(denied[0].string_or("approval", ""), "");
    EXPECT_GE(records(run, "exec_started").size(), 2U);
    EXPECT_EQ(records(run, "run_ended").size(), 1U);
    // Its whole audit is there, and nobody was asked.
    const auto asked = suite().api("GET", "/v1/audit?limit=1&fact=approval_requested&run=" + run);
    EXPECT_EQ(asked.body.find(run), std::string::npos) << asked.body;
    EXPECT_EQ(suite().api("GET", "/v1/approvals").body.find(run), std::string::npos);
    release(lease);
}

TEST_F(GuardSystem, OrdinaryWorkOfGitWaitsForNobody) {
    const std::string lease = acquire();
    // git tells its children where its programs are, and what -c says.
    const std::string run = start(
        lease,
        "git init -q . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m m && "
        "git gc --quiet && git clone -q . \"$HOME/clone\" && git -C \"$HOME/clone\" log --format=%s"
    );
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_SUCCEEDED")
        << suite().api("GET", "/v1/approvals").body;
    EXPECT_EQ(logs(run).out, "m\n") << logs(run).err;
    EXPECT_GE(records(run, "exec_started").size(), 5U);
    const auto held = suite().api("GET", "/v1/audit?limit=1&fact=exec_held&run=" + run);
    EXPECT_EQ(held.body.find(run), std::string::npos) << held.body;
    release(lease);
}

TEST_F(GuardSystem, AMachinesGuardIsShown) {
    const std::string lease = acquire();
    const std::string machine = member(suite().api("GET", "/v1/leases/" + lease), "machine");
    ASSERT_TRUE(suite().eventually([&] {
        return !member(suite().api("GET", "/v1/machines/" + machine), "guard").empty();
    }));
    const auto one = suite().api("GET", "/v1/machines/" + machine);
    EXPECT_EQ(member(one, "guard"), "enforce") << one.body;
    EXPECT_EQ(member(one, "freezer"), "ptrace") << one.body;
    const Said listed = cli("anna", {"pool", "--machines"});
    EXPECT_NE(listed.out.find("enforce (ptrace)"), std::string::npos) << listed.out << listed.err;
    const Said status = cli("anna", {"status"});
    EXPECT_NE(status.out.find("enforce"), std::string::npos) << status.out << status.err;
    release(lease);
}

TEST_F(GuardSystem, AHeldCommandSurvivesRestartsAndRunsOnceItIsApproved) {
    const std::string lease = acquire();
    const std::string run = start(lease, "exec 2>&1; uname -s; echo $?; uname -s; echo $?");
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
    const Json refused = ended(barred);
    EXPECT_EQ(refused.string_or("state", ""), "RUN_STATE_CANCELED");
    const Json halts = json_of(suite().api("GET", "/v1/halts").body);
    ASSERT_NE(halts.find("halts"), nullptr) << halts.dump();
    const std::string halt = halts.find("halts")->as_array()->front().string_or("id", "");
    EXPECT_EQ(
        refused.string_or("reason", ""),
        "halted by anna: enough; somebody else ends the halt: berth resume " + halt
    ) << refused.dump();
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
        argc,
        argv,
        "profiles:\n  default: {driver: local, parallel_runs: 4}\n  alone: {driver: local, "
        "env: ['*']}\n"
    );
}
