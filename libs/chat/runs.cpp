// SPDX-License-Identifier: Apache-2.0
// Jobs, step by step.
#include "chat/runs.hpp"

#include <algorithm>

#include "berth/lease/v1/lease.pb.h"
#include "chat/approvals.hpp"
#include "chat/length.hpp"
#include "chat/words.hpp"
#include "log/log.hpp"
#include "service/proto_time.hpp"

namespace berth::chat {
namespace {

constexpr milliseconds kJobPoll{500};  // a look at the clock is not rung for
constexpr milliseconds kLookAtLease{500};
constexpr std::chrono::minutes kWaitInLine{10};
// A machine that is not there by then (a boot of minutes, a line of ten) will not come.
constexpr std::chrono::minutes kMachinePatience{20};
constexpr milliseconds kOutageRetry{1'000};
// Without news the card shows the new duration, and the run is asked for: an event may be lost.
constexpr seconds kRedraw{15};
constexpr int kJobsAtOnce = 64;

common::v1::Actor actor_of(const JobRow& job) {
    common::v1::Actor actor;
    (void)actor.ParseFromString(job.actor);
    return actor;
}

run::v1::Start command_of(const JobRow& job) {
    run::v1::Start command;
    (void)command.ParseFromString(job.command);
    return command;
}

run::v1::Run run_of(const JobRow& job) {
    run::v1::Run run;
    (void)run.ParseFromString(job.body);
    return run;
}

RunCard card_of(const JobRow& job) {
    RunCard card;
    const auto command = command_of(job);
    card.command = shown_words({command.argv().begin(), command.argv().end()});
    card.user = actor_of(job).user();
    card.lease = job.slug.empty() ? job.lease : job.slug;
    card.canceled = job.canceled;
    return card;
}

}  // namespace

void Runs::start() {
    crew_.start(kWorkers, parts_.jobs, [this] {
        choose();
        return kJobPoll;
    });
}

void Runs::stop() { crew_.stop(); }

void Runs::choose() {
    std::vector<std::string> under_way;
    {
        const std::lock_guard lock(mutex_);
        under_way.assign(under_way_.begin(), under_way_.end());
    }
    auto due = repo::due_jobs(parts_.pool(), under_way, parts_.now(), kJobsAtOnce);
    if (!due) return;
    const std::lock_guard lock(mutex_);
    for (auto& job : *due) {
        if (under_way_.insert(job.id).second) (void)crew_.give(std::move(job));
    }
}

void Runs::work(const JobRow& job) {
    if (crew_.stopping()) return;
    take(job);
    const std::lock_guard lock(mutex_);
    under_way_.erase(job.id);
}

void Runs::take(const JobRow& job) {
    auto done = step(job);
    if (!done && !is_outage(done.error())) done = give_up(job, done.error());
    if (!done) {
        Step again;
        again.job = job;
        again.next = kOutageRetry;
        done = again;
    }
    if (const auto stored = store(job, *done); !stored) {
        log::warning("a job's step cannot be stored", {{"job", job.id}, {"error", stored.error()}});
        return;
    }
    parts_.outbound.ring();
    if (done->job.state == JobRow::State::kDone) {
        std::shared_ptr<OutputFollower> last;  // ended outside of the lock
        const std::lock_guard lock(mutex_);
        if (const auto known = followed_.find(job.id); known != followed_.end()) {
            last = std::move(known->second.output);
            followed_.erase(known);
        }
    } else if (done->next.count() == 0) {
        parts_.jobs.ring();
    }
}

Result<Runs::Step> Runs::step(const JobRow& job) {
    switch (job.state) {
        case JobRow::State::kWaiting: return acquire(job);
        case JobRow::State::kStarting: return launch(job);
        case JobRow::State::kFollowing: return follow(job);
        default: return finish(job);
    }
}

Runs::Step Runs::give_up(JobRow job, const Error& why) {
    Step out;
    out.card = card_of(job);
    out.card.failure = why.message.empty() ? why.code : why.message;
    out.draw = true;
    job.state = JobRow::State::kDone;
    out.job = std::move(job);
    return out;
}

Result<Runs::Step> Runs::acquire(JobRow job) {
    Step out;
    out.card = card_of(job);
    if (job.canceled) {
        out.draw = true;
        job.state = JobRow::State::kDone;
        out.job = std::move(job);
        return out;
    }
    lease::v1::Lease lease;
    if (job.lease.empty()) {
        lease::v1::Acquire command;
        *command.mutable_actor() = actor_of(job);
        command.set_profile(job.profile);
        command.set_label(job.label);
        command.set_reuse(true);
        *command.mutable_wait() = service::to_duration(kWaitInLine);
        BERTH_ASSIGN(
            lease,
            ask<lease::v1::Lease>(
                parts_,
                "berth.cmd.lease.acquire",
                command,
                service::child_command_id(job.id, "acquire")
            )
        );
    } else {
        lease::v1::Get query;
        *query.mutable_actor() = actor_of(job);
        query.set_lease(job.lease);
        BERTH_ASSIGN(lease, ask<lease::v1::Lease>(parts_, "berth.qry.lease.get", query, {}));
    }
    job.lease = lease.id();
    job.slug = lease.slug();
    out.card.lease = lease.slug();
    if (lease.state() == lease::v1::LEASE_STATE_ACTIVE) {
        job.state = JobRow::State::kStarting;
        out.job = std::move(job);
        return out;
    }
    if (lease.state() != lease::v1::LEASE_STATE_PENDING)
        return conflict(
            "no_machine",
            "there is no machine: " +
                (lease.end_detail().empty() ? lease.end_reason() : lease.end_detail())
        );
    if (parts_.now() - job.created_at > kMachinePatience)
        return conflict("no_machine", "no machine became ready in 20 minutes");
    out.card.waiting = lease.queue_position() > 0
                           ? "place " + std::to_string(lease.queue_position()) + " in the line"
                           : "";
    out.draw = true;
    out.next = kLookAtLease;
    out.job = std::move(job);
    return out;
}

Result<Runs::Step> Runs::launch(JobRow job) {
    Step out;
    run::v1::Start command = command_of(job);
    *command.mutable_actor() = actor_of(job);
    command.set_lease(job.lease);
    BERTH_ASSIGN(
        const auto run,
        ask<run::v1::Run>(
            parts_,
            "berth.cmd.run.start",
            command,
            service::child_command_id(job.id, "start"),
            seconds{10}
        )
    );
    job.run = run.id();
    job.body = run.SerializeAsString();
    job.revision = static_cast<std::int64_t>(run.revision());
    job.state = JobRow::State::kFollowing;
    out.card = card_of(job);
    out.draw = true;
    out.job = std::move(job);
    return out;
}

std::shared_ptr<OutputFollower> Runs::follower(const JobRow& job, const run::v1::Run& run) {
    {
        const std::lock_guard lock(mutex_);
        if (const auto& known = followed_[job.id].output) return known;
    }
    if (!run.has_started_at()) return nullptr;
    auto made = OutputFollower::start(parts_.runtime.bus(), run);
    if (!made) return nullptr;  // the next look tries again
    const std::lock_guard lock(mutex_);
    followed_[job.id].output = *made;
    return *made;
}

Result<Runs::Step> Runs::follow(JobRow job) {
    Step out;
    const SteadyTime now = std::chrono::steady_clock::now();
    bool stale = false;
    bool redraw = false;
    {
        const std::lock_guard lock(mutex_);
        Followed& followed = followed_[job.id];
        stale = now - followed.asked > kRedraw;
        redraw = now - followed.drawn > kRedraw;
        if (stale) followed.asked = now;
    }
    run::v1::Run run = run_of(job);
    if (job.canceled && !has_ended(run)) {
        run::v1::Cancel command;
        *command.mutable_actor() = actor_of(job);
        command.set_run(job.run);
        BERTH_TRY(ask<run::v1::Run>(
            parts_, "berth.cmd.run.cancel", command, service::child_command_id(job.id, "cancel")
        ));
    }
    if (stale) {
        run::v1::Get query;
        *query.mutable_actor() = actor_of(job);
        query.set_run(job.run);
        BERTH_ASSIGN(auto newest, ask<run::v1::Run>(parts_, "berth.qry.run.get", query, {}));
        if (static_cast<std::int64_t>(newest.revision()) > job.revision) {
            job.revision = static_cast<std::int64_t>(newest.revision());
            job.body = newest.SerializeAsString();
            run = std::move(newest);
            redraw = true;
        }
    }
    if (has_ended(run)) {
        job.state = JobRow::State::kFinishing;
        out.job = std::move(job);
        return out;
    }
    out.card = card_of(job);
    const auto output = follower(job, run);
    {
        const std::lock_guard lock(mutex_);
        Followed& followed = followed_[job.id];
        const std::uint64_t total = output ? output->total() : 0;
        out.draw = redraw || total != followed.shown || followed.revision != job.revision;
        if (out.draw) {
            followed.shown = total;
            followed.revision = job.revision;
            followed.drawn = now;
        }
    }
    if (output) out.card.output = output->text(kLines, kBytes);
    out.next = kCardEvery;
    out.job = std::move(job);
    return out;
}

Result<Runs::Step> Runs::finish(JobRow job) {
    Step out;
    const run::v1::Run run = run_of(job);
    BERTH_ASSIGN(WholeOutput whole, whole_output(parts_.runtime.bus(), run, kMaxFile));
    out.card = card_of(job);
    Tail tail;
    tail.add(whole.bytes);
    out.card.output = tail.text(kLines, kBytes);
    std::string text = readable(whole.bytes);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    if (text != out.card.output) {
        out.file = std::move(whole.bytes);
        out.file_cut = whole.cut;
    }
    if (whole.incomplete && !whole.cut)
        out.card.waiting = "part of the output is not stored any more";
    out.draw = true;
    job.state = JobRow::State::kDone;
    out.job = std::move(job);
    return out;
}

Result<void> Runs::store(const JobRow& before, const Step& step) {
    const WallTime now = parts_.now();
    return parts_.pool().transact([&](store::Transaction& tx) -> Result<void> {
        if (step.job.run != before.run) BERTH_TRY(repo::lock_run(tx, step.job.run));
        BERTH_ASSIGN(const auto current, repo::lock_job(tx, before.id));
        // Another instance was faster, or it was ended meanwhile.
        if (!current || current->state > step.job.state || current->state == JobRow::State::kDone)
            return {};
        JobRow job = step.job;
        job.canceled = job.canceled || current->canceled;
        if (current->revision > job.revision) {
            job.revision = current->revision;
            job.body = current->body;
            job.state = std::max(job.state, current->state);
        }
        const bool wake = job.canceled != step.job.canceled || job.state != step.job.state;
        BERTH_TRY(repo::update_job(tx, job, now + (wake ? milliseconds{0} : step.next)));
        if (step.draw && job.state == step.job.state) {
            Content content;
            content.is_card = true;
            RunCard card = step.card;
            card.canceled = job.canceled;
            content.card = run_card(run_of(job), card, now);
            BERTH_TRY(repo::change_content(tx, "job/" + job.id, content, false));
        }
        if (step.job.run != before.run)
            BERTH_TRY(follow_waiting(tx, job.run, job.conversation, now));
        if (step.file.empty()) return {};
        OutboundRow file;
        file.key = service::child_command_id(job.id, "output");
        file.kind = OutboundKind::kFile;
        file.outgoing.conversation = job.conversation;
        file.outgoing.content.file_name = job.run + ".log";
        file.outgoing.content.file_bytes = step.file;
        file.outgoing.content.markdown =
            step.file_cut ? "The first 8 MiB of the output." : "The whole output.";
        file.expires_at = now + kReplyTtl;
        BERTH_TRY(repo::insert_outbound(tx, file, now));
        return {};
    });
}

}  // namespace berth::chat
