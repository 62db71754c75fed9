// SPDX-License-Identifier: Apache-2.0
// behaviours: warden 2, 4, 5, 6, 10, 11, 12, 13, 14, of the service, with two of each service and
// machines that the test plays. What happens on a machine is guard_system_test's.
#include "warden_system.hpp"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <iostream>
#include <thread>

namespace berth::testing {
namespace {

TEST_F(WardenSystem, AHeldCommandIsShownApprovedAndClaimedOnce) {
    FakeNode node(*maker_);
    const auto pending = hold(node, "h1", {"git", "push", "origin"});
    ASSERT_EQ(pending.state(), warden::v1::APPROVAL_STATE_PENDING);
    const Said listed = cli("anna", {"approvals"});
    EXPECT_EQ(listed.exit_code, 0) << listed.err;
    EXPECT_NE(listed.out.find(pending.id()), std::string::npos) << listed.out;
    const Said shown = cli("anna", {"approvals", pending.id()});
    EXPECT_NE(shown.out.find("/usr/bin/git"), std::string::npos) << shown.out << shown.err;
    EXPECT_NE(shown.out.find("olga"), std::string::npos);
    EXPECT_EQ(node.decisions(), 0U);
    const Said approved = cli("anna", {"approve", pending.id(), "--comment", "go on"});
    EXPECT_EQ(approved.exit_code, 0) << approved.err;
    const auto told = node.decided("h1");
    ASSERT_TRUE(told);
    EXPECT_TRUE(told->approve());
    EXPECT_EQ(told->reason(), "go on");
    EXPECT_EQ(told->digest(), pending.plan().digest());
    EXPECT_TRUE(node.claim(pending, "h1")->go());
    EXPECT_TRUE(node.claim(pending, "h1")->go()) << "the same question, the same answer";
    EXPECT_FALSE(node.claim(pending, "h2")->go());
    const Said late = cli("bert", {"deny", pending.id()});
    EXPECT_EQ(late.exit_code, 1);
    EXPECT_NE(late.err.find("anna"), std::string::npos) << late.err;
    const Said verified = cli("anna", {"audit", "verify"});
    EXPECT_EQ(verified.exit_code, 0) << verified.out;
    const Said exported = cli("anna", {"audit", "export"});
    EXPECT_NE(exported.out.find("\"fact\":\"exec_released\""), std::string::npos) << exported.err;
    EXPECT_EQ(cli("anna", {"audit", "export", "--json", "--from", "1000000000"}).out, "");
    const Said queried = cli("anna", {"audit", "query", "--fact", "approval_decided"});
    EXPECT_NE(queried.out.find("anna"), std::string::npos) << queried.out << queried.err;
}

TEST_F(WardenSystem, ADecisionIsAtTheMachineAtOnce) {
    constexpr int kDecisions = 60;
    FakeNode node(*maker_);
    std::vector<milliseconds::rep> micros;
    for (int i = 0; i < kDecisions; ++i) {
        const std::string name = "t" + std::to_string(i);
        const auto pending = hold(node, name);
        const SteadyTime begun = std::chrono::steady_clock::now();
        ASSERT_EQ(decide("anna", pending.id(), true).status, 200);
        ASSERT_TRUE(node.decided(name));
        ASSERT_TRUE(node.claim(pending, name)->go());
        micros.push_back(std::chrono::duration_cast<std::chrono::microseconds>(
                             std::chrono::steady_clock::now() - begun
        )
                             .count());
    }
    std::sort(micros.begin(), micros.end());
    const auto median = micros[micros.size() / 2];
    std::cout << "from the click by HTTP to the machine's go: median " << median << " us\n";
    RecordProperty("click_to_go_us", static_cast<int>(median));
    EXPECT_LT(median, 200'000) << "the limit of failure; the number is what is read";
}

TEST_F(WardenSystem, AThousandRacesLeaveOneDecisionEach) {
    constexpr int kRaces = 1'000;
    FakeNode node(*maker_);
    std::atomic<int> approved{0};
    for (int i = 0; i < kRaces; ++i) {
        const std::string name = "race" + std::to_string(i);
        const auto pending = hold(node, name, {"git", "push", std::to_string(i)});
        ASSERT_EQ(pending.state(), warden::v1::APPROVAL_STATE_PENDING);
        auto other = std::async(std::launch::async, [&] {
            return decide("bert", pending.id(), false, true);
        });
        const auto mine = decide("anna", pending.id(), true);
        const auto theirs = other.get();
        const bool won = mine.status == 200;
        ASSERT_NE(won, theirs.status == 200) << mine.body << theirs.body << suite().logs();
        const auto& lost = won ? theirs : mine;
        ASSERT_EQ(lost.status, 409) << lost.body;
        EXPECT_EQ(member(lost, "code"), "already_decided") << lost.body;
        EXPECT_NE(lost.body.find(won ? "by anna" : "by bert"), std::string::npos) << lost.body;
        const auto told = node.decided(name);
        ASSERT_TRUE(told) << i;
        EXPECT_EQ(told->approve(), won);
        const auto claimed = node.claim(pending, name);
        ASSERT_TRUE(claimed) << claimed.error().describe();
        EXPECT_EQ(claimed->go(), won) << "ran 0 or 1 times accordingly";
        approved += won ? 1 : 0;
    }
    RecordProperty("approved", approved.load());
    EXPECT_TRUE(chain_is_whole());
}

TEST_F(WardenSystem, AHundredPendingOutliveEveryService) {
    constexpr int kPending = 100;
    FakeNode node(*maker_);
    std::vector<warden::v1::Approval> pending;
    for (int i = 0; i < kPending; ++i)
        pending.push_back(hold(node, "p" + std::to_string(i), {"git", "push", std::to_string(i)}));
    extra_.at("warden")->kill9();
    for (const char* part :
         {"warden", "gateway", "run", "lease", "prov", "postgres", "nats", "warden"}) {
        suite().kill9(part);
        ASSERT_TRUE(suite().wait_ready()) << part << suite().status().dump();
    }
    extra_["warden"] = std::make_unique<Replica>(suite(), "warden");
    extra_["gateway"] = std::make_unique<Replica>(suite(), "gateway");
    for (int i = 0; i < kPending; ++i) {
        const auto& approval = pending[static_cast<std::size_t>(i)];
        http::Response decided;
        ASSERT_TRUE(suite().eventually([&] {
            decided = decide("anna", approval.id(), i % 2 == 0);
            return decided.status != 0 && decided.status < 500;
        }));
        EXPECT_EQ(decided.status, 200) << decided.body;
    }
    for (int i = 0; i < kPending; ++i) {
        const std::string name = "p" + std::to_string(i);
        const auto told = node.decided(name);
        ASSERT_TRUE(told) << name << suite().logs();
        EXPECT_EQ(told->approve(), i % 2 == 0);
    }
    EXPECT_TRUE(chain_is_whole());
}

TEST_F(WardenSystem, ADeadlineThatPassesWhileNobodyIsThereStillCounts) {
    apply(
        "version: 1\ndefault: allow\ntimeout: 3s\nrules:\n  - id: soon\n    match: {executable: "
        "git}\n"
        "    action: ask\n"
    );
    FakeNode node(*maker_);
    const auto pending = hold(node, "d1");
    extra_.at("warden")->kill9();
    ::kill(suite().pid("warden"), SIGKILL);
    const auto told = node.decided("d1");
    ASSERT_TRUE(told) << suite().logs();
    EXPECT_FALSE(told->approve());
    EXPECT_EQ(state(pending.id()), "APPROVAL_STATE_EXPIRED");
    const auto late = decide("anna", pending.id(), true);
    EXPECT_EQ(late.status, 409);
    EXPECT_EQ(member(late, "code"), "approval_expired");
    const auto audited = suite().api("GET", "/v1/audit?fact=decision_refused&user=anna&limit=1");
    EXPECT_NE(audited.body.find(pending.id()), std::string::npos) << audited.body;
    ASSERT_TRUE(suite().wait_ready());
    extra_["warden"] = std::make_unique<Replica>(suite(), "warden");
}

TEST_F(WardenSystem, AHaltReachesEveryMachineAndVoidsEverything) {
    constexpr int kMachines = 100;
    constexpr int kEach = 1;
    std::vector<std::unique_ptr<FakeNode>> nodes;
    for (int i = 0; i < kMachines; ++i) nodes.push_back(std::make_unique<FakeNode>(*maker_));
    std::vector<std::string> pending;
    for (int i = 0; i < kMachines * kEach; ++i) {
        FakeNode& node = *nodes[static_cast<std::size_t>(i % kMachines)];
        pending.push_back(hold(node, "x" + std::to_string(i)).id());
    }
    const auto approved = hold(*nodes[0], "approved");
    ASSERT_EQ(decide("anna", approved.id(), true).status, 200);
    ASSERT_TRUE(nodes[0]->decided("approved"));
    for (auto& node : nodes) node->presence();

    const SteadyTime pressed_at = std::chrono::steady_clock::now();
    auto pressed = std::async(std::launch::async, [&] {
        return cli("anna", {"halt", "--reason", "drill", "--wait", "20s", "--json"});
    });
    std::string halt;
    for (auto& node : nodes) {
        ASSERT_TRUE(node->await_beat([&](const warden::v1::Beat& beat) {
            if (beat.halts_size() == 1) halt = beat.halts(0).id();
            return beat.halts_size() == 1;
        }));
    }
    const auto reached = std::chrono::steady_clock::now() - pressed_at;
    RecordProperty(
        "halt_reached_ms",
        static_cast<int>(std::chrono::duration_cast<milliseconds>(reached).count())
    );
    EXPECT_FALSE(nodes[0]->claim(approved, "approved")->go()) << "between approved and exec";
    // As machines do, all at once.
    std::vector<std::future<bool>> confirmed;
    for (auto& node : nodes) {
        confirmed.push_back(std::async(std::launch::async, [&] {
            warden::v1::Halted halted;
            halted.set_halt(halt);
            halted.mutable_answer()->set_mechanism("cgroup2");
            return node->ask<common::v1::Empty>("berth.cmd.warden.halted", halted).has_value();
        }));
    }
    for (auto& one : confirmed) EXPECT_TRUE(one.get());
    const auto known =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - pressed_at);
    std::cout << kMachines << " machines: a halt reached the last after "
              << std::chrono::duration_cast<milliseconds>(reached).count()
              << " ms, and warden knows of all after " << known.count()
              << " ms, the CLI's start and what the test asked in between included\n";
    RecordProperty("halt_confirmed_ms", static_cast<int>(known.count()));
    const Said said = pressed.get();
    EXPECT_EQ(said.exit_code, 0) << said.out << said.err;
    EXPECT_EQ(json_of(said.out).find("answers")->as_array()->size(), nodes.size()) << said.out;
    for (const auto& id : pending) EXPECT_EQ(state(id), "APPROVAL_STATE_REVOKED");
    EXPECT_EQ(hold(*nodes[1], "new").state(), warden::v1::APPROVAL_STATE_REVOKED);
    EXPECT_EQ(cli("anna", {"resume", halt}).exit_code, 1) << "never who pressed it";
    const Said resumed = cli("bert", {"resume", halt});
    EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_TRUE(nodes[0]->await_beat([](const auto& beat) { return beat.halts_size() == 0; }));
    EXPECT_EQ(hold(*nodes[1], "after").state(), warden::v1::APPROVAL_STATE_PENDING);
    EXPECT_FALSE(nodes[0]->claim(approved, "approved")->go());
    EXPECT_TRUE(chain_is_whole());
}

TEST_F(WardenSystem, AHaltNamesTheMachineThatDoesNotConfirm) {
    FakeNode silent(*maker_);
    silent.presence();
    const auto heard = [&] {
        const Said said = cli("anna", {"halt", "--machine", silent.machine(), "--wait", "300ms"});
        EXPECT_NE(said.out.find(silent.machine()), std::string::npos) << said.out << said.err;
        return said;
    };
    const Said said = heard();
    EXPECT_EQ(said.exit_code, 1) << said.out;
    EXPECT_NE(said.out.find("NOT CONFIRMED"), std::string::npos) << said.out;
    const auto halts = json_of(suite().api("GET", "/v1/halts").body);
    for (const Json& halt : *halts.find("halts")->as_array())
        EXPECT_EQ(cli("bert", {"resume", halt.string_or("id", "")}).exit_code, 0);
}

TEST_F(WardenSystem, AListThatIsCutSaysWhereItGoesOn) {
    FakeNode node(*maker_);
    for (const char* name : {"c1", "c2", "c3"}) {
        const auto pending = hold(node, name, {"git", "push", name});
        (void)decide_times("anna", pending.id(), 9);
    }
    const std::string more = "there are more: --cursor ";
    for (const std::vector<std::string>& list : std::vector<std::vector<std::string>>{
             {"approvals", "--all"}, {"grants"}, {"audit", "query"}}) {
        std::vector<std::string> words = list;
        for (const char* word : {"--limit", "2"}) words.emplace_back(word);
        const Said first = cli("anna", words);
        ASSERT_EQ(first.exit_code, 0) << first.err;
        const auto at = first.err.find(more);
        ASSERT_NE(at, std::string::npos) << list[0] << ": " << first.err;
        const auto begin = at + more.size();
        words.emplace_back("--cursor");
        words.push_back(first.err.substr(begin, first.err.find('\n', begin) - begin));
        const Said next = cli("anna", words);
        EXPECT_EQ(next.exit_code, 0) << next.err;
        EXPECT_NE(next.out, first.out);
    }
}

TEST_F(WardenSystem, NoCommandIsJudgedByHalfAPolicy) {
    const auto policy = [](int which) {
        return "version: 1\ndefault: allow\ngroups:\n  group-" + std::to_string(which) +
               ": [anna, bert]\nrules:\n  - id: rule-" + std::to_string(which) +
               "\n    match: {executable: git}\n    action: ask\n    ask:\n      approvers: "
               "[group-" +
               std::to_string(which) + "]\n      quorum: " + std::to_string(1 + which % 2) + "\n";
    };
    FakeNode node(*maker_);
    apply(policy(0));
    std::atomic<bool> done{false};
    auto swapping = std::async(std::launch::async, [&] {
        int swaps = 0;
        for (; !done; ++swaps) apply(policy(swaps));
        return swaps;
    });
    constexpr int kAsks = 300;
    for (int i = 0; i < kAsks; ++i) {
        const auto pending = hold(node, "s" + std::to_string(i));
        ASSERT_EQ(pending.group_size(), 1);
        const std::string which = pending.terms().rule().substr(5);
        EXPECT_EQ(pending.group(0), "group-" + which);
        EXPECT_EQ(pending.terms().quorum(), 1U + std::stoul(which) % 2);
    }
    done = true;
    EXPECT_GT(swapping.get(), 10);
    EXPECT_TRUE(chain_is_whole());
}

TEST_F(WardenSystem, ASoakOfManyMachinesIsAuditedWhole) {
    constexpr int kMachines = 4;
    constexpr int kCommands = 250;  // of each machine
    constexpr int kApprovals = 25;  // likewise
    const auto count_of = [](const std::string& fact) {
        const auto exported = suite().api("GET", "/v1/audit/export");
        EXPECT_EQ(exported.status, 200);
        int count = 0;
        const std::string member = "\"fact\":\"" + fact + "\"";
        for (auto at = exported.body.find(member); at != std::string::npos;
             at = exported.body.find(member, at + 1))
            ++count;
        return count;
    };
    const int ended_before = count_of("exec_ended");
    const int decided_before = count_of("approval_decided");
    Suite::CommandOptions options;
    options.env = {{"BERTH_SERVER", suite().url()}, {"BERTH_TOKEN", tokens_.at("anna")}};
    const auto watching = suite().start({"approvals", "--watch"}, options);
    std::vector<std::thread> machines;
    for (int machine = 0; machine < kMachines; ++machine) {
        machines.emplace_back([&] {
            FakeNode node(*maker_);
            for (int i = 0; i < kCommands; i += 10) {
                warden::v1::Record batch;
                for (int each = i; each < i + 10; ++each) {
                    for (const char* fact : {"exec_started", "exec_ended"}) {
                        warden::v1::AuditRecord& record = *batch.add_records();
                        record.set_fact(fact);
                        record.mutable_origin()->set_org("default");
                        record.mutable_origin()->set_user("olga");
                        record.set_command("make " + std::to_string(each));
                    }
                }
                EXPECT_TRUE(node.ask<common::v1::Empty>("berth.cmd.warden.record", batch));
                if (i / 10 >= kApprovals) continue;
                const std::string name = "soak" + std::to_string(i);
                const auto pending = hold(node, name);
                EXPECT_EQ(decide("anna", pending.id(), true).status, 200);
                EXPECT_TRUE(node.decided(name));
                EXPECT_TRUE(node.claim(pending, name)->go());
            }
        });
    }
    for (auto& machine : machines) machine.join();
    EXPECT_TRUE(chain_is_whole());
    EXPECT_EQ(count_of("exec_ended") - ended_before, kMachines * kCommands);
    EXPECT_EQ(count_of("approval_decided") - decided_before, kMachines * kApprovals);
    EXPECT_TRUE(watching->wait_out("requested"));
    EXPECT_TRUE(watching->wait_out("approved"));
    watching->signal(SIGINT);
}

TEST_F(WardenSystem, WhatIsChangedInTheDatabaseIsFound) {
    FakeNode node(*maker_);
    warden::v1::Record batch;
    for (int i = 0; i < 50; ++i) {
        warden::v1::AuditRecord& record = *batch.add_records();
        record.set_fact("exec_ended");
        record.mutable_origin()->set_org("default");
        record.mutable_origin()->set_user("olga");
        record.set_command("curl -H 'Authorization: Bearer hunter2hunter2hunter2' x");
        record.set_exit_code(0);
    }
    ASSERT_TRUE(node.ask<common::v1::Empty>("berth.cmd.warden.record", batch));
    const auto page = suite().api("GET", "/v1/audit?fact=exec_ended&limit=1");
    EXPECT_EQ(page.body.find("hunter2"), std::string::npos) << page.body;
    ASSERT_TRUE(chain_is_whole());
    store::Pool pool = database();
    const auto head = pool.exec_autocommit("SELECT max(sequence) FROM audit WHERE org = 'default'");
    ASSERT_TRUE(head) << head.error().describe();
    const std::string at = std::to_string((*head)[0].int64(0) - 10);
    const auto broken = [&](const std::string& change) {
        ASSERT_TRUE(pool.exec_autocommit("CREATE TABLE kept AS SELECT * FROM audit"));
        ASSERT_TRUE(pool.exec_autocommit(store::Statement(change))) << change;
        const Said verdict = cli("anna", {"audit", "verify"});
        EXPECT_EQ(verdict.exit_code, 1) << change;
        EXPECT_NE(verdict.out.find("record " + at + ":"), std::string::npos)
            << change << verdict.out << verdict.err;
        ASSERT_TRUE(pool.exec_autocommit("DELETE FROM audit"));
        ASSERT_TRUE(pool.exec_autocommit("INSERT INTO audit SELECT * FROM kept"));
        ASSERT_TRUE(pool.exec_autocommit("DROP TABLE kept"));
    };
    broken("DELETE FROM audit WHERE org = 'default' AND sequence = " + at);
    broken(
        "UPDATE audit SET body = (SELECT body FROM audit WHERE org = 'default' AND sequence = " +
        at + " - 1) WHERE org = 'default' AND sequence = " + at
    );
    broken("UPDATE audit SET username = 'eve' WHERE org = 'default' AND sequence = " + at);
    EXPECT_TRUE(chain_is_whole());
}

TEST_F(WardenSystem, StrangersAndCookiesChangeNothing) {
    FakeNode node(*maker_);
    const auto pending = hold(node, "c1");
    const std::string path = "/v1/approvals/" + pending.id() + "/decide";
    const auto cookie = suite().api_at(
        suite().url(),
        "POST",
        path,
        R"({"approve":true})",
        {{"Authorization", ""}, {"Cookie", "token=" + tokens_.at("anna")}}
    );
    EXPECT_EQ(cookie.status, 401) << cookie.body;
    const auto made =
        suite().api("POST", "/v1/tokens", R"({"user":"admin","roles":["viewer"],"label":"eyes"})");
    const auto viewer = suite().api_at(
        suite().url(),
        "POST",
        path,
        R"({"approve":true})",
        {{"Authorization", "Bearer " + member(made, "text")}}
    );
    EXPECT_EQ(viewer.status, 403) << viewer.body;
    EXPECT_EQ(state(pending.id()), "APPROVAL_STATE_PENDING");
    const auto bad = suite().api(
        "PUT",
        "/v1/policy",
        Json::object().set("text", "version: 1\nruls: []\n").set("name", "p.yaml").dump()
    );
    EXPECT_EQ(bad.status, 400);
    EXPECT_NE(bad.body.find("p.yaml:2:1"), std::string::npos) << bad.body;
}

}  // namespace
}  // namespace berth::testing
