// SPDX-License-Identifier: Apache-2.0
// A run as a card, and the rows of a new one.
#include "chat/approvals.hpp"
#include "chat/length.hpp"
#include "chat/runs.hpp"
#include "chat/words.hpp"
#include "service/proto_time.hpp"

namespace berth::chat {
namespace {

constexpr std::size_t kShownCommand = 200;

std::string state_of(const run::v1::Run& run, const RunCard& what) {
    if (!what.failure.empty()) return "not started";
    if (run.id().empty()) return what.canceled ? "canceled" : "waiting for a machine";
    switch (run.state()) {
        case run::v1::RUN_STATE_QUEUED: return "queued";
        case run::v1::RUN_STATE_HELD: return "held: a command waits for approval";
        case run::v1::RUN_STATE_STARTING: return "starting";
        case run::v1::RUN_STATE_RUNNING: return what.canceled ? "being canceled" : "running";
        case run::v1::RUN_STATE_SUCCEEDED: return "succeeded";
        case run::v1::RUN_STATE_FAILED: return "failed";
        case run::v1::RUN_STATE_CANCELED: return "canceled";
        case run::v1::RUN_STATE_TIMED_OUT: return "timed out";
        case run::v1::RUN_STATE_LOST: return "lost";
        default: return "unknown";
    }
}

Tone tone_of(const run::v1::Run& run, const RunCard& what) {
    if (!what.failure.empty()) return Tone::kBad;
    switch (run.state()) {
        case run::v1::RUN_STATE_SUCCEEDED: return Tone::kGood;
        case run::v1::RUN_STATE_FAILED:
        case run::v1::RUN_STATE_TIMED_OUT:
        case run::v1::RUN_STATE_LOST: return Tone::kBad;
        case run::v1::RUN_STATE_HELD: return Tone::kWaiting;
        default: return Tone::kNeutral;
    }
}

}  // namespace

bool has_ended(const run::v1::Run& run) { return run.state() >= run::v1::RUN_STATE_SUCCEEDED; }

std::string spoken(milliseconds duration) {
    const auto all = std::chrono::duration_cast<seconds>(duration).count();
    if (all < 60) {
        const auto tenths = std::max<long long>(duration.count(), 0) / 100;
        return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
    }
    if (all < 3'600) return std::to_string(all / 60) + " min " + std::to_string(all % 60) + " s";
    return std::to_string(all / 3'600) + " h " + std::to_string(all % 3'600 / 60) + " min";
}

Card run_card(const run::v1::Run& run, const RunCard& what, WallTime now) {
    Card card;
    const bool over =
        !what.failure.empty() || has_ended(run) || (run.id().empty() && what.canceled);
    card.title = cut(what.command, kShownCommand, Unit::kCodePoints) + ": " + state_of(run, what);
    card.tone = tone_of(run, what);
    card.text =
        !what.failure.empty() ? what.failure
        : !run.reason().empty() && run.state() != run::v1::RUN_STATE_SUCCEEDED && has_ended(run)
            ? run.reason()
            : what.waiting;
    card.code = what.output;
    if (!what.lease.empty()) card.fields.push_back({"Lease", what.lease});
    if (run.has_started_at()) {
        const WallTime end = run.has_ended_at() ? service::to_wall_time(run.ended_at()) : now;
        card.fields.push_back(
            {"Duration",
             spoken(std::chrono::duration_cast<milliseconds>(
                 end - service::to_wall_time(run.started_at())
             ))}
        );
    }
    if (has_ended(run) && run.has_exit_code())
        card.fields.push_back({"Exit code", std::to_string(run.exit_code())});
    if (!over && !what.canceled)
        card.buttons.push_back({kCancel, "Cancel", ButtonStyle::kDanger, false});
    card.footer = run.id().empty() ? what.user : run.id() + " by " + what.user;
    return card;
}

Result<void> begin_job(
    store::Transaction& tx, const JobRow& job, const std::string& handle, WallTime now
) {
    run::v1::Start command;
    (void)command.ParseFromString(job.command);
    common::v1::Actor actor;
    (void)actor.ParseFromString(job.actor);
    OutboundRow row;
    row.key = job.card;
    row.kind = OutboundKind::kRun;
    row.follows = "job/" + job.id;
    row.outgoing.conversation = job.conversation;
    row.outgoing.handle = handle;
    row.outgoing.content.is_card = true;
    RunCard what;
    what.command = shown_words({command.argv().begin(), command.argv().end()});
    what.user = actor.user();
    what.lease = job.slug.empty() ? job.lease : job.slug;
    run::v1::Run run;
    (void)run.ParseFromString(job.body);
    row.outgoing.content.card = run_card(run, what, now);
    row.expires_at = now + kReplyTtl;
    BERTH_TRY(repo::insert_job(tx, job));
    BERTH_TRY(repo::insert_outbound(tx, row, now));
    return {};
}

}  // namespace berth::chat
