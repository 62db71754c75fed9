// SPDX-License-Identifier: Apache-2.0
// behaviours: warden 3, 5, 10, 11, 12, 14 over the real services: quorum, groups and escalation,
// edited commands, every transition as a reader of the bus hears it, and many who ask at once.
#include <fstream>
#include <set>
#include <thread>

#include "core/text.hpp"
#include "support/sanitized.hpp"
#include "warden_system.hpp"

namespace berth::testing {
namespace {

constexpr const char* kGroups =
    "version: 1\n"
    "default: allow\n"
    "timeout: 10m\n"
    "groups:\n"
    "  leads: [anna]\n"
    "  oncall: [bert]\n"
    "rules:\n"
    "  - id: both\n"
    "    match: {executable: git, subcommand: push}\n"
    "    action: ask\n"
    "    ask: {approvers: [leads, oncall], quorum: 2}\n"
    "  - id: leads\n"
    "    match: {executable: git, subcommand: tag}\n"
    "    action: ask\n"
    "    ask: {approvers: [leads]}\n"
    "  - id: rising\n"
    "    match: {executable: git, subcommand: gc}\n"
    "    action: ask\n"
    "    ask: {timeout: 2s, on_deadline: escalate, approvers: [leads], escalate_to: [oncall]}\n"
    "  - id: patient\n"
    "    match: {executable: git, subcommand: fetch}\n"
    "    action: ask\n"
    "    ask: {timeout: 2s, on_deadline: wait}\n"
    "  - id: brief\n"
    "    match: {executable: git, subcommand: pull}\n"
    "    action: ask\n"
    "    ask: {timeout: 1s}\n"
    "  - id: never\n"
    "    match: {executable: git, subcommand: clean}\n"
    "    action: deny\n"
    "    reason: not here\n"
    "  - id: rest\n"
    "    match: {executable: git}\n"
    "    action: ask\n";

class WardenPeople : public WardenSystem {
protected:
    void SetUp() override {
        ASSERT_TRUE(suite().wait_ready()) << suite().status().dump();
        apply(kGroups);
    }
    static std::string code(const http::Response& response) { return member(response, "code"); }
    static std::string said(const std::string& fact, const std::string& about) {
        return suite().api("GET", "/v1/audit?limit=100&fact=" + fact).body.find(about) ==
                       std::string::npos
                   ? "nothing"
                   : fact;
    }
};

TEST_F(WardenPeople, AHaltThatStopsNothingDoesNotLookLikeOne) {
    for (const std::string& name :
         {make_id("m", Clock::system().now(), Random::system()), std::string("quick-badger")}) {
        const Said refused = cli("anna", {"halt", "--machine", name});
        EXPECT_NE(refused.exit_code, 0) << refused.out;
        EXPECT_NE(refused.err.find("nothing was halted"), std::string::npos) << refused.err;
        EXPECT_EQ(refused.out, "");
    }
    // No machine was heard in this deployment yet, so none is waited for.
    for (const bool json : {false, true}) {
        std::vector<std::string> words = {"halt", "--owner", "deev", "--wait", "300ms"};
        if (json) words.insert(words.end(), {"--json", "--reason", "\xFF\xFE odd"});
        const Said nobody = cli("anna", words);
        EXPECT_EQ(nobody.exit_code, 1) << nobody.out;
        EXPECT_EQ(nobody.out.find("is halted"), std::string::npos) << nobody.out;
        EXPECT_NE((nobody.out + nobody.err).find("NOTHING WAS STOPPED"), std::string::npos)
            << nobody.out << nobody.err;
    }
    const auto halts = json_of(suite().api("GET", "/v1/halts").body);
    ASSERT_EQ(halts.find("halts")->as_array()->size(), 2U) << "in advance";
    EXPECT_NE(halts.dump().find("\uFFFD\uFFFD odd"), std::string::npos) << halts.dump();
    for (const Json& halt : *halts.find("halts")->as_array())
        EXPECT_EQ(cli("bert", {"resume", halt.string_or("id", "")}).exit_code, 0);
}

TEST_F(WardenPeople, AQuorumNeedsTwoPeopleAndOneDenialIsEnough) {
    FakeNode node(*maker_);
    const auto pending = hold(node, "q1", {"git", "push"});
    EXPECT_EQ(pending.terms().quorum(), 2U);
    const auto first = decide("anna", pending.id(), true);
    EXPECT_EQ(first.status, 200) << first.body;
    EXPECT_EQ(member(first, "state"), "APPROVAL_STATE_PENDING");
    const auto again = decide("anna", pending.id(), true);
    EXPECT_EQ(member(again, "state"), "APPROVAL_STATE_PENDING") << "each counts once";
    EXPECT_FALSE(node.claim(pending, "q1")->go());
    const Said shown = cli("bert", {"approvals", pending.id()});
    EXPECT_NE(shown.out.find("1 of 2"), std::string::npos) << shown.out;
    const Said second = cli("bert", {"approve", pending.id()});
    EXPECT_EQ(second.exit_code, 0) << second.err;
    ASSERT_TRUE(node.decided("q1"));
    EXPECT_TRUE(node.decided("q1")->approve());
    EXPECT_TRUE(node.claim(pending, "q1")->go());
    const auto other = hold(node, "q2", {"git", "push", "-f"});
    EXPECT_EQ(decide("anna", other.id(), true).status, 200);
    EXPECT_EQ(decide("bert", other.id(), false).status, 200);
    EXPECT_FALSE(node.decided("q2")->approve());
    EXPECT_EQ(said("approval_voted", other.id()), "approval_voted");
    EXPECT_TRUE(chain_is_whole());
}

TEST_F(WardenPeople, OnlyTheGroupDecidesAndAtTheDeadlineTheNextOne) {
    FakeNode node(*maker_);
    const auto pending = hold(node, "g1", {"git", "tag", "v1"});
    const auto outside = decide("bert", pending.id(), true);
    EXPECT_EQ(outside.status, 403) << outside.body;
    EXPECT_EQ(code(outside), "not_in_group");
    EXPECT_EQ(state(pending.id()), "APPROVAL_STATE_PENDING");
    EXPECT_EQ(decide("anna", pending.id(), true).status, 200);
    EXPECT_EQ(said("decision_refused", pending.id()), "decision_refused");
    const auto rising = hold(node, "g2", {"git", "gc"});
    EXPECT_EQ(code(decide("bert", rising.id(), true)), "not_in_group");
    http::Response by_bert;
    ASSERT_TRUE(suite().eventually([&] {
        by_bert = decide("bert", rising.id(), true);
        return by_bert.status == 200;
    })) << by_bert.body;
    EXPECT_EQ(member(by_bert, "decided_by"), "bert");
    EXPECT_EQ(code(decide("anna", rising.id(), true)), "already_decided");
    EXPECT_TRUE(node.decided("g2")->approve());
    EXPECT_EQ(said("approval_escalated", rising.id()), "approval_escalated");
    // Nobody of either group: the deadline of the last one denies.
    const auto late = hold(node, "g3", {"git", "gc", "--auto"});
    ASSERT_TRUE(suite().eventually([&] { return state(late.id()) == "APPROVAL_STATE_EXPIRED"; }));
    EXPECT_FALSE(node.decided("g3")->approve());
}

TEST_F(WardenPeople, AnEditedCommandIsAPlanOfItsOwnByApiAndCli) {
    FakeNode node(*maker_);
    const auto edit = [](const std::string& approval, const std::string& argv) {
        return as(
            "anna",
            "POST",
            "/v1/approvals/" + approval + "/decide",
            R"({"approve":true,"comment":"without force","edited_argv":)" + argv + "}"
        );
    };
    const auto pending = hold(node, "e1", {"git", "stash", "drop", "--quiet"});
    EXPECT_EQ(code(edit(pending.id(), R"(["rm","-rf"])")), "bad_edit");
    EXPECT_EQ(code(edit(pending.id(), R"(["git","clean"])")), "denied_by_policy");
    EXPECT_EQ(state(pending.id()), "APPROVAL_STATE_PENDING");
    const auto edited = edit(pending.id(), R"(["git","stash","list"])");
    ASSERT_EQ(edited.status, 200) << edited.body;
    const Json made = json_of(edited.body);
    EXPECT_NE(made.string_or("id", ""), pending.id());
    EXPECT_EQ(made.find("plan")->string_or("replaces", ""), pending.plan().digest());
    EXPECT_NE(made.find("plan")->string_or("digest", ""), pending.plan().digest());
    EXPECT_EQ(
        member(suite().api("GET", "/v1/approvals/" + pending.id()), "replaced_by"),
        made.string_or("id", "-")
    );
    const auto told = node.decided("e1");
    ASSERT_TRUE(told);
    ASSERT_EQ(told->edited_argv_size(), 3);
    EXPECT_EQ(told->edited_argv(2), "list");
    EXPECT_EQ(told->reason(), "without force");
    EXPECT_EQ(told->digest(), made.find("plan")->string_or("digest", ""));
    EXPECT_FALSE(node.claim(pending, "e1")->go()) << "the old plan is over";
    warden::v1::Approval fresh;
    fresh.set_id(made.string_or("id", ""));
    fresh.mutable_plan()->set_digest(told->digest());
    EXPECT_TRUE(node.claim(fresh, "e1")->go());
    // By the CLI, and with a quorum: the second vote is of the new command.
    const auto both = hold(node, "e2", {"git", "push", "--force"});
    const Said by_cli = cli("anna", {"approve", both.id(), "--", "git", "push"});
    EXPECT_EQ(by_cli.exit_code, 0) << by_cli.err;
    const std::string next =
        member(suite().api("GET", "/v1/approvals/" + both.id()), "replaced_by");
    ASSERT_FALSE(next.empty());
    EXPECT_EQ(state(next), "APPROVAL_STATE_PENDING") << by_cli.out;
    EXPECT_EQ(decide("bert", next, true).status, 200);
    ASSERT_TRUE(node.decided("e2"));
    EXPECT_EQ(node.decided("e2")->edited_argv_size(), 2);
    EXPECT_EQ(said("approval_edited", both.id()), "approval_edited");
    EXPECT_TRUE(chain_is_whole());
}

TEST_F(WardenPeople, VotesAndGrantsEndWithTheRightToDecide) {
    apply(
        "version: 1\ndefault: allow\ntimeout: 10m\nrules:\n"
        "  - id: both\n    match: {executable: git, subcommand: push}\n    action: ask\n"
        "    ask: {quorum: 2}\n"
        "  - {id: rest, action: ask, match: {executable: git}}\n"
    );
    const auto made = suite().api("POST", "/v1/users", R"({"name":"cara","roles":["approver"]})");
    ASSERT_EQ(made.status, 201) << made.body;
    const auto token = suite().api("POST", "/v1/tokens", R"({"user":"cara"})");
    tokens_["cara"] = member(token, "text");
    FakeNode node(*maker_);
    const auto both = hold(node, "r1", {"git", "push"});
    EXPECT_EQ(decide("cara", both.id(), true).status, 200);
    const auto log = hold(node, "r2", {"git", "log"});
    (void)decide_times("cara", log.id(), 9);
    EXPECT_EQ(hold(node, "r3", {"git", "log"}).state(), warden::v1::APPROVAL_STATE_APPROVED);
    const Said more = cli("cara", {"approve", log.id(), "--times", "10"});
    EXPECT_NE(more.exit_code, 0) << "it is not what was decided: " << more.out;
    EXPECT_NE(more.err.find("nothing else was done"), std::string::npos) << more.err;
    ASSERT_EQ(suite().api("PATCH", "/v1/users/cara", R"({"disabled":true})").status, 200);
    ASSERT_TRUE(suite().eventually([&] { return said("vote_dropped", both.id()) == "vote_dropped"; }
    )) << suite().logs();
    EXPECT_EQ(hold(node, "r4", {"git", "log"}).state(), warden::v1::APPROVAL_STATE_PENDING);
    EXPECT_EQ(decide("anna", both.id(), true).status, 200);
    EXPECT_EQ(state(both.id()), "APPROVAL_STATE_PENDING") << "anna is the first of two";
    EXPECT_EQ(decide("bert", both.id(), true).status, 200);
    EXPECT_EQ(state(both.id()), "APPROVAL_STATE_APPROVED");
    EXPECT_EQ(said("grant_revoked", "cara may no longer decide"), "grant_revoked");
    EXPECT_TRUE(chain_is_whole());
}

TEST_F(WardenPeople, AReaderOfTheBusHearsEveryTransition) {
    const auto creds = suite().folder() / "transitions.creds";
    const Said given = suite().berth(
        {"events",
         "credentials",
         "--name",
         "transitions",
         "--org",
         "default",
         "--output",
         creds.string(),
         "--json"}
    );
    ASSERT_EQ(given.exit_code, 0) << given.err;
    const std::string inbox = json_of(given.out).string_or("inbox_prefix", "");
    const auto connection = maker_->connect(inbox, bus::credentials_from_file(creds.string()));
    std::mutex mutex;
    std::set<std::string> heard;
    std::vector<std::string> wrong;
    const auto ear = connection->subscribe("berth.evt.default.>", [&](const bus::Message& message) {
        const auto tokens = split(message.subject, '.');
        if (tokens.size() != 7 || tokens[3] != "warden") return;
        const std::lock_guard lock(mutex);
        heard.insert(std::string(tokens[4]) + " " + std::string(tokens[5]));
        warden::v1::ApprovalChanged approval;
        if (tokens[4] == "approval" &&
            (!approval.ParseFromString(message.payload) || approval.approval().id() != tokens[6]))
            wrong.push_back(message.subject);
    });
    ASSERT_TRUE(ear);
    ASSERT_TRUE(connection->flush(seconds{10}));

    apply(kGroups);
    FakeNode node(*maker_);
    node.presence();
    const auto both = hold(node, "t1", {"git", "push"});
    (void)decide("anna", both.id(), true);
    (void)decide("bert", both.id(), true);
    (void)decide("anna", hold(node, "t2", {"git", "tag"}).id(), false);
    (void)hold(node, "t3", {"git", "gc"});     // goes on to the next group, and expires there
    (void)hold(node, "t4", {"git", "fetch"});  // is reminded of
    (void)hold(node, "t5", {"git", "pull"});   // expires
    const auto gone = hold(node, "t6", {"git", "am"});
    warden::v1::Abandon abandon;
    abandon.set_approval(gone.id());
    EXPECT_TRUE(node.ask<common::v1::Empty>("berth.cmd.warden.abandon", abandon));
    const auto remember = [&](const std::string& name, const std::string& word) {
        const auto pending = hold(node, name, {"git", word});
        return member(decide_times("anna", pending.id(), 1), "grant");
    };
    (void)remember("t7", "log");
    EXPECT_EQ(hold(node, "t8", {"git", "log"}).state(), warden::v1::APPROVAL_STATE_APPROVED)
        << "which used the grant up";
    EXPECT_EQ(as("anna", "DELETE", "/v1/grants/" + remember("t9", "show")).status, 200);
    const auto lasting = hold(node, "t10", {"git", "diff"});
    (void)decide_times("anna", lasting.id(), 5);
    EXPECT_EQ(hold(node, "t11", {"git", "diff"}).state(), warden::v1::APPROVAL_STATE_APPROVED);
    const auto has = [&](const std::string& what) {
        return suite().eventually([&] {
            const std::lock_guard lock(mutex);
            return heard.contains(what);
        });
    };
    for (const char* what : {"approval escalated", "approval expired", "approval reminded"})
        EXPECT_TRUE(has(what)) << what;
    (void)hold(node, "t12", {"git", "mv"});
    const auto pressed = as("anna", "POST", "/v1/halts", R"({"scope":"org","reason":"drill"})");
    ASSERT_LT(pressed.status, 300) << pressed.body;
    const std::string halt = member(pressed, "id");
    EXPECT_EQ(halt.substr(0, 3), "hl_");
    warden::v1::Halted halted;
    halted.set_halt(halt);
    halted.mutable_answer()->set_mechanism("ptrace");
    EXPECT_TRUE(node.ask<common::v1::Empty>("berth.cmd.warden.halted", halted));
    EXPECT_EQ(as("bert", "POST", "/v1/halts/" + halt + "/resume").status, 200);
    for (const char* what :
         {"approval requested",
          "approval voted",
          "approval approved",
          "approval denied",
          "approval revoked",
          "approval abandoned",
          "grant made",
          "grant used",
          "grant ended",
          "grant revoked",
          "policy applied",
          "halt pressed",
          "halt confirmed",
          "halt resumed"})
        EXPECT_TRUE(has(what)) << what;
    ear.value()->stop();
    const std::lock_guard lock(mutex);
    EXPECT_TRUE(wrong.empty()) << wrong.front();
}

/// Resident memory of a process, in MiB.
double resident_mib(pid_t pid) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1'024;
    }
    return -1;
}

