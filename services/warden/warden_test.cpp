// SPDX-License-Identifier: Apache-2.0
// Warden's handlers: what nodes and people ask, in whatever order, and what is left in the audit.
#include <future>

#include "berth/lease/v1/lease.pb.h"
#include "berth/prov/v1/prov.pb.h"
#include "berth/run/v1/run.pb.h"
#include "warden/settings.hpp"
#include "warden/test_world.hpp"

namespace berth::warden {
namespace {

TEST_F(WardenTest, AnAskIsDecidedToldAndClaimedOnce) {
    ASSERT_TRUE(apply(kPolicy));
    const auto pending = hold("h1");
    ASSERT_TRUE(pending) << pending.error().describe();
    EXPECT_EQ(pending->state(), v1::APPROVAL_STATE_PENDING);
    EXPECT_TRUE(pending->id().starts_with("ap_"));
    EXPECT_NE(pending->shown().find("git"), std::string::npos);
    EXPECT_TRUE(pending->has_deadline());
    EXPECT_EQ(hold("h1")->id(), pending->id()) << "asked anew for the same held process";
    EXPECT_FALSE(claim(*pending, "h1").go());
    const auto approved = decide(pending->id(), "anna", true);
    ASSERT_TRUE(approved) << approved.error().describe();
    EXPECT_EQ(approved->state(), v1::APPROVAL_STATE_APPROVED);
    ASSERT_TRUE(eventually([&] { return decisions().size() == 1; }));
    EXPECT_TRUE(decisions()[0].approve());
    EXPECT_EQ(decisions()[0].held(), "h1");
    EXPECT_EQ(decisions()[0].digest(), pending->plan().digest());
    EXPECT_TRUE(claim(*approved, "h1").go());
    EXPECT_TRUE(claim(*approved, "h1").go());
    EXPECT_FALSE(claim(*approved, "h2").go());
    const auto late = hold("h1");
    EXPECT_EQ(late->id(), pending->id()) << "asked by a machine that did not hear the decision";
    EXPECT_EQ(late->state(), v1::APPROVAL_STATE_APPROVED);
    EXPECT_EQ(audit("approval_requested").size(), 1U);
    EXPECT_EQ(audit("exec_released").size(), 1U);
    EXPECT_TRUE(verify().whole());
}

TEST_F(WardenTest, TheLoserIsToldWhoDecidedAndEveryClickIsRecorded) {
    const auto pending = hold("h1");
    ASSERT_TRUE(pending);
    ASSERT_TRUE(decide(pending->id(), "anna", false));
    REFUSED(decide(pending->id(), "bert", true), "already_decided");
    EXPECT_NE(decide(pending->id(), "bert", true).error().message.find("anna"), std::string::npos);
    EXPECT_TRUE(decide(pending->id(), "anna", false)) << "the same click, the same answer";
    REFUSED(decide("ap_00000000000000000000000000", "anna", true), "approval_not_found");
    v1::Decide stranger;
    *stranger.mutable_actor() = actor("eve", "viewer");
    stranger.set_approval(pending->id());
    REFUSED(ask<v1::Approval>("berth.cmd.warden.decide", stranger), "not_approver");
    const auto own = hold("h2");
    REFUSED(decide(own->id(), "olga", true), "self_approval");
    EXPECT_EQ(audit("decision_refused").size(), 4U);
}

TEST_F(WardenTest, WhomABridgeTurnedAwayIsAudited) {
    const auto pending = hold("h1");
    v1::Refused stranger;
    stranger.set_org("acme");
    stranger.set_surface("slack");
    stranger.set_user("U666");
    stranger.set_from("C1");
    stranger.set_reason("not linked to a user, clicked\nand more");
    stranger.set_subject(pending->id());
    ASSERT_TRUE(ask<common::v1::Empty>("berth.cmd.warden.refused", stranger));
    const auto records = audit("stranger_refused");
    ASSERT_EQ(records.size(), 1U);
    EXPECT_EQ(records[0].user(), "U666");
    EXPECT_EQ(records[0].surface(), "slack:C1");
    EXPECT_EQ(records[0].approval(), pending->id());
    EXPECT_NE(records[0].reason().find("not linked to a user, clicked"), std::string::npos);
    EXPECT_EQ(records[0].reason().find('\n'), std::string::npos) << "a line is a line";
    v1::Refused forged;
    forged.set_org("acme");
    forged.set_surface("whatsapp");
    forged.set_from("203.0.113.7");
    forged.set_reason("the signature is not the platform's, or too old");
    ASSERT_TRUE(ask<common::v1::Empty>("berth.cmd.warden.refused", forged));
    ASSERT_EQ(audit("signature_refused").size(), 1U);
    EXPECT_EQ(audit("signature_refused")[0].surface(), "whatsapp:203.0.113.7");
    forged.set_org("acme.>");
    REFUSED(ask<common::v1::Empty>("berth.cmd.warden.refused", forged), "bad_org");
    EXPECT_EQ(look(pending->id()).state(), ApprovalState::APPROVAL_STATE_PENDING);
    EXPECT_TRUE(verify().whole());
}

TEST_F(WardenTest, RacingDecidersLeaveOneDecision) {
    constexpr int kRaces = 50;
    for (int i = 0; i < kRaces; ++i) {
        const auto pending = hold("h" + std::to_string(i));
        ASSERT_TRUE(pending);
        auto other =
            std::async(std::launch::async, [&] { return decide(pending->id(), "bert", false); });
        const auto mine = decide(pending->id(), "anna", true);
        const auto theirs = other.get();
        ASSERT_NE(static_cast<bool>(mine), static_cast<bool>(theirs)) << i;
        const v1::Approval stored = look(pending->id());
        EXPECT_EQ(stored.decided_by(), mine ? "anna" : "bert");
        const Error& lost = mine ? theirs.error() : mine.error();
        EXPECT_EQ(lost.code, "already_decided");
        EXPECT_EQ(claim(stored, "h" + std::to_string(i)).go(), static_cast<bool>(mine));
    }
    EXPECT_TRUE(verify().whole());
}

TEST_F(WardenTest, ThePolicyOfNowIsStricterThanTheSnapshotOfThen) {
    ASSERT_TRUE(
        apply("version: 1\ndefault: allow\nrules:\n  - id: never\n    match: {executable: "
              "/usr/bin/git}\n    action: deny\n"
              "    reason: not here\n")
    );
    const auto denied = hold("h1");
    ASSERT_TRUE(denied);
    EXPECT_EQ(denied->state(), v1::APPROVAL_STATE_DENIED);
    EXPECT_NE(denied->comment().find("never"), std::string::npos);
    EXPECT_FALSE(claim(*denied, "h1").go());
}

TEST_F(WardenTest, ABadPolicyIsRefusedWithItsPlaceAndTheOldOneStays) {
    ASSERT_TRUE(apply(kPolicy));
    const auto bad = apply("version: 1\ndefault: allow\nrules:\n  - id: x\n    acton: allow\n");
    REFUSED(bad, "bad_policy");
    EXPECT_NE(bad.error().message.find("policy.yaml:5:"), std::string::npos) << bad.error().message;
    v1::GetPolicy request;
    *request.mutable_actor() = actor("vera", "viewer");
    const auto current = ask<v1::PolicyVersion>("berth.qry.warden.policy", request);
    ASSERT_TRUE(current);
    EXPECT_EQ(current->version(), 1U);
    EXPECT_EQ(current->text(), kPolicy);
    ASSERT_TRUE(apply(std::string(kPolicy) + "# more\n"));
    v1::RollbackPolicy back;
    *back.mutable_actor() = actor("root", "admin");
    back.set_version(1);
    const auto rolled = ask<v1::PolicyVersion>("berth.cmd.warden.rollback_policy", back);
    ASSERT_TRUE(rolled);
    EXPECT_EQ(rolled->version(), 3U);
    EXPECT_EQ(rolled->rolled_back_to(), 1U);
    EXPECT_EQ(rolled->digest(), current->digest());
    v1::ApplyPolicy stale;
    *stale.mutable_actor() = actor("root", "admin");
    stale.set_text(kPolicy);
    stale.set_expected_version(1);
    REFUSED(ask<v1::PolicyVersion>("berth.cmd.warden.apply_policy", stale), "policy_moved");
    *stale.mutable_actor() = actor("anna", "approver");
    REFUSED(ask<v1::PolicyVersion>("berth.cmd.warden.apply_policy", stale), "role_missing");
    v1::GetSnapshot get;
    get.set_machine(kMachine);
    get.set_org(kOrg);
    const auto snapshot = ask<v1::Snapshot>("berth.qry.warden.snapshot.m_1", get);
    ASSERT_TRUE(snapshot);
    EXPECT_EQ(snapshot->beat().policy_version(), 3U);
    EXPECT_EQ(snapshot->policy().text(), kPolicy);
}

TEST_F(WardenTest, AGrantCountsItsUsesAndEndsWithItsLease) {
    const auto first = hold("h1");
    const auto granted = decide(first->id(), "anna", true, v1::GRANT_SCOPE_TIMES);
    ASSERT_TRUE(granted) << granted.error().describe();
    EXPECT_FALSE(granted->grant().empty());
    for (const char* held : {"h2", "h3"}) {
        const auto again = hold(held);
        ASSERT_TRUE(again);
        EXPECT_EQ(again->state(), v1::APPROVAL_STATE_APPROVED) << held;
        EXPECT_EQ(again->grant(), granted->grant());
        EXPECT_TRUE(claim(*again, held).go());
    }
    const auto third = hold("h4");
    EXPECT_EQ(third->state(), v1::APPROVAL_STATE_PENDING) << "two times are over";
    ASSERT_TRUE(decide(third->id(), "anna", true, v1::GRANT_SCOPE_SESSION));
    EXPECT_EQ(hold("h5")->state(), v1::APPROVAL_STATE_APPROVED);
    lease::v1::LeaseChanged ended;
    ended.mutable_lease()->set_id("ls_1");
    ended.mutable_lease()->set_org(kOrg);
    ended.mutable_lease()->set_machine(kMachine);
    ended.mutable_lease()->mutable_ended_at()->set_seconds(1);
    publish("berth.evt.acme.lease.lease.released.ls_1", ended);
    ASSERT_TRUE(eventually([&] { return audit("grant_ended").size() == 1; }));
    REFUSED(hold("h6"), "not_its_org");
}

TEST_F(WardenTest, AnEditedCommandIsANewPlanThatNamesTheOld) {
    const auto pending = hold("h1", {"git", "push", "--force"});
    v1::Decide request;
    *request.mutable_actor() = actor("anna", "approver");
    request.set_approval(pending->id());
    request.set_approve(true);
    request.add_edited_argv("rm");
    REFUSED(ask<v1::Approval>("berth.cmd.warden.decide", request), "bad_edit");
    request.clear_edited_argv();
    for (const char* argument : {"git", "push"}) request.add_edited_argv(argument);
    const auto edited = ask<v1::Approval>("berth.cmd.warden.decide", request);
    ASSERT_TRUE(edited) << edited.error().describe();
    EXPECT_EQ(edited->state(), v1::APPROVAL_STATE_APPROVED);
    EXPECT_NE(edited->id(), pending->id());
    EXPECT_EQ(edited->plan().replaces(), pending->plan().digest());
    EXPECT_NE(edited->plan().digest(), pending->plan().digest());
    EXPECT_EQ(look(pending->id()).replaced_by(), edited->id());
    const auto late = hold("h1", {"git", "push", "--force"});
    EXPECT_EQ(late->id(), edited->id()) << "asked by a machine that did not hear the decision";
    EXPECT_EQ(late->plan().replaces(), pending->plan().digest());
    ASSERT_TRUE(eventually([&] { return decisions().size() == 1; }));
    EXPECT_EQ(decisions()[0].approval(), edited->id());
    EXPECT_EQ(decisions()[0].edited_argv_size(), 2);
    EXPECT_FALSE(claim(*pending, "h1").go());
    EXPECT_TRUE(claim(*edited, "h1").go());
    REFUSED(decide(pending->id(), "bert", true), "already_decided");
}

constexpr const char* kTwoPeople =
    "version: 1\n"
    "default: allow\n"
    "groups: {leads: [lena, lars]}\n"
    "rules:\n"
    "  - id: pushes\n"
    "    action: ask\n"
    "    match: {executable: /usr/bin/git, subcommand: push}\n"
    "    ask: {approvers: [leads], quorum: 2}\n"
    "  - {id: drops, action: ask, match: {executable: /usr/bin/git}}\n";

TEST_F(WardenTest, AnEditedCommandIsForThoseWhoDecideOnWhatItBecame) {
    ASSERT_TRUE(apply(kTwoPeople));
    const auto pending = hold("h1", {"git", "stash", "drop"});
    EXPECT_EQ(pending->group_size(), 0);
    v1::Decide request;
    *request.mutable_actor() = actor("anna", "approver");
    request.set_approval(pending->id());
    request.set_approve(true);
    for (const char* argument : {"git", "push"}) request.add_edited_argv(argument);
    REFUSED(ask<v1::Approval>("berth.cmd.warden.decide", request), "not_in_group");
    *request.mutable_actor() = actor("lena", "approver");
    const auto edited = ask<v1::Approval>("berth.cmd.warden.decide", request);
    ASSERT_TRUE(edited) << edited.error().describe();
    EXPECT_EQ(edited->state(), v1::APPROVAL_STATE_PENDING) << "one of two";
    EXPECT_EQ(edited->terms().rule(), "pushes");
    EXPECT_EQ(edited->terms().quorum(), 2U);
    EXPECT_EQ(decide(edited->id(), "lars", true)->state(), v1::APPROVAL_STATE_APPROVED);
    // Nor does it come out of the hands that it was in.
    const auto push = hold("h2", {"git", "push"});
    request.set_approval(push->id());
    *request.mutable_actor() = actor("anna", "approver");
    request.set_edited_argv(1, "status");
    REFUSED(ask<v1::Approval>("berth.cmd.warden.decide", request), "not_in_group");
}

TEST_F(WardenTest, WhatNeedsTwoPeopleIsNotRememberedByOne) {
    ASSERT_TRUE(apply(kTwoPeople));
    const auto pending = hold("h1");
    REFUSED(decide(pending->id(), "lena", true, v1::GRANT_SCOPE_TIMES), "grant_needs_quorum");
    ASSERT_TRUE(decide(pending->id(), "lena", true));
    REFUSED(decide(pending->id(), "lars", true, v1::GRANT_SCOPE_SESSION), "grant_needs_quorum");
    EXPECT_EQ(decide(pending->id(), "lars", true)->state(), v1::APPROVAL_STATE_APPROVED);
    EXPECT_EQ(hold("h2")->state(), v1::APPROVAL_STATE_PENDING);
}

TEST_F(WardenTest, AGrantDoesNotReachBeyondWhatItWasMadeFor) {
    ASSERT_TRUE(apply(kPolicy));
    const auto pattern = [&](const std::string& held) {
        v1::Ask asking = asked(held, {"git", "push", held});
        asking.mutable_plan()->mutable_script()->set_path("/work/x");
        asking.mutable_plan()->mutable_script()->set_sha256(std::string(64, 'b'));
        return asking;
    };
    const auto send = [&](v1::Ask asking) {
        v1::Plan& plan = *asking.mutable_plan();
        plan.set_digest(policy::digest(policy::to_plan(plan)));
        const auto reply = ask<v1::Approval>("berth.cmd.warden.ask.m_1", asking);
        EXPECT_TRUE(reply) << (reply ? "" : reply.error().describe());
        return reply ? reply->state() : v1::APPROVAL_STATE_UNSPECIFIED;
    };
    EXPECT_EQ(send(pattern("h1")), v1::APPROVAL_STATE_PENDING);
    v1::ListApprovals list;
    *list.mutable_actor() = actor("anna", "approver");
    const auto first = ask<v1::ApprovalsReply>("berth.qry.warden.approvals", list);
    v1::Decide request;
    *request.mutable_actor() = actor("anna", "approver");
    request.set_approval(first->approvals(0).id());
    request.set_approve(true);
    request.set_scope(v1::GRANT_SCOPE_SESSION);
    for (const char* word : {"git", "push", "*"}) request.add_argv_pattern(word);
    ASSERT_TRUE(ask<v1::Approval>("berth.cmd.warden.decide", request));
    EXPECT_EQ(send(pattern("h2")), v1::APPROVAL_STATE_APPROVED);
    v1::Ask other = pattern("h3");
    other.mutable_plan()->mutable_script()->set_sha256(std::string(64, 'c'));
    EXPECT_EQ(send(other), v1::APPROVAL_STATE_PENDING) << "another script";
    v1::Ask sets = pattern("h4");
    sets.mutable_plan()->add_env()->set_name("INTERNAL_X");
    EXPECT_EQ(send(sets), v1::APPROVAL_STATE_APPROVED);
    ASSERT_TRUE(apply(std::string(kPolicy) + "environment: {drop: [INTERNAL_*]}\n"));
    sets.set_held("h5");
    EXPECT_EQ(send(sets), v1::APPROVAL_STATE_PENDING) << "a variable that the policy names";
    ASSERT_TRUE(apply(kTwoPeople));
    EXPECT_EQ(send(pattern("h6")), v1::APPROVAL_STATE_PENDING) << "the rule is stricter now";
}

TEST_F(WardenTest, APolicyThatCameSinceDeniesWhatWaits) {
    ASSERT_TRUE(apply(kPolicy));
    const auto pending = hold("h1");
    ASSERT_TRUE(
        apply("version: 1\ndefault: allow\nrules:\n"
              "  - {id: never, action: deny, match: {executable: /usr/bin/git}}\n")
    );
    REFUSED(decide(pending->id(), "anna", true), "denied_by_policy");
    EXPECT_EQ(state(pending->id()), "denied");
    ASSERT_TRUE(eventually([&] { return decisions().size() == 1; }));
    EXPECT_FALSE(decisions()[0].approve());
    EXPECT_FALSE(claim(*pending, "h1").go());
}

TEST_F(WardenTest, AHaltRevokesVoidsAndRefusesUntilAnotherPersonResumes) {
    const auto remembered = hold("h0", {"git", "fetch"});
    ASSERT_TRUE(decide(remembered->id(), "anna", true, v1::GRANT_SCOPE_SESSION));
    const auto pending = hold("h1");
    const auto approved = hold("h2");
    ASSERT_TRUE(decide(approved->id(), "anna", true));
    presences_.hear("m_1", kOrg, std::chrono::steady_clock::now());
    presences_.hear("m_2", kOrg, std::chrono::steady_clock::now());
    presences_.hear("m_3", "globex", std::chrono::steady_clock::now());
    presences_.hear("m_4", kOrg, std::chrono::steady_clock::now());
    prov::v1::MachineFact gone;
    gone.set_machine("m_4");
    publish("berth.evt.acme.prov.machine.gone.m_4", gone);
    ASSERT_TRUE(eventually([&] {
        const auto rows =
            pool_->exec_autocommit("SELECT 1 FROM machines WHERE gone_at IS NOT NULL");
        return rows && !rows->empty();
    }));
    v1::PressHalt press;
    *press.mutable_actor() = actor("eve", "operator");
    press.set_scope(v1::HALT_SCOPE_ORG);
    REFUSED(ask<v1::Halt>("berth.cmd.warden.halt", press), "role_missing");
    *press.mutable_actor() = actor("anna", "approver");
    const auto halt = ask<v1::Halt>("berth.cmd.warden.halt", press);
    ASSERT_TRUE(halt) << halt.error().describe();
    EXPECT_EQ(halt->waiting_for_size(), 2);
    EXPECT_EQ(state(pending->id()), "revoked");
    EXPECT_FALSE(claim(*approved, "h2").go()) << "pressed between approved and exec";
    EXPECT_EQ(hold("h3", {"git", "fetch"})->state(), v1::APPROVAL_STATE_REVOKED)
        << "no grant counts and nothing new waits";
    const auto beat = handlers_->beat(kOrg, Clock::system().now());
    ASSERT_TRUE(beat);
    ASSERT_EQ(beat->halts_size(), 1);
    v1::Halted confirmed;
    confirmed.set_halt(halt->id());
    confirmed.mutable_answer()->set_mechanism("cgroup2");
    ASSERT_TRUE(ask<common::v1::Empty>("berth.cmd.warden.halted.m_2", confirmed));
    v1::ListHalts list;
    *list.mutable_actor() = actor("anna", "approver");
    const auto halts = ask<v1::HaltsReply>("berth.qry.warden.halts", list);
    ASSERT_TRUE(halts);
    ASSERT_EQ(halts->halts_size(), 1);
    ASSERT_EQ(halts->halts(0).waiting_for_size(), 1);
    EXPECT_EQ(halts->halts(0).waiting_for(0), "m_1");
    v1::Resume resume;
    *resume.mutable_actor() = actor("anna", "approver");
    REFUSED(ask<v1::Halt>("berth.cmd.warden.resume", resume), "same_person");
    *resume.mutable_actor() = actor("bert", "approver");
    ASSERT_TRUE(ask<v1::Halt>("berth.cmd.warden.resume", resume));
    EXPECT_FALSE(claim(*approved, "h2").go()) << "what the halt voided stays void";
    EXPECT_EQ(hold("h4", {"git", "fetch"})->state(), v1::APPROVAL_STATE_PENDING)
        << "the grant stays void";
    for (const char* fact :
         {"halted", "halt_refused", "halt_confirmed", "resume_refused", "resumed"})
        EXPECT_EQ(audit(fact).size(), 1U) << fact;
}

TEST_F(WardenTest, DeadlinesEndEscalateAndRefuseLateClicks) {
    auto request = asked("h1", {"git", "push"});
    *request.mutable_terms()->mutable_timeout() = service::to_duration(milliseconds{1});
    const auto pending = ask<v1::Approval>("berth.cmd.warden.ask.m_1", request);
    ASSERT_TRUE(pending);
    const WallTime later = Clock::system().now() + seconds{1};
    const auto due = repo::due(*pool_, later, 10);
    ASSERT_TRUE(due);
    ASSERT_EQ(due->size(), 1U);
    ASSERT_TRUE(pool_->transact([&](store::Transaction& tx) {
        return handlers_->pass_deadline(tx, kOrg, pending->id(), later);
    }));
    EXPECT_EQ(state(pending->id()), "expired");
    REFUSED(decide(pending->id(), "anna", true), "approval_expired");
    EXPECT_EQ(audit("decision_refused").size(), 1U);
    EXPECT_TRUE(repo::due(*pool_, later, 10)->empty());
    // A click that comes before the clock has looked.
    request = asked("h2", {"git", "push"});
    *request.mutable_terms()->mutable_timeout() = service::to_duration(milliseconds{1});
    const auto late = ask<v1::Approval>("berth.cmd.warden.ask.m_1", request);
    ASSERT_TRUE(late);
    ASSERT_TRUE(eventually([&] {
        return Clock::system().now() > service::to_wall_time(late->deadline());
    }));
    REFUSED(decide(late->id(), "anna", true), "approval_expired");
    EXPECT_EQ(state(late->id()), "expired");
}

TEST_F(WardenTest, WhoeverAskedIsGoneAndNothingRunsAfterwards) {
    const auto killed = hold("h1");
    v1::Abandon gone;
    gone.set_approval(killed->id());
    ASSERT_TRUE(ask<common::v1::Empty>("berth.cmd.warden.abandon.m_1", gone));
    EXPECT_EQ(state(killed->id()), "abandoned");
    REFUSED(decide(killed->id(), "anna", true), "already_decided");
    const auto pending = hold("h2");
    run::v1::RunChanged lost;
    lost.mutable_run()->set_id("rn_1");
    lost.mutable_run()->mutable_ended_at()->set_seconds(1);
    publish("berth.evt.acme.run.run.lost.rn_1", lost);
    EXPECT_TRUE(eventually([&] { return state(pending->id()) == "abandoned"; }));
    auto other = asked("h3", {"git", "push"});
    other.mutable_origin()->set_run("rn_2");
    const auto elsewhere = ask<v1::Approval>("berth.cmd.warden.ask.m_1", other);
    prov::v1::MachineFact fact;
    fact.set_machine(kMachine);
    publish("berth.evt.acme.prov.machine.gone.m_1", fact);
    EXPECT_TRUE(eventually([&] { return state(elsewhere->id()) == "abandoned"; }));
}

TEST_F(WardenTest, AMachineSpeaksForItselfOnly) {
    prov::v1::MachineFact fact;
    fact.set_machine("m_2");
    publish("berth.evt.globex.prov.machine.ready.m_2", fact);
    ASSERT_TRUE(eventually([&] { return *repo::org_of_machine(&*pool_, "m_2") == "globex"; }));
    auto foreign = asked("h1", {"git", "push"});
    foreign.mutable_origin()->set_machine("m_2");
    REFUSED(ask<v1::Approval>("berth.cmd.warden.ask.m_2", foreign), "not_its_org");
    REFUSED(ask<v1::Approval>("berth.cmd.warden.ask.m_9", asked("h1", {"git"})), "not_its_org");
    v1::GetSnapshot get;
    get.set_machine("m_2");
    get.set_org(kOrg);
    REFUSED(ask<v1::Snapshot>("berth.qry.warden.snapshot.m_2", get), "not_its_org");
    auto forged = asked("h1", {"git", "push"});
    forged.mutable_plan()->set_argv(1, "pull");
    REFUSED(ask<v1::Approval>("berth.cmd.warden.ask.m_1", forged), "bad_digest");
    const auto pending = hold("h1");
    v1::Claim claim;
    claim.set_approval(pending->id());
    REFUSED(ask<v1::Claimed>("berth.cmd.warden.claim.m_3", claim), "not_its_org");
}

TEST_F(WardenTest, TheChainHoldsEveryRecordAndShowsEveryChange) {
    v1::Record batch;
    for (int i = 0; i < 250; ++i) {
        v1::AuditRecord& record = *batch.add_records();
        record.set_fact("exec_ended");
        record.mutable_origin()->set_org(kOrg);
        record.mutable_origin()->set_user("olga");
        record.mutable_origin()->set_run("rn_1");
        record.set_command("deploy --password=hunter2 " + std::to_string(i));
        record.set_exit_code(i % 3);
    }
    std::vector<std::thread> machines;
    for (int machine = 0; machine < 4; ++machine) {
        machines.emplace_back([&, machine] {
            EXPECT_TRUE(ask<common::v1::Empty>(
                "berth.cmd.warden.record.m_" + std::to_string(machine), batch
            ));
        });
    }
    for (auto& machine : machines) machine.join();
    const auto whole = verify();
    EXPECT_TRUE(whole.whole()) << whole.reason();
    EXPECT_EQ(whole.records(), 1'000U);
    for (const auto& record : audit()) {
        EXPECT_EQ(record.command().find("hunter2"), std::string::npos) << record.command();
        EXPECT_EQ(record.user(), "olga");
    }
    {
        const std::lock_guard lock(mutex_);
        const auto told = std::count_if(told_.begin(), told_.end(), [](const auto& row) {
            return row.subject.starts_with("berth.audit.acme.exec_ended.");
        });
        EXPECT_EQ(told, 1'000);
    }
    const auto broken = [&](const std::string& change, std::uint64_t where) {
        sql("CREATE TABLE kept AS SELECT * FROM audit");
        sql(change);
        const auto verdict = verify();
        EXPECT_FALSE(verdict.whole()) << change;
        EXPECT_EQ(verdict.first_bad(), where) << change << ": " << verdict.reason();
        sql("DELETE FROM audit");
        sql("INSERT INTO audit SELECT * FROM kept");
        sql("DROP TABLE kept");
    };
    broken("DELETE FROM audit WHERE sequence = 500", 500);
    broken("DELETE FROM audit WHERE sequence > 990", 991);
    broken("UPDATE audit SET body = body || '\\x0a0178'::bytea WHERE sequence = 7", 7);
    broken("UPDATE audit SET fact = 'exec_started' WHERE sequence = 7", 7);
    broken("UPDATE audit SET run = 'rn_2' WHERE sequence = 7", 7);
    broken(
        "UPDATE audit SET body = (SELECT body FROM audit WHERE sequence = 8) WHERE sequence = 7", 7
    );
    EXPECT_TRUE(verify().whole());
    // As a long chain is verified: behind a record that was.
    v1::VerifyAudit behind;
    *behind.mutable_actor() = actor("anna", "approver");
    behind.set_after_sequence(100);
    v1::QueryAudit at;
    *at.mutable_actor() = actor("anna", "approver");
    at.set_oldest_first(true);
    at.set_from_sequence(100);
    at.mutable_page()->set_limit(1);
    behind.set_previous(ask<v1::AuditReply>("berth.qry.warden.audit", at)->records(0).hash());
    const auto rest = ask<v1::AuditVerdict>("berth.qry.warden.verify", behind);
    ASSERT_TRUE(rest);
    EXPECT_TRUE(rest->whole()) << rest->reason();
    EXPECT_EQ(rest->records(), 1'000U);
    behind.set_previous(std::string(64, '0'));
    EXPECT_EQ(ask<v1::AuditVerdict>("berth.qry.warden.verify", behind)->first_bad(), 101U);
}

TEST_F(WardenTest, AMachineTellsOnlyWhatAMachineCanKnow) {
    v1::Record batch;
    const auto now = Clock::system().now();
    for (const char* fact : {"approval_decided", "exec_released", "halt_resumed", "exec_denied"}) {
        v1::AuditRecord& record = *batch.add_records();
        record.set_fact(fact);
        record.set_user("anna");
        record.set_surface("cli");
        record.mutable_origin()->set_org(kOrg);
        record.mutable_origin()->set_user("olga");
        *record.mutable_at() =
            service::to_timestamp(now + std::chrono::hours{24 * batch.records_size()});
    }
    *batch.mutable_records(0)->mutable_at() =
        service::to_timestamp(now - std::chrono::hours{1'000});
    ASSERT_TRUE(ask<common::v1::Empty>("berth.cmd.warden.record.m_1", batch));
    for (const char* fact : {"approval_decided", "exec_released", "halt_resumed"})
        EXPECT_TRUE(audit(fact).empty()) << fact;
    EXPECT_EQ(audit("exec_other").size(), 3U);
    EXPECT_EQ(audit("exec_denied").size(), 1U);
    for (const auto& record : audit()) {
        EXPECT_EQ(record.user(), "olga");
        EXPECT_EQ(record.surface(), "");
        EXPECT_LE(service::to_wall_time(record.at()), Clock::system().now());
        EXPECT_GT(service::to_wall_time(record.at()), now - kOldestRecord - std::chrono::hours{1});
    }
}

TEST_F(WardenTest, AChainThatWasWrittenAnewShowsAgainstTheStream) {
    v1::Record batch;
    for (int i = 0; i < 40; ++i) {
        v1::AuditRecord& record = *batch.add_records();
        record.set_fact("exec_ended");
        record.mutable_origin()->set_org(kOrg);
        record.mutable_origin()->set_user("olga");
        record.set_command("deploy " + std::to_string(i));
    }
    ASSERT_TRUE(ask<common::v1::Empty>("berth.cmd.warden.record.m_1", batch));
    ASSERT_TRUE(eventually([&] { return server_.stored("AUDIT") == 40; }));
    EXPECT_TRUE(verify().whole());
    sql("CREATE TABLE kept AS SELECT * FROM audit");
    const auto heads = pool_->exec_autocommit("SELECT sequence, hash FROM audit_heads");
    const ChainHead head{40, std::string((*heads)[0].text(1))};
    const auto found = [&](std::uint64_t where) {
        const auto verdict = verify();
        EXPECT_FALSE(verdict.whole());
        EXPECT_EQ(verdict.first_bad(), where) << verdict.reason();
        EXPECT_NE(verdict.reason().find("stream AUDIT"), std::string::npos) << verdict.reason();
        sql("DELETE FROM audit");
        sql("INSERT INTO audit SELECT * FROM kept");
        set_head(head);
    };
    forge(31, 40);
    found(31);
    // Cut off with its head.
    const auto cut = pool_->exec_autocommit("SELECT hash FROM audit WHERE sequence = 35");
    set_head({35, std::string((*cut)[0].text(0))});
    sql("DELETE FROM audit WHERE sequence > 35");
    found(36);
    EXPECT_TRUE(verify().whole());
    // Added without ever having been told; what is young may be on its way.
    mirrors_ = false;
    batch.mutable_records()->DeleteSubrange(1, 39);
    ASSERT_TRUE(ask<common::v1::Empty>("berth.cmd.warden.record.m_1", batch));
    EXPECT_TRUE(verify().whole());
    *batch.mutable_records(0)->mutable_at() =
        service::to_timestamp(Clock::system().now() - std::chrono::hours{1});
    ASSERT_TRUE(ask<common::v1::Empty>("berth.cmd.warden.record.m_1", batch));
    EXPECT_EQ(verify().first_bad(), 42U);
}

TEST_F(WardenTest, WhatEndedLongAgoIsForgotten) {
    const auto old = hold("h1");
    const auto waiting = hold("h2");
    const auto young = hold("h3");
    for (const auto* one : {&old, &young}) ASSERT_TRUE(decide((*one)->id(), "anna", false));
    sql("UPDATE approvals SET created_at = now() - interval '91 days' WHERE id IN ('" + old->id() +
        "', '" + waiting->id() + "')");
    ASSERT_TRUE(repo::forget_ended(*pool_, Clock::system().now() - kKeepEnded));
    const auto left = pool_->exec_autocommit("SELECT id FROM approvals ORDER BY id");
    std::set<std::string> ids;
    for (const auto row : *left) ids.emplace(row.text(0));
    EXPECT_EQ(ids, (std::set<std::string>{waiting->id(), young->id()}));
    EXPECT_TRUE(verify().whole()) << "the audit stays";
}

TEST_F(WardenTest, ListsPageAndShowWhoMaySee) {
    std::vector<std::string> ids;
    for (int i = 0; i < 5; ++i) ids.push_back(hold("h" + std::to_string(i))->id());
    v1::ListApprovals list;
    *list.mutable_actor() = actor("anna", "approver");
    list.mutable_page()->set_limit(2);
    std::vector<std::string> seen;
    for (int page = 0; page < 3; ++page) {
        const auto reply = ask<v1::ApprovalsReply>("berth.qry.warden.approvals", list);
        ASSERT_TRUE(reply);
        for (const auto& approval : reply->approvals()) seen.push_back(approval.id());
        list.mutable_page()->set_cursor(reply->next_cursor());
    }
    std::reverse(seen.begin(), seen.end());
    EXPECT_EQ(seen, ids);
    EXPECT_EQ(list.page().cursor(), "");
    *list.mutable_actor() = actor("eve", "viewer");
    const auto others = ask<v1::ApprovalsReply>("berth.qry.warden.approvals", list);
    ASSERT_TRUE(others);
    EXPECT_EQ(others->approvals_size(), 0);
    v1::GetApproval get;
    *get.mutable_actor() = actor("eve", "viewer");
    get.set_approval(ids[0]);
    REFUSED(ask<v1::Approval>("berth.qry.warden.approval", get), "approval_not_found");
    *get.mutable_actor() = actor("olga", "operator");
    EXPECT_TRUE(ask<v1::Approval>("berth.qry.warden.approval", get)) << "one's own";
    v1::QueryAudit audit;
    *audit.mutable_actor() = actor("olga", "operator");
    REFUSED(ask<v1::AuditReply>("berth.qry.warden.audit", audit), "role_missing");
}

}  // namespace
}  // namespace berth::warden
