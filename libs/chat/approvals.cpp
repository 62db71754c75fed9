// SPDX-License-Identifier: Apache-2.0
// From an approval's state to the messages that show it.
#include "chat/approvals.hpp"

#include <algorithm>

#include "service/proto_time.hpp"

namespace berth::chat {
namespace {

using warden::v1::Approval;
using warden::v1::ApprovalState;

bool is_pending(const Approval& approval) {
    return approval.state() == warden::v1::APPROVAL_STATE_PENDING;
}

std::string level_name(warden::v1::GuardLevel level) {
    switch (level) {
        case warden::v1::GUARD_LEVEL_NONE: return "none";
        case warden::v1::GUARD_LEVEL_OBSERVE: return "observe";
        case warden::v1::GUARD_LEVEL_SHIM: return "shim";
        case warden::v1::GUARD_LEVEL_ENFORCE: return "enforce";
        default: return "unknown";
    }
}

std::string votes_of(const Approval& approval) {
    std::string out;
    for (const auto& vote : approval.votes())
        out += (out.empty() ? "" : ", ") + vote.user() + (vote.approve() ? "" : " (no)");
    return out;
}

void tell_end(const Approval& approval, Card& card) {
    const std::string by = approval.decided_by();
    switch (approval.state()) {
        case warden::v1::APPROVAL_STATE_APPROVED:
            card.title = "Approved by " + by;
            card.tone = Tone::kGood;
            break;
        case warden::v1::APPROVAL_STATE_DENIED:
            card.title = "Denied by " + by;
            card.tone = Tone::kBad;
            break;
        case warden::v1::APPROVAL_STATE_EXPIRED:
            card.title = "Expired: nobody decided in time";
            card.tone = Tone::kBad;
            break;
        case warden::v1::APPROVAL_STATE_REVOKED:
            card.title = "Revoked by " + by;
            card.tone = Tone::kBad;
            break;
        default: card.title = "Abandoned: who asked is gone"; card.tone = Tone::kNeutral;
    }
    if (!approval.comment().empty()) card.text = approval.comment();
    if (!approval.replaced_by().empty())
        card.fields.push_back({"Edited as", approval.replaced_by()});
}

OutboundRow card_row(
    const Approval& approval, const Conversation& conversation, const Content& content, WallTime now
) {
    OutboundRow row;
    row.key = service::child_command_id(
        "approval/" + approval.id(), conversation.chat + "/" + conversation.thread
    );
    row.kind = OutboundKind::kApproval;
    row.follows = "approval/" + approval.id();
    row.outgoing.conversation = conversation;
    row.outgoing.content = content;
    // A card that comes after the decision is of use to nobody.
    row.expires_at =
        approval.has_deadline() ? service::to_wall_time(approval.deadline()) : now + kStaleApproval;
    return row;
}

Content content_of(const Approval& approval) {
    Content content;
    content.is_card = true;
    content.card = approval_card(approval);
    return content;
}

bool worth_asking(const Approval& approval, WallTime now) {
    if (approval.has_deadline() && service::to_wall_time(approval.deadline()) <= now) return false;
    return service::to_wall_time(approval.created_at()) + kStaleApproval > now;
}

}  // namespace

std::string spoken(WallTime time) {
    const std::string text = to_rfc3339(time);  // 2026-01-31T09:05:00.000001Z
    return text.substr(0, 10) + " " + text.substr(11, 8) + " UTC";
}

Card approval_card(const Approval& approval) {
    Card card;
    card.code = approval.shown();
    const auto field = [&](const char* label, const std::string& value) {
        if (!value.empty()) card.fields.push_back({label, value});
    };
    const auto& origin = approval.origin();
    field(
        "Asked by",
        origin.agent().empty() ? origin.user() : origin.user() + ", agent " + origin.agent()
    );
    field("Run", origin.run());
    field("Machine", origin.machine() + " (guard: " + level_name(origin.level()) + ")");
    field("Rule", approval.terms().rule());
    if (is_pending(approval)) {
        card.title = "May this run?";
        card.tone = Tone::kWaiting;
        card.text = approval.terms().reason();
        if (approval.has_deadline())
            field("Until", spoken(service::to_wall_time(approval.deadline())));
        std::string group;
        for (const auto& name : approval.group()) group += (group.empty() ? "" : ", ") + name;
        field("Who decides", group);
        if (approval.terms().quorum() > 1)
            field("Approvals needed", std::to_string(approval.terms().quorum()));
        field("So far", votes_of(approval));
        card.buttons = {
            {kApprove, "Approve", ButtonStyle::kGood, false, true},
            {kDeny, "Deny", ButtonStyle::kDanger, false},
            {kDenyWithComment, "Deny with comment", ButtonStyle::kPlain, true}};
    } else {
        tell_end(approval, card);
        if (approval.terms().quorum() > 1) field("Votes", votes_of(approval));
    }
    card.footer = approval.id();
    return card;
}

Result<void> follow_approval(
    store::Transaction& tx, const BridgeSettings& settings, const Approval& approval, WallTime now
) {
    const OrgSettings* org = settings.of_org(approval.org());
    if (org == nullptr) return {};
    const bool pending = is_pending(approval);
    if (!approval.origin().run().empty()) BERTH_TRY(repo::lock_run(tx, approval.origin().run()));
    ApprovalRow row;
    row.id = approval.id();
    row.org = approval.org();
    row.run = approval.origin().run();
    row.body = approval.SerializeAsString();
    row.revision = static_cast<std::int64_t>(approval.revision());
    row.ended = !pending;
    BERTH_ASSIGN(const bool newer, repo::put_approval(tx, row, now));
    if (!newer) return {};
    const Content content = content_of(approval);
    if (pending && worth_asking(approval, now)) {
        std::vector<Conversation> places = org->approvals;
        BERTH_ASSIGN(const auto jobs, repo::jobs_of_run(tx, row.run));
        for (const auto& job : jobs) {
            if (std::find(places.begin(), places.end(), job.conversation) == places.end())
                places.push_back(job.conversation);
        }
        for (const auto& place : places)
            BERTH_TRY(repo::insert_outbound(tx, card_row(approval, place, content, now), now));
    }
    return repo::change_content(tx, "approval/" + approval.id(), content, !pending);
}

Result<void> follow_waiting(
    store::Transaction& tx, const std::string& run, const Conversation& conversation, WallTime now
) {
    BERTH_TRY(repo::lock_run(tx, run));
    BERTH_ASSIGN(const auto waiting, repo::waiting_approvals(tx, run));
    for (const auto& row : waiting) {
        Approval approval;
        if (!approval.ParseFromString(row.body) || !worth_asking(approval, now)) continue;
        BERTH_TRY(repo::insert_outbound(
            tx, card_row(approval, conversation, content_of(approval), now), now
        ));
    }
    return {};
}

}  // namespace berth::chat
