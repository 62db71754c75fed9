// SPDX-License-Identifier: Apache-2.0
// What outlives nothing: votes and grants end with the right to decide; what is asked of warden and
// cannot be done is refused where it was asked.
#include "berth/gateway/v1/gateway.pb.h"
#include "berth/lease/v1/lease.pb.h"
#include "berth/prov/v1/prov.pb.h"
#include "warden/test_world.hpp"

namespace berth::warden {
namespace {

std::string led_by(const std::string& leads, const std::string& more = {}) {
    return "version: 1\ndefault: allow\ngroups: {leads: [" + leads +
           "]}\nrules:\n  - id: pushes\n    action: ask\n    match: {executable: /usr/bin/git}\n"
           "    ask: {approvers: [leads]" +
           more + "}\n";
}

class WardenRightsTest : public WardenTest {
protected:
    v1::Decide approval(const std::string& id, const std::string& user) {
        v1::Decide request;
        *request.mutable_actor() = actor(user, "approver");
        request.set_approval(id);
        request.set_approve(true);
        return request;
    }
    Result<v1::Approval> send(const v1::Decide& request) {
        return ask<v1::Approval>("berth.cmd.warden.decide", request);
    }
    void change(const std::string& user, const std::string& role, bool disabled) {
        gateway::v1::UserChanged fact;
        fact.mutable_user()->set_name(user);
        fact.mutable_user()->set_org(kOrg);
        fact.mutable_user()->add_roles(role);
        fact.mutable_user()->set_disabled(disabled);
        fact.set_revision(++changes_);
        publish("berth.evt.acme.gateway.user.changed." + user, fact);
        ASSERT_TRUE(eventually([&] {
            const auto rows = pool_->exec_autocommit(
                {"SELECT 1 FROM users WHERE name = $1 AND revision = $2", "heard"},
                {user, static_cast<std::int64_t>(changes_)}
            );
            return rows && !rows->empty();
        }));
    }
    Result<v1::Halt> press(
        v1::HaltScope scope, const std::string& target, const std::string& reason = {}
    ) {
        v1::PressHalt request;
        *request.mutable_actor() = actor("anna", "approver");
        request.set_scope(scope);
        request.set_target(target);
        request.set_reason(reason);
        return ask<v1::Halt>("berth.cmd.warden.halt", request);
    }

