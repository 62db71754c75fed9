// SPDX-License-Identifier: Apache-2.0
// behaviours: warden 3, 6, 7, 9, 11 on a real machine: what people decide, remember and take back,
// and what time limits and signals reach.
#include <signal.h>

#include "guard_system.hpp"

namespace berth::testing {
namespace {

TEST_F(GuardSystem, AnEditedCommandRunsInsteadOfTheOneThatWasAsked) {
    const std::string lease = acquire();
    const std::string run = start(lease, "uname -s; uname -s; echo $?");
    const std::string first = pending(run);
    const Said edited =
        cli("anna", {"approve", first, "--comment", "the other way", "--", "uname", "-o"});
    EXPECT_EQ(edited.exit_code, 0) << edited.err;
    EXPECT_EQ(edited.out.find(first), std::string::npos) << "another plan, another approval";
    std::string second;
    ASSERT_TRUE(suite().eventually([&] { return (second = pending(run)) != first; }));
    const auto by_api = suite().api(
        "POST",
        "/v1/approvals/" + second + "/decide",
        R"({"approve":true,"edited_argv":["uname","-m"]})",
        {{"Authorization", "Bearer " + tokens_.at("bert")}}
    );
    EXPECT_EQ(by_api.status, 200) << by_api.body;
    EXPECT_EQ(member(by_api, "state"), "APPROVAL_STATE_APPROVED");
    const Json plan = *json_of(by_api.body).find("plan");
    const Json old = json_of(suite().api("GET", "/v1/approvals/" + second).body);
    EXPECT_EQ(plan.string_or("replaces", "-"), old.find("plan")->string_or("digest", ""));
    EXPECT_EQ(old.string_or("replaced_by", ""), member(by_api, "id"));
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    const Said said = logs(run);
    EXPECT_NE(said.out.find("GNU/Linux\n"), std::string::npos) << said.out;
    EXPECT_NE(said.out.find("x86_64\n0\n"), std::string::npos) << said.out;
    EXPECT_EQ(said.out.find("Linux\nLinux"), std::string::npos) << said.out;
    EXPECT_EQ(records(run, "approval_edited").size(), 2U);
    EXPECT_EQ(records(run, "exec_released").size(), 2U);
    release(lease);
}

TEST_F(GuardSystem, WhatAnApproverSaysReachesWhoAsked) {
    const std::string lease = acquire();
    const std::string run = start(lease, "uname -s");
    const Said approved = cli("anna", {"approve", pending(run), "--comment", "mind the\nqueue"});
    EXPECT_EQ(approved.exit_code, 0) << approved.err;
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    EXPECT_EQ(logs(run).out, "Linux\n");
    // What Berth itself says beside the output; `berth run` and `berth attach` show it on stderr.
    const std::string notice = suite().api("GET", "/v1/runs/" + run + "/output?stream=berth").body;
    EXPECT_NE(notice.find("approved: "), std::string::npos) << notice;
    EXPECT_NE(notice.find("mind the"), std::string::npos) << notice;
    EXPECT_EQ(notice.find("the\nqueue"), std::string::npos) << "one line";
    release(lease);
}

TEST_F(GuardSystem, AGrantIsListedAndOnceItIsRevokedItIsAskedAgain) {
    Suite::CommandOptions options;
    options.env = {{"BERTH_SERVER", suite().url()}, {"BERTH_TOKEN", tokens_.at("anna")}};
    const auto watching =
        suite().start({"events", "--subject", "berth.evt.default.warden.grant.>"}, options);
    // Where runs go on side by side each has a folder of its own, and so another plan.
    const std::string lease = acquire(R"({"profile":"alone"})");
    const std::string first = start(lease, "uname -s");
    const Said approved = cli("anna", {"approve", pending(first), "--until", "1h"});
    EXPECT_EQ(approved.exit_code, 0) << approved.err;
    EXPECT_EQ(ended(first).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    const Json all = json_of(cli("bert", {"grants", "--json"}).out);
    ASSERT_NE(all.find("grants"), nullptr) << all.dump();
    ASSERT_EQ(all.find("grants")->as_array()->size(), 1U) << all.dump();
    const Json& grant = all.find("grants")->as_array()->front();
    const std::string id = grant.string_or("id", "");
    EXPECT_EQ(grant.string_or("made_by", ""), "anna");
    EXPECT_EQ(grant.string_or("user", ""), "admin");
    EXPECT_NE(cli("anna", {"grants"}).out.find(id), std::string::npos);
    // The same command needs nobody.
    const std::string second = start(lease, "uname -s");
    EXPECT_EQ(ended(second).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    EXPECT_EQ(logs(second).out, "Linux\n");
    EXPECT_EQ(records(second, "approval_approved")[0].string_or("action", ""), "allow");
    const Said revoked = cli("bert", {"grants", "--revoke", id});
    EXPECT_EQ(revoked.exit_code, 0) << revoked.err;
    EXPECT_EQ(suite().api("DELETE", "/v1/grants/" + id).status, 200) << "once more is the same";
    EXPECT_EQ(suite().api("DELETE", "/v1/grants/gr_00000000000000000000000000").status, 404);
    EXPECT_EQ(cli("anna", {"grants"}).out.find(id), std::string::npos);
    EXPECT_NE(cli("anna", {"grants", "--all"}).out.find("revoked by bert"), std::string::npos);
    for (const char* fact : {".made.", ".used.", ".revoked."})
        EXPECT_TRUE(watching->wait_out(fact + id)) << fact << watching->out();
    watching->signal(SIGINT);
    const Said audited = cli("anna", {"audit", "query", "--fact", "grant_revoked"});
    EXPECT_NE(audited.out.find("bert"), std::string::npos) << audited.out;
    EXPECT_NE(audited.out.find(id), std::string::npos) << audited.out;
    const std::string third = start(lease, "uname -s; echo $?");
    EXPECT_EQ(cli("anna", {"deny", pending(third)}).exit_code, 0);
    EXPECT_EQ(ended(third).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    EXPECT_NE(logs(third).out.find("126\n"), std::string::npos);
    release(lease);
}

TEST_F(GuardSystem, AnExecutionTimeoutEndsTheCommandAndWhatItStarted) {
    const std::string lease = acquire();
    // Without its end the second loop goes on until the test gives up.
    const std::string run = start(
        lease,
        "echo 600 | xargs sleep; echo $?; while grep -qsx sleep /proc/[0-9]*/comm; do :; done; "
        "echo gone"
    );
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    const std::string out = logs(run).out;  // where sh says "Terminated" is chance
    EXPECT_NE(out.find("143\n"), std::string::npos) << out;
    EXPECT_NE(out.find("gone\n"), std::string::npos) << out;
    bool found = false;
    for (const Json& record : records(run, "exec_ended")) {
        if (record.string_or("rule", "") != "short") continue;
        found = true;
        EXPECT_EQ(record.int_or("exit_code", 0), 143) << record.dump();
    }
    EXPECT_TRUE(found);
    release(lease);
}

TEST_F(GuardSystem, SigtermReachesWhoLeftForASessionOfItsOwn) {
    const std::string lease = acquire();
    const std::string run = start(
        lease,
        "trap 'wait; exit 7' TERM; setsid sh -c 'trap \"echo told; exit\" TERM; echo up; "
        "while :; do sleep 1; done' & wait; wait"
    );
    ASSERT_TRUE(suite().eventually([&] { return logs_so_far(run).find("up") != std::string::npos; })
    );
    EXPECT_LT(suite().api("POST", "/v1/runs/" + run + "/signal", R"({"signal":15})").status, 300);
    const Json end = ended(run);
    EXPECT_EQ(end.int_or("exit_code", 0), 7) << end.dump();
    EXPECT_NE(logs(run).out.find("told"), std::string::npos) << logs(run).out;
    release(lease);
}

TEST_F(GuardSystem, AFolderIsWhereItReallyIs) {
    const std::string lease = acquire(R"({"profile":"alone"})");
    const std::string run = start(
        lease,
        "mkdir -p in; ln -s /tmp out; ln -s in link; nproc >/dev/null; echo $?; cd link && nproc "
        ">/dev/null; echo $?; cd ../out && nproc 2>&1; echo $?"
    );
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    EXPECT_EQ(logs(run).out, "0\n0\nberth: denied by rule not-outside: outside of the tree\n126\n");
    EXPECT_EQ(records(run, "exec_denied")[0].string_or("rule", ""), "not-outside");
    release(lease);
}

TEST_F(GuardSystem, DangerousVariablesAreDroppedAndSetAnewAreAsked) {
    const std::string lease = acquire(R"({"profile":"alone"})");
    const std::string dropped = start(
        lease,
        "echo \"[$LD_PRELOAD$GIT_SSH_COMMAND$NODE_OPTIONS$BASH_ENV$PYTHONPATH$PLAIN]\"",
        R"(,"env":{"LD_PRELOAD":"/tmp/x.so","GIT_SSH_COMMAND":"x","NODE_OPTIONS":"x","BASH_ENV":"x","PYTHONPATH":"x","PLAIN":"kept"})"
    );
    EXPECT_EQ(ended(dropped).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    EXPECT_EQ(logs(dropped).out, "[kept]\n");
    for (const char* variable :
         {"LD_PRELOAD", "GIT_SSH_COMMAND", "NODE_OPTIONS", "BASH_ENV", "PYTHONPATH"}) {
        const std::string run =
            start(lease, std::string(variable) + "=/tmp/evil /bin/true 2>/dev/null; echo $?");
        const std::string asked = pending(run);
        const Said shown = cli("anna", {"approvals", asked});
        EXPECT_NE(shown.out.find(variable), std::string::npos) << shown.out << shown.err;
        EXPECT_EQ(cli("anna", {"deny", asked}).exit_code, 0);
        EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_SUCCEEDED");
        EXPECT_EQ(logs(run).out, "126\n") << variable;
    }
    release(lease);
}

}  // namespace
}  // namespace berth::testing
