// SPDX-License-Identifier: Apache-2.0
// Approvals, grants and halts under a thousand seeds of asks, clicks, claims, deadlines and halts,
// each of them also twice, late and by the wrong one, with warden's own pure rules and virtual
// time: what must hold after every single step, and that the rare branches were walked.
// BERTH_SIM_SEED=<n> replays one seed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <string>

#include "service/proto_time.hpp"
#include "warden/approval.hpp"
#include "warden/audit.hpp"
#include "warden/grant.hpp"
#include "warden/halt.hpp"

namespace berth::sim {
namespace {

using namespace warden;

constexpr std::uint64_t kSeeds = 1'000;
constexpr int kSteps = 300;
constexpr const char* kPeople[] = {"anna", "bert", "carl", "olga"};  // olga asks, too
constexpr const char* kMachines[] = {"m_1", "m_2"};
using Counters = std::map<std::string, int>;

/// One org, with rows in memory, as the handlers of services/warden keep it.
class WardenWorld {
public:
    WardenWorld(std::uint64_t seed, Counters& counters) : random_(seed), counters_(counters) {}

    std::string play() {
        for (int i = 0; i < kSteps && fault_.empty(); ++i) {
            step();
            now_ += milliseconds{below(2'000)};
            check();
        }
        check_chain();
        return fault_;
    }

private:
    struct Row {
        Record record;
        std::string granted_by;  // the grant that approved it
        int executions = 0;
        ApprovalState before = v1::APPROVAL_STATE_PENDING;
        std::uint64_t revision = 0;
    };
    int below(int limit) { return static_cast<int>(random_() % static_cast<unsigned>(limit)); }
    bool dice(int percent) { return below(100) < percent; }
    void count(const std::string& what) { ++counters_[what]; }
    void must(bool good, const std::string& what) {
        if (!good && fault_.empty()) fault_ = what;
    }
    std::string any_person() { return kPeople[below(4)]; }
    Row* any_row() {
        if (rows_.empty()) return nullptr;
        // Mostly a young one: the old are decided.
        const int back = dice(80) ? below(std::min<int>(6, static_cast<int>(rows_.size())))
                                  : below(static_cast<int>(rows_.size()));
        return &rows_[rows_.size() - 1 - static_cast<std::size_t>(back)];
    }
    bool halted(const v1::Origin& origin) const {
        for (const auto& halt : halts_) {
            if (in_force(halt) && covers(halt, origin)) return true;
        }
        return false;
    }
    void record(const std::string& fact, const std::string& subject) {
        v1::AuditRecord& record = audit_.emplace_back();
        record.set_org("acme");
        record.set_fact(fact);
        record.set_subject(subject);
        *record.mutable_at() = service::to_timestamp(now_);
        chain(head_, record);
    }

    void step() {
        switch (below(10)) {
            case 0:
            case 1: return ask();
            case 2:
            case 3:
            case 4: return decide();
            case 5:
            case 6: return try_claim();
            case 7: return pass_time();
            case 8: return dice(30) ? give_up() : try_claim();
            default: return dice(35) ? press_or_resume() : take_back();
        }
    }

    void ask() {
        Row row;
        v1::Approval& body = row.record.body;
        const std::string serial = std::to_string(rows_.size());
        body.set_id("ap_" + serial);
        body.set_org("acme");
        body.set_state(v1::APPROVAL_STATE_PENDING);
        body.set_revision(1);
        row.record.held = "h" + serial;
        body.mutable_plan()->mutable_executable()->set_path("/usr/bin/git");
        body.mutable_plan()->mutable_executable()->set_sha256("aa");
        body.mutable_plan()->add_argv("git");
        const std::string kind = std::to_string(below(3));
        body.mutable_plan()->add_argv(kind);
        body.mutable_plan()->set_digest("sha256:" + kind);
        v1::Origin& origin = *body.mutable_origin();
        origin.set_org("acme");
        origin.set_user(dice(70) ? "olga" : any_person());
        origin.set_machine(kMachines[below(2)]);
        origin.set_lease("ls_" + origin.machine());
        v1::AskTerms& terms = *body.mutable_terms();
        *terms.mutable_timeout() = service::to_duration(seconds{1 + below(20)});
        terms.set_outcome(static_cast<v1::DeadlineOutcome>(1 + below(3)));
        terms.set_quorum(static_cast<std::uint32_t>(below(3)));
        for (int i = below(3); i > 0; --i) terms.add_escalate_to("group" + std::to_string(i));
        *body.mutable_deadline() =
            service::to_timestamp(now_ + service::to_milliseconds(terms.timeout()));
        if (halted(origin)) {
            revoke(row.record, "berth", "halted", now_);
            count("asked while halted");
        } else {
            use_a_grant(row);
        }
        record("approval_requested", body.id());
        row.before = body.state();
        row.revision = body.revision();
        rows_.push_back(std::move(row));
    }

    void use_a_grant(Row& row) {
        for (auto& grant : grants_) {
            if (!matches(grant, row.record.body.plan(), row.record.body.origin(), now_)) continue;
            const auto left = grant.times_left();
            const bool last = use(grant, now_);
            if (grant.scope() == v1::GRANT_SCOPE_TIMES)
                must(grant.times_left() + 1 == left, "a grant was counted wrongly");
            if (last) count("a grant's last use");
            decide_at_once(row.record, true, grant.made_by(), "by grant", now_);
            row.granted_by = grant.id();
            return count("approved by a grant");
        }
    }

    void decide() {
        Row* row = any_row();
        if (row == nullptr) return;
        Click click;
        click.user = any_person();
        click.may_decide = !dice(10);
        click.in_group = !dice(10);
        click.approve = dice(65);
        click.revision =
            dice(20) ? row->record.body.revision() - static_cast<unsigned>(below(2)) : 0;
        click.now = now_;
        const ClickResult result = warden::click(row->record, click);
        if (result.refusal) count("refused " + result.refusal->code);
        must(
            result.refusal.has_value() ==
                (result.effect == ClickEffect::kRefused || result.effect == ClickEffect::kExpired),
            "a refusal without its reason"
        );
        record("decided", row->record.body.id());
        if (result.effect == ClickEffect::kRepeated) count("the same click again");
        if (result.effect == ClickEffect::kVoted) count("a vote of several");
        if (result.effect != ClickEffect::kDecided) return;
        count("decided");
        must(
            click.may_decide && (click.in_group || row->record.body.group_size() == 0),
            "a stranger decided"
        );
        must(click.user != row->record.body.origin().user(), "who asked decided");
        if (click.approve && dice(40)) remember(*row, click.user);
    }

    void remember(const Row& row, const std::string& user) {
        v1::Decide decide;
        decide.mutable_actor()->set_user(user);
        decide.set_scope(static_cast<v1::GrantScope>(2 + below(3)));
        decide.set_times(static_cast<std::uint32_t>(1 + below(2)));
        *decide.mutable_until() = service::to_timestamp(now_ + seconds{1 + below(60)});
        if (dice(40)) {
            decide.add_argv_pattern("git");
            decide.add_argv_pattern("*");
        }
        const auto made =
            grant_of(decide, row.record.body, "gr_" + std::to_string(grants_.size()), now_);
        must(made && *made, "a grant could not be made");
        if (made && *made) grants_.push_back(**made);
    }

    void try_claim() {
        Row* row = any_row();
        if (row == nullptr) return;
        const v1::Approval& body = row->record.body;
        const bool changed_content = dice(8);
        const bool another = dice(8);
        const std::string digest = changed_content ? "sha256:x" : body.plan().digest();
        const std::string held = another ? "other" : row->record.held;
        const bool is_halted = halted(body.origin());
        const std::string before = row->record.claim;
        bool changed = false;
        const v1::Claimed claimed = claim(row->record, digest, held, is_halted, changed);
        if (!claimed.go()) {
            count("claim: " + (claimed.reason().empty() ? "no" : claimed.reason()));
            must(!claimed.reason().empty(), "a no without a reason");
            return;
        }
        must(!is_halted && !another && !changed_content, "a claim that must be refused was not");
        must(body.state() == v1::APPROVAL_STATE_APPROVED, "executed without approval");
        must(before.empty() == changed, "the first claim changes the record, no later one does");
        // The machine executes on the first "go" it hears; a repeated one is the same process.
        if (changed) ++row->executions;
        if (!changed) count("the same claim again");
        if (row->granted_by.empty()) check_votes(body);
        record("exec_released", body.id());
    }

    void check_votes(const v1::Approval& body) {
        std::set<std::string> who;
        for (const auto& vote : body.votes()) {
            must(vote.approve(), "executed although somebody denied");
            must(vote.user() != body.origin().user(), "a vote of who asked");
            who.insert(vote.user());
        }
        must(
            who.size() >= std::max<std::size_t>(1, body.terms().quorum()),
            "executed without its quorum"
        );
    }

    void pass_time() {
        now_ += seconds{below(8)};
        for (auto& row : rows_) {
            const DeadlineEffect effect = deadline_passed(row.record, now_);
            if (effect == DeadlineEffect::kExpired) count("expired");
            if (effect == DeadlineEffect::kReminded) count("reminded");
            if (effect == DeadlineEffect::kEscalated) count("escalated");
        }
    }

    void give_up() {
        Row* row = any_row();
        if (row == nullptr || !abandon(row->record, "gone", now_)) return;
        count(row->record.claim.empty() ? "abandoned" : "abandoned after its approval");
    }

    void take_back() {
        if (grants_.empty()) return;
        auto& grant = grants_[static_cast<std::size_t>(below(static_cast<int>(grants_.size())))];
        if (dice(20) && withdraw(grant, any_person(), now_)) count("a grant taken back");
    }

    void press_or_resume() {
        for (auto& halt : halts_) {
            if (!in_force(halt)) continue;
            const std::string user = any_person();
            const auto resumed = resume(halt, user, now_);
            must(resumed.has_value() == (user != halt.pressed_by()), "resumed by who pressed it");
            return count(resumed ? "resumed" : "not resumed by who pressed it");
        }
        v1::Halt halt;
        halt.set_id("hl_" + std::to_string(halts_.size()));
        halt.set_org("acme");
        halt.set_scope(static_cast<v1::HaltScope>(dice(50) ? 1 : dice(50) ? 2 : 4));
        if (halt.scope() == v1::HALT_SCOPE_OWNER) halt.set_target("olga");
        if (halt.scope() == v1::HALT_SCOPE_MACHINE) halt.set_target("m_1");
        halt.set_pressed_by(any_person());
        for (auto& row : rows_) {
            if (!covers(halt, row.record.body.origin())) continue;
            const bool approved = row.record.body.state() == v1::APPROVAL_STATE_APPROVED;
            if (revoke(row.record, halt.pressed_by(), "halted", now_))
                count(approved ? "revoked between approval and claim" : "revoked");
        }
        for (auto& grant : grants_) {
            if (covers_grant(
                    halt,
                    grant,
                    "",
                    grant.lease().substr(std::min<std::size_t>(3, grant.lease().size()))
                ) &&
                withdraw(grant, halt.pressed_by(), now_))
                count("a grant voided");
        }
        record("halted", halt.id());
        halts_.push_back(std::move(halt));
    }

    void check() {
        for (auto& row : rows_) {
            const v1::Approval& body = row.record.body;
            must(row.executions <= 1, body.id() + " was executed twice");
            must(body.revision() >= row.revision, body.id() + " went back in its revision");
            const bool moved = body.state() != row.before;
            must(
                !moved || body.revision() > row.revision, body.id() + " changed without a revision"
            );
            const bool voided = row.before == v1::APPROVAL_STATE_APPROVED && row.executions == 0 &&
                                (body.state() == v1::APPROVAL_STATE_REVOKED ||
                                 body.state() == v1::APPROVAL_STATE_ABANDONED);
            must(
                !moved || row.before == v1::APPROVAL_STATE_PENDING || voided,
                body.id() + " was decided twice"
            );
            must(
                !row.record.pending() || !halted(body.origin()), body.id() + " waits inside a halt"
            );
            row.before = body.state();
            row.revision = body.revision();
        }
        for (const auto& grant : grants_) {
            v1::Origin origin;
            origin.set_org("acme");
            origin.set_user(grant.user());
            for (const auto& halt : halts_) {
                if (in_force(halt) && halt.scope() != v1::HALT_SCOPE_MACHINE &&
                    covers(halt, origin))
                    must(!usable(grant, now_), grant.id() + " counts inside a halt");
            }
        }
    }

    void check_chain() {
        ChainCheck whole;
        for (const auto& each : audit_) (void)whole.take(each);
        must(whole.finish(head_).whole(), "the chain is not whole");
        if (audit_.empty()) return;
        auto changed = audit_;
        const auto at = static_cast<std::size_t>(below(static_cast<int>(changed.size())));
        if (dice(50)) {
            changed[at].set_subject("another");
        } else {
            changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(at));
        }
        ChainCheck broken;
        for (const auto& each : changed) {
            if (!broken.take(each)) break;
        }
        const auto verdict = broken.finish(head_);
        must(
            !verdict.whole() && verdict.first_bad() == at + 1, "a change of the chain was not found"
        );
    }

    std::mt19937_64 random_;
    Counters& counters_;
    WallTime now_ = from_unix_micros(1'800'000'000'000'000);
    std::vector<Row> rows_;
    std::vector<v1::Grant> grants_;
    std::vector<v1::Halt> halts_;
    std::vector<v1::AuditRecord> audit_;
    ChainHead head_;
    std::string fault_;
};

TEST(WardenSimulation, WhateverComesInWhateverOrderOneApprovalIsOneExecution) {
    Counters counters;
    std::uint64_t first = 1;
    std::uint64_t last = kSeeds;
    if (const char* only = std::getenv("BERTH_SIM_SEED"); only != nullptr)
        first = last = std::strtoull(only, nullptr, 10);
    for (std::uint64_t seed = first; seed <= last; ++seed) {
        const std::string fault = WardenWorld(seed, counters).play();
        ASSERT_EQ(fault, "") << "BERTH_SIM_SEED=" << seed;
    }
    if (first == last) return;
    for (const char* rare :
         {"asked while halted",
          "approved by a grant",
          "a grant's last use",
          "a grant taken back",
          "a grant voided",
          "the same click again",
          "a vote of several",
          "refused self_approval",
          "refused not_approver",
          "refused not_in_group",
          "refused stale",
          "refused already_decided",
          "refused approval_expired",
          "expired",
          "reminded",
          "escalated",
          "the same claim again",
          "claim: content changed",
          "claim: already executed",
          "claim: halted",
          "claim: not decided yet",
          "abandoned after its approval",
          "revoked between approval and claim",
          "not resumed by who pressed it"}) {
        EXPECT_GT(counters[rare], 0) << rare;
    }
}

}  // namespace
}  // namespace berth::sim