    std::uint64_t changes_ = 0;
};

TEST_F(WardenRightsTest, AGrantEndsWhereItsMakerIsNoLongerAsked) {
    ASSERT_TRUE(apply(led_by("anna, bob")));
    ASSERT_TRUE(decide(hold("h1")->id(), "anna", true, v1::GRANT_SCOPE_SESSION));
    EXPECT_EQ(hold("h2")->state(), v1::APPROVAL_STATE_APPROVED);
    ASSERT_TRUE(apply(led_by("bob")));
    const auto asked = hold("h3");
    EXPECT_EQ(asked->state(), v1::APPROVAL_STATE_PENDING) << "the group is another by now";
    ASSERT_TRUE(decide(asked->id(), "bob", true, v1::GRANT_SCOPE_SESSION));
    EXPECT_EQ(hold("h4")->state(), v1::APPROVAL_STATE_APPROVED);
}

TEST_F(WardenRightsTest, AGrantOfTheGroupThatWasAskedNextIsUsed) {
    ASSERT_TRUE(
        apply("version: 1\ndefault: allow\ngroups: {leads: [anna], oncall: [bert]}\n"
              "rules:\n  - id: pushes\n    action: ask\n"
              "    match: {executable: /usr/bin/git}\n"
              "    ask: {approvers: [leads], on_deadline: escalate, escalate_to: "
              "[oncall], timeout: 10m}\n")
    );
    const auto pending = hold("h1");
    ASSERT_TRUE(pool_->transact([&](store::Transaction& tx) {
        return handlers_->pass_deadline(
            tx, kOrg, pending->id(), Clock::system().now() + std::chrono::hours{1}
        );
    }));
    ASSERT_TRUE(decide(pending->id(), "bert", true, v1::GRANT_SCOPE_SESSION));
    EXPECT_EQ(hold("h2")->state(), v1::APPROVAL_STATE_APPROVED);
}

TEST_F(WardenRightsTest, GrantsAndVotesEndWithTheRightToDecide) {
    ASSERT_TRUE(apply(led_by("anna, bob, cara", ", quorum: 2")));
    const auto both = hold("h1", {"git", "push"});
    ASSERT_TRUE(decide(both->id(), "anna", true));
    ASSERT_TRUE(apply(kPolicy));
    for (const char* user : {"anna", "bob"})
        ASSERT_TRUE(decide(
            hold(std::string("g") + user, {"git", user})->id(), user, true, v1::GRANT_SCOPE_SESSION
        ));
    EXPECT_EQ(hold("h2", {"git", "anna"})->state(), v1::APPROVAL_STATE_APPROVED);

    change("anna", "approver", true);
    EXPECT_EQ(hold("h3", {"git", "anna"})->state(), v1::APPROVAL_STATE_PENDING);
    EXPECT_EQ(hold("h4", {"git", "bob"})->state(), v1::APPROVAL_STATE_APPROVED);
    EXPECT_EQ(look(both->id()).votes_size(), 0);
    EXPECT_EQ(decide(both->id(), "bob", true)->state(), v1::APPROVAL_STATE_PENDING);
    REFUSED(decide(both->id(), "anna", true), "not_approver");
    EXPECT_EQ(decide(both->id(), "cara", true)->state(), v1::APPROVAL_STATE_APPROVED);
    ASSERT_EQ(audit("vote_dropped").size(), 1U);
    EXPECT_EQ(audit("vote_dropped")[0].user(), "anna");
    ASSERT_EQ(audit("grant_revoked").size(), 1U);
    EXPECT_NE(audit("grant_revoked")[0].reason().find("anna"), std::string::npos);

    change("bob", "viewer", false);
    EXPECT_EQ(hold("h5", {"git", "bob"})->state(), v1::APPROVAL_STATE_PENDING);
    change("anna", "admin", false);
    EXPECT_EQ(hold("h6", {"git", "anna"})->state(), v1::APPROVAL_STATE_PENDING)
        << "what was void stays void";
    EXPECT_TRUE(decide(hold("h7", {"git", "anew"})->id(), "anna", true));
    EXPECT_TRUE(verify().whole());
}

TEST_F(WardenRightsTest, ARepetitionThatSaysMoreIsToldThatNothingElseWasDone) {
    ASSERT_TRUE(apply(kPolicy));
    const auto once = hold("h1");
    ASSERT_TRUE(decide(once->id(), "anna", true));
    EXPECT_TRUE(decide(once->id(), "anna", true)) << "the same again";
    const auto more = decide(once->id(), "anna", true, v1::GRANT_SCOPE_SESSION);
    REFUSED(more, "already_decided");
    EXPECT_NE(more.error().message.find("nothing else was done"), std::string::npos);
    v1::Decide edited = approval(once->id(), "anna");
    for (const char* word : {"git", "push", "--dry-run"}) edited.add_edited_argv(word);
    REFUSED(send(edited), "already_decided");

    const auto remembered = hold("h2");
    const auto granted = decide(remembered->id(), "anna", true, v1::GRANT_SCOPE_TIMES);
    ASSERT_TRUE(granted);
    EXPECT_TRUE(decide(remembered->id(), "anna", true, v1::GRANT_SCOPE_TIMES));
    v1::Decide wider = approval(remembered->id(), "anna");
    wider.set_scope(v1::GRANT_SCOPE_TIMES);
    wider.set_times(3);
    const auto refused = send(wider);
    REFUSED(refused, "already_decided");
    EXPECT_NE(refused.error().message.find(granted->grant()), std::string::npos);
    wider.set_times(2);
    for (const char* word : {"git", "*"}) wider.add_argv_pattern(word);
    REFUSED(send(wider), "already_decided");
}

TEST_F(WardenRightsTest, AnEditKeepsTheScript) {
    ASSERT_TRUE(apply("version: 1\ndefault: ask\nrules: []\n"));
    const auto script = [&](const std::string& held, const std::vector<std::string>& argv) {
        v1::Ask request = asked(held, argv);
        v1::Plan& plan = *request.mutable_plan();
        plan.mutable_executable()->set_path("/usr/bin/bash");
        if (argv[1] != "-c") {
            plan.mutable_script()->set_path("/work/" + argv[1]);
            plan.mutable_script()->set_sha256(std::string(64, 'b'));
        }
        plan.set_digest(policy::digest(policy::to_plan(plan)));
        const auto reply = ask<v1::Approval>("berth.cmd.warden.ask.m_1", request);
        EXPECT_TRUE(reply) << (reply ? "" : reply.error().describe());
        return reply ? reply->id() : std::string();
    };
    const auto edit = [&](const std::string& id, const std::vector<std::string>& argv) {
        v1::Decide request = approval(id, "anna");
        for (const auto& word : argv) request.add_edited_argv(word);
        return send(request);
    };
    const std::string file = script("h1", {"bash", "s1.sh", "all"});
    for (const std::vector<std::string>& other :
         {std::vector<std::string>{"bash", "s2.sh", "all"}, {"bash", "-c", "true"}, {"bash"}}) {
        const auto refused = edit(file, other);
        REFUSED(refused, "bad_edit");
        EXPECT_NE(refused.error().message.find("asked anew"), std::string::npos);
    }
    EXPECT_EQ(state(file), "pending");
    EXPECT_EQ(edit(file, {"bash", "-x", "s1.sh", "one"})->state(), v1::APPROVAL_STATE_APPROVED);
    const std::string told = script("h2", {"bash", "-c", "make all"});
    REFUSED(edit(told, {"bash", "s2.sh"}), "bad_edit");
    EXPECT_TRUE(edit(told, {"bash", "-c", "make one"}));
}

TEST_F(WardenRightsTest, AHaltOfAMachineThatIsNotThereIsRefused) {
    prov::v1::MachineFact fact;
    for (const char* machine : {"m_1", "m_2"}) {
        fact.set_machine(machine);
        publish(std::string("berth.evt.acme.prov.machine.ready.") + machine, fact);
    }
    fact.set_machine("m_3");
    publish("berth.evt.globex.prov.machine.ready.m_3", fact);
    fact.set_machine("m_2");
    publish("berth.evt.acme.prov.machine.gone.m_2", fact);
    lease::v1::LeaseChanged leased;
    leased.mutable_lease()->set_id("ls_1");
    leased.mutable_lease()->set_slug("quick-badger");
    leased.mutable_lease()->set_org(kOrg);
    leased.mutable_lease()->set_machine("m_1");
    publish("berth.evt.acme.lease.lease.activated.ls_1", leased);
    ASSERT_TRUE(eventually([&] {
        const auto rows = pool_->exec_autocommit(
            "SELECT 1 FROM machines, leases WHERE machines.gone_at IS NOT NULL"
        );
        return rows && !rows->empty();
    }));
    for (const char* name : {"m_404", "m_2", "m_3", "slow-badger"}) {
        const auto refused = press(v1::HALT_SCOPE_MACHINE, name);
        REFUSED(refused, "machine_not_found");
        EXPECT_NE(refused.error().message.find("nothing was halted"), std::string::npos) << name;
    }
    EXPECT_TRUE(handlers_->beat(kOrg, Clock::system().now())->halts().empty());
    // One that is silent is waited for, and so is one that was only heard.
    presences_.hear("m_5", kOrg, std::chrono::steady_clock::now());
    for (const char* name : {"m_1", "quick-badger", "ls_1", "m_5"}) {
        const auto halt = press(v1::HALT_SCOPE_MACHINE, name);
        ASSERT_TRUE(halt) << halt.error().describe();
        EXPECT_EQ(halt->target(), std::string(name) == "m_5" ? "m_5" : "m_1");
        ASSERT_EQ(halt->waiting_for_size(), 1) << name;
        EXPECT_EQ(halt->waiting_for(0), halt->target());
    }
}

TEST_F(WardenRightsTest, AHaltNeverFailsForHowItsReasonLooks) {
    const auto lines = press(v1::HALT_SCOPE_ORG, "", "\nagent deletes\r\nthe \x1b[31mdatabase!!\n");
    ASSERT_TRUE(lines) << lines.error().describe();
    EXPECT_EQ(lines->reason(), "agent deletes  the  [31mdatabase!!");
    std::string longer;
    while (longer.size() < 3'000) longer += "\u00fc";
    const auto cut = press(v1::HALT_SCOPE_OWNER, "olga", "x" + longer);
    ASSERT_TRUE(cut) << cut.error().describe();
    EXPECT_EQ(cut->reason(), "x" + longer.substr(0, 498));
}

}  // namespace
}  // namespace berth::warden
