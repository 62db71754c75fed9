// SPDX-License-Identifier: Apache-2.0
// Decisions, halts, and how Berth is.
#include <set>

#include "berth/warden/v1/warden.pb.h"
#include "chat/approvals.hpp"
#include "chat/length.hpp"
#include "chat/verbs.hpp"
#include "chat/words.hpp"
#include "service/proto_time.hpp"
#include "service/request.hpp"

namespace berth::chat {
namespace {

using warden::v1::Approval;

constexpr int kShownApprovals = 20;
constexpr std::size_t kShownPlan = 300;
constexpr std::size_t kShownWord = 64;

Result<warden::v1::ApprovalsReply> list(Call& call, warden::v1::ApprovalState state) {
    warden::v1::ListApprovals query;
    query.set_state(state);
    query.mutable_page()->set_limit(service::kMaxPage);
    return ask_as_speaker<warden::v1::ApprovalsReply>(call, "berth.qry.warden.approvals", query);
}

Result<warden::v1::ApprovalsReply> waiting(Call& call) {
    return list(call, warden::v1::APPROVAL_STATE_PENDING);
}

/// What words without an id mean: the only command that waited when they were said. Where another
/// one waited, too, which has ended since, nobody knows which was meant.
Result<std::string> the_only_one(Call& call) {
    const WallTime said = said_at(call.row);
    BERTH_ASSIGN(const auto pending, waiting(call));
    BERTH_ASSIGN(const auto all, list(call, warden::v1::APPROVAL_STATE_UNSPECIFIED));
    std::set<std::string> waited;
    bool later = false;
    for (const auto& approval : pending.approvals()) {
        if (service::to_wall_time(approval.created_at()) > said) {
            later = true;
        } else {
            waited.insert(approval.id());
        }
    }
    if (waited.empty() && later)
        return conflict(
            "asked_since",
            "what waits now was asked for after you said that, so nothing was decided; say which "
            "by its id (see `approvals`)"
        );
    if (waited.empty()) return not_found("nothing_waits", "Nothing waits for a decision.");
    const std::string only = *waited.begin();
    for (const auto& approval : all.approvals()) {
        if (approval.has_ended_at() && service::to_wall_time(approval.ended_at()) > said &&
            service::to_wall_time(approval.created_at()) <= said)
            waited.insert(approval.id());
    }
    if (waited.size() > 1)
        return bad_usage("several commands waited; say which by its id (see `approvals`)");
    return only;
}

Result<Answer> decide_by_words(Call& call, bool approve) {
    Decision decision;
    decision.approve = approve;
    const FirstWord first = first_word(call.rest);
    if (first.word.empty()) {
        BERTH_ASSIGN(decision.approval, the_only_one(call));
    } else {
        // Nothing but an id may stand first: taken for a comment, one that is misspelt would decide
        // another command.
        decision.approval = name_of(first.word);
        if (!is_id(decision.approval, kApprovalId))
            return bad_usage(
                code(cut(first.word, kShownWord, Unit::kCodePoints)) +
                " is no approval's id, which comes before a comment"
            );
        decision.comment = first.rest;
    }
    return decide(call, decision, service::child_command_id(call.row.command_id, "decide"));
}

std::string state_word(warden::v1::ApprovalState state) {
    switch (state) {
        case warden::v1::APPROVAL_STATE_APPROVED: return "approved";
        case warden::v1::APPROVAL_STATE_DENIED: return "denied";
        case warden::v1::APPROVAL_STATE_EXPIRED: return "expired";
        case warden::v1::APPROVAL_STATE_REVOKED: return "revoked";
        case warden::v1::APPROVAL_STATE_ABANDONED: return "abandoned";
        default: return "waiting";
    }
}

}  // namespace

Result<Answer> decide(Call& call, const Decision& decision, const std::string& command_id) {
    warden::v1::Decide command;
    *command.mutable_actor() = call.speaker.actor;
    command.set_approval(decision.approval);
    command.set_approve(decision.approve);
    command.set_comment(decision.comment);
    command.set_surface(call.parts.token());
    command.set_scope(warden::v1::GRANT_SCOPE_ONCE);
    BERTH_ASSIGN(
        const auto approval,
        ask<Approval>(call.parts, "berth.cmd.warden.decide", command, command_id)
    );
    Answer out = say(
        approval.state() == warden::v1::APPROVAL_STATE_PENDING
            ? "Your vote counts; more are needed."
            : "It is " + state_word(approval.state()) + " by " + code(approval.decided_by()) + ".",
        true
    );
    // The event tells the same a moment later; who clicked sees it now.
    out.store = [approval, &parts = call.parts](store::Transaction& tx) {
        return follow_approval(tx, parts.settings, approval, parts.now());
    };
    return out;
}

Result<Answer> say_approve(Call& call) { return decide_by_words(call, true); }
Result<Answer> say_deny(Call& call) { return decide_by_words(call, false); }

Result<Answer> say_approvals(Call& call) {
    BERTH_ASSIGN(const auto reply, waiting(call));
    if (reply.approvals_size() == 0) return say("Nothing waits for a decision.");
    std::string out;
    int shown = 0;
    for (const auto& approval : reply.approvals()) {
        if (++shown > kShownApprovals) break;
        const std::string plan = cut(approval.shown(), kShownPlan, Unit::kCodePoints);
        out += "- " + code(approval.id()) + " asked by " + code(approval.origin().user());
        if (plan != approval.shown())
            out +=
                ", cut here; whole on its card and by " + code("berth approvals " + approval.id());
        out += ":\n" + code_block(plan);
    }
    if (reply.approvals_size() > kShownApprovals)
        out += "\nand " + std::to_string(reply.approvals_size() - kShownApprovals) + " more.\n";
    return say(std::move(out));
}

Result<Answer> say_halt(Call& call) {
    warden::v1::PressHalt command;
    command.set_scope(warden::v1::HALT_SCOPE_ORG);
    command.set_reason(call.rest);
    BERTH_ASSIGN(
        const auto halt,
        command_as_speaker<warden::v1::Halt>(call, "berth.cmd.warden.halt", command)
    );
    return say(
        "**Halted** by " + code(call.speaker.actor.user()) + ": every run of " + code(halt.org()) +
        " is being stopped and none begins. Another authorised person ends it with " +
        code(call.prefix + "resume " + halt.id()) + "."
    );
}

Result<Answer> say_resume(Call& call) {
    warden::v1::Resume command;
    if (!call.words.empty()) command.set_halt(name_of(call.words[0]));
    BERTH_ASSIGN(
        const auto halt,
        command_as_speaker<warden::v1::Halt>(call, "berth.cmd.warden.resume", command)
    );
    return say("The halt " + code(halt.id()) + " is over.");
}

Result<Answer> say_status(Call& call) {
    BERTH_ASSIGN(
        const auto pressed,
        ask_as_speaker<warden::v1::HaltsReply>(
            call, "berth.qry.warden.halts", warden::v1::ListHalts{}
        )
    );
    BERTH_ASSIGN(const auto approvals, waiting(call));
    BERTH_ASSIGN(const auto held, list_leases(call));
    unsigned running = 0;
    for (const auto& lease : held.leases()) running += lease.live_runs();
    std::string out = "Berth answers. ";
    out += std::to_string(held.leases_size()) + " leases with " + std::to_string(running) +
           " live runs; " + std::to_string(approvals.approvals_size()) +
           " commands wait for a decision.\n";
    for (const auto& halt : pressed.halts())
        out += "\n**Halted** by " + code(halt.pressed_by()) +
               (halt.reason().empty() ? std::string() : ": " + code(halt.reason())) + " (" +
               code(halt.id()) + ")\n";
    return say(std::move(out));
}

}  // namespace berth::chat