TEST_F(WardenPeople, AHundredAsksOfOneMachineAtOnceAreAllHeldAndMemoryStaysBounded) {
    constexpr int kAsks = 100;
    constexpr int kRounds = 5;
    constexpr double kMostMib = 64;  // that 500 asks may add; one has a few kilobytes
    FakeNode node(*maker_);
    (void)decide("anna", hold(node, "warm", {"git", "warm"}).id(), false);
    const double before = resident_mib(suite().pid("warden"));
    ASSERT_GT(before, 0);
    std::set<std::string> ids;
    for (int round = 0; round < kRounds; ++round) {
        std::mutex mutex;
        std::vector<std::thread> askers;
        std::vector<std::string> mine;
        for (int i = 0; i < kAsks; ++i) {
            askers.emplace_back([&, i] {
                const std::string name = "m" + std::to_string(round * kAsks + i);
                const auto pending =
                    hold(node, name, {"git", "apply", std::string(2'000, 'x'), name});
                const std::lock_guard lock(mutex);
                EXPECT_EQ(pending.state(), warden::v1::APPROVAL_STATE_PENDING);
                mine.push_back(pending.id());
            });
        }
        for (auto& asker : askers) asker.join();
        ids.insert(mine.begin(), mine.end());
        for (const auto& id : mine) EXPECT_EQ(decide("anna", id, false).status, 200);
    }
    EXPECT_EQ(ids.size(), static_cast<std::size_t>(kAsks * kRounds)) << "none lost, none doubled";
    for (int i = 0; i < kAsks * kRounds; ++i)
        ASSERT_TRUE(node.decided("m" + std::to_string(i))) << i;
    const double after = resident_mib(suite().pid("warden"));
    std::cout << "warden's resident memory: " << before << " MiB, after 500 asks " << after
              << " MiB\n";
    if (!kSanitized) {
        EXPECT_LT(after - before, kMostMib);
    }
    EXPECT_TRUE(chain_is_whole());
}

}  // namespace
}  // namespace berth::testing
