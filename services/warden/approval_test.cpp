// SPDX-License-Identifier: Apache-2.0
// Every click, deadline, halt and claim against every state of an approval: twice, late, by the
// wrong person.
#include "warden/approval.hpp"

#include <gtest/gtest.h>

#include "service/proto_time.hpp"
#include "warden/test_time.hpp"

namespace berth::warden {
namespace {

using std::chrono::minutes;

constexpr minutes kTimeout{10};

Record pending() {
    Record record;
    record.held = "h1";
    v1::Approval& body = record.body;
    body.set_id("ap_1");
    body.set_org("acme");
    body.set_state(v1::APPROVAL_STATE_PENDING);
    body.mutable_plan()->set_digest("sha256:1");
    body.mutable_origin()->set_user("agent-owner");
    *body.mutable_terms()->mutable_timeout() = service::to_duration(kTimeout);
    *body.mutable_deadline() = service::to_timestamp(kNow + kTimeout);
    body.set_revision(1);
    return record;
}

Click by(const std::string& user, bool approve) {
    Click click;
    click.user = user;
    click.may_decide = true;
    click.in_group = true;
    click.approve = approve;
    click.surface = "cli";
    click.now = kNow;
    return click;
}

std::string code(const ClickResult& result) { return result.refusal ? result.refusal->code : "ok"; }

Record in(ApprovalState state) {
    Record record = pending();
    switch (state) {
        case v1::APPROVAL_STATE_APPROVED: (void)click(record, by("anna", true)); break;
        case v1::APPROVAL_STATE_DENIED: (void)click(record, by("anna", false)); break;
        case v1::APPROVAL_STATE_EXPIRED: (void)deadline_passed(record, kNow + kTimeout); break;
        case v1::APPROVAL_STATE_REVOKED: (void)revoke(record, "carl", "halted", kNow); break;
        case v1::APPROVAL_STATE_ABANDONED: (void)abandon(record, "gone", kNow); break;
        default: break;
    }
    return record;
}

TEST(Approval, TheFirstDecisionStandsWhateverComesAfter) {
    for (int state = v1::APPROVAL_STATE_APPROVED; state <= v1::APPROVAL_STATE_ABANDONED; ++state) {
        for (const bool approve : {true, false}) {
            Record record = in(static_cast<ApprovalState>(state));
            ASSERT_EQ(record.body.state(), state);
            const std::string before = record.body.SerializeAsString();
            const ClickResult late = click(record, by("bert", approve));
            EXPECT_EQ(late.effect, ClickEffect::kRefused);
            EXPECT_EQ(
                code(late),
                state == v1::APPROVAL_STATE_EXPIRED ? "approval_expired" : "already_decided"
            );
            if (state == v1::APPROVAL_STATE_APPROVED) {
                EXPECT_NE(late.refusal->message.find("by anna"), std::string::npos);
            }
            EXPECT_EQ(deadline_passed(record, kNow + 2 * kTimeout), DeadlineEffect::kNothing);
            EXPECT_EQ(record.body.SerializeAsString(), before) << state;
        }
    }
}

TEST(Approval, TheSameClickAgainGetsTheSameAnswer) {
    for (const bool approve : {true, false}) {
        Record record = pending();
        ASSERT_EQ(click(record, by("anna", approve)).effect, ClickEffect::kDecided);
        const std::string before = record.body.SerializeAsString();
        EXPECT_EQ(click(record, by("anna", approve)).effect, ClickEffect::kRepeated);
        EXPECT_EQ(record.body.SerializeAsString(), before);
        EXPECT_EQ(code(click(record, by("anna", !approve))), "already_decided");
    }
}

TEST(Approval, OnlyWhoMayDecides) {
    Record record = pending();
    Click stranger = by("eve", true);
    stranger.may_decide = false;
    EXPECT_EQ(code(click(record, stranger)), "not_approver");
    EXPECT_EQ(code(click(record, by("agent-owner", true))), "self_approval");
    record.body.add_group("ops");
    Click outsider = by("anna", true);
    outsider.in_group = false;
    EXPECT_EQ(code(click(record, outsider)), "not_in_group");
    EXPECT_TRUE(record.pending());
    EXPECT_EQ(record.body.revision(), 1U);
    Click old = by("anna", true);
    old.revision = 7;
    EXPECT_EQ(code(click(record, old)), "stale");
    EXPECT_EQ(click(record, by("anna", true)).effect, ClickEffect::kDecided);
}

TEST(Approval, AQuorumIsOfDifferentPeople) {
    Record record = pending();
    record.body.mutable_terms()->set_quorum(2);
    EXPECT_EQ(click(record, by("anna", true)).effect, ClickEffect::kVoted);
    EXPECT_EQ(click(record, by("anna", true)).effect, ClickEffect::kRepeated);
    EXPECT_TRUE(record.pending());
    Record denied = record;
    EXPECT_EQ(click(denied, by("anna", false)).effect, ClickEffect::kDecided)
        << "who approved may still say no";
    EXPECT_EQ(click(record, by("bert", true)).effect, ClickEffect::kDecided);
    EXPECT_EQ(record.body.state(), v1::APPROVAL_STATE_APPROVED);
    EXPECT_EQ(record.body.decided_by(), "bert");
}

TEST(Approval, AVoteThatWasOverruledIsToldSo) {
    Record denied = pending();
    denied.body.mutable_terms()->set_quorum(2);
    Record expired = denied;
    (void)click(denied, by("anna", true));
    (void)click(denied, by("bert", false));
    EXPECT_EQ(code(click(denied, by("anna", true))), "already_decided");
    (void)click(expired, by("anna", true));
    (void)deadline_passed(expired, kNow + kTimeout);
    EXPECT_EQ(code(click(expired, by("anna", true))), "approval_expired");
}

TEST(Approval, ADeadlineDeniesWaitsOrAsksTheNextGroup) {
    Record denies = pending();
    EXPECT_EQ(deadline_passed(denies, kNow + kTimeout - milliseconds{1}), DeadlineEffect::kNothing);
    EXPECT_EQ(deadline_passed(denies, kNow + kTimeout), DeadlineEffect::kExpired);

    Record waits = pending();
    waits.body.mutable_terms()->set_outcome(v1::DEADLINE_OUTCOME_WAIT);
    EXPECT_EQ(deadline_passed(waits, kNow + kTimeout), DeadlineEffect::kReminded);
    EXPECT_EQ(deadline_passed(waits, kNow + 9 * kTimeout), DeadlineEffect::kNothing);
    EXPECT_EQ(click(waits, by("anna", true)).effect, ClickEffect::kDecided);

    Record escalates = pending();
    escalates.body.mutable_terms()->set_outcome(v1::DEADLINE_OUTCOME_ESCALATE);
    escalates.body.mutable_terms()->add_escalate_to("leads");
    escalates.body.mutable_terms()->add_escalate_to("board");
    EXPECT_EQ(deadline_passed(escalates, kNow + kTimeout), DeadlineEffect::kEscalated);
    EXPECT_EQ(escalates.body.group(0), "leads");
    EXPECT_EQ(deadline_passed(escalates, kNow + kTimeout), DeadlineEffect::kNothing);
    EXPECT_EQ(deadline_passed(escalates, kNow + 2 * kTimeout), DeadlineEffect::kEscalated);
    EXPECT_EQ(escalates.body.group(0), "board");
    EXPECT_EQ(deadline_passed(escalates, kNow + 3 * kTimeout), DeadlineEffect::kExpired);
}

TEST(Approval, AClickAfterTheDeadlineFindsItExpiredEvenBeforeTheClockDid) {
    Record record = pending();
    Click late = by("anna", true);
    late.now = kNow + kTimeout;
    const ClickResult result = click(record, late);
    EXPECT_EQ(result.effect, ClickEffect::kExpired);
    EXPECT_EQ(code(result), "approval_expired");
    EXPECT_EQ(
        result.refusal->message,
        record.body.id() + " expired: nobody had decided by its deadline; the command was refused"
    );
    EXPECT_EQ(record.body.state(), v1::APPROVAL_STATE_EXPIRED);
}

TEST(Approval, OneApprovalStartsOneExecution) {
    bool changed = false;
    Record record = pending();
    EXPECT_FALSE(claim(record, "sha256:1", "h1", false, changed).go()) << "not decided yet";
    ASSERT_EQ(click(record, by("anna", true)).effect, ClickEffect::kDecided);
    EXPECT_EQ(claim(record, "sha256:1", "h2", false, changed).reason(), "already executed");
    EXPECT_TRUE(claim(record, "sha256:1", "h1", false, changed).go());
    EXPECT_TRUE(changed);
    EXPECT_TRUE(claim(record, "sha256:1", "h1", false, changed).go()) << "the same answer again";
    EXPECT_FALSE(changed);
    EXPECT_FALSE(claim(record, "sha256:1", "h2", false, changed).go());
    EXPECT_FALSE(revoke(record, "carl", "halted", kNow)) << "what began is the machine's to end";
}

TEST(Approval, ANoToAClaimStaysNo) {
    bool changed = false;
    Record edited = in(v1::APPROVAL_STATE_APPROVED);
    EXPECT_EQ(claim(edited, "sha256:2", "h1", false, changed).reason(), "content changed");
    EXPECT_FALSE(claim(edited, "sha256:1", "h1", false, changed).go());
    Record halted = in(v1::APPROVAL_STATE_APPROVED);
    EXPECT_EQ(claim(halted, "sha256:1", "h1", true, changed).reason(), "halted");
    EXPECT_FALSE(claim(halted, "sha256:1", "h1", false, changed).go()) << "resumed or not";
    Record gone = in(v1::APPROVAL_STATE_APPROVED);
    EXPECT_TRUE(abandon(gone, "killed", kNow));
    EXPECT_FALSE(claim(gone, "sha256:1", "h1", false, changed).go());
    Record pressed = in(v1::APPROVAL_STATE_APPROVED);
    EXPECT_TRUE(revoke(pressed, "carl", "halted by carl", kNow));
    EXPECT_EQ(claim(pressed, "sha256:1", "h1", false, changed).reason(), "revoked");
    for (int state = v1::APPROVAL_STATE_DENIED; state <= v1::APPROVAL_STATE_ABANDONED; ++state) {
        Record record = in(static_cast<ApprovalState>(state));
        EXPECT_FALSE(claim(record, "sha256:1", "h1", false, changed).go());
    }
}

TEST(Approval, RevisionsRiseWithEachChange) {
    Record record = pending();
    record.body.mutable_terms()->set_quorum(3);
    std::uint64_t last = record.body.revision();
    for (const char* user : {"anna", "bert", "carl"}) {
        (void)click(record, by(user, true));
        EXPECT_EQ(record.body.revision(), last + 1);
        last = record.body.revision();
    }
}

TEST(Approval, EventsCarryTheCardAndNoArgumentOrValue) {
    v1::Approval body = pending().body;
    body.mutable_plan()->add_argv("--token=hunter2");
    v1::EnvChange& change = *body.mutable_plan()->add_env();
    change.set_name("TOKEN");
    change.set_value("hunter2");
    EXPECT_EQ(brief(body).SerializeAsString().find("hunter2"), std::string::npos);
}

TEST(Approval, StateNamesRoundTrip) {
    for (int state = v1::APPROVAL_STATE_PENDING; state <= v1::APPROVAL_STATE_ABANDONED; ++state)
        EXPECT_EQ(approval_state(state_name(static_cast<ApprovalState>(state))), state);
}

}  // namespace
}  // namespace berth::warden
