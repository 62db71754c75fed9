// SPDX-License-Identifier: Apache-2.0
// Machines and what runs on them.
#include <algorithm>
#include <charconv>

#include "berth/run/v1/run.pb.h"
#include "chat/length.hpp"
#include "chat/runs.hpp"
#include "chat/verbs.hpp"
#include "chat/words.hpp"
#include "core/id.hpp"
#include "core/text.hpp"
#include "identity/sha256.hpp"
#include "service/proto_time.hpp"
#include "service/request.hpp"

namespace berth::chat {
namespace {

constexpr int kShownLeases = 20;
constexpr int kShownRuns = 10;
constexpr int kMostRuns = 50;
constexpr std::size_t kMaxLabel = 120;
constexpr std::size_t kShownLine = 80;

/// One lease per conversation and person: the owner is who asked.
std::string label_of(const Parts& parts, const Conversation& conversation) {
    std::string out = "chat " + parts.runtime.token() + " " + conversation.chat;
    if (!conversation.thread.empty()) out += "/" + conversation.thread;
    if (out.size() > kMaxLabel)
        out = "chat " + parts.runtime.token() + " " + hex(identity::sha256(out));
    return out;
}

JobRow new_job(Call& call) {
    JobRow job;
    job.id = call.row.command_id;
    job.org = call.speaker.org->org;
    job.card = service::child_command_id(call.row.command_id, "card");
    job.conversation = call.row.inbound.conversation;
    job.actor = call.speaker.actor.SerializeAsString();
    job.created_at = call.parts.now();
    return job;
}

Answer begin(Call& call, JobRow job) {
    Answer out;
    out.store = [job = std::move(job), handle = call.row.inbound.handle, now = call.parts.now()](
                    store::Transaction& tx
                ) { return begin_job(tx, job, handle, now); };
    return out;
}

Result<run::v1::Run> get_run(Call& call, const std::string& id) {
    run::v1::Get query;
    query.set_run(id);
    return ask_as_speaker<run::v1::Run>(call, "berth.qry.run.get", query);
}

Result<run::v1::Run> cancel_run(Call& call, const std::string& id) {
    run::v1::Cancel command;
    command.set_run(id);
    return command_as_speaker<run::v1::Run>(call, "berth.cmd.run.cancel", command);
}

/// Of who asked for it; of a run that is followed here, the run's.
std::string owner_of(const JobRow& job) {
    run::v1::Run run;
    if (!job.run.empty() && run.ParseFromString(job.body) && !run.owner().empty())
        return run.owner();
    common::v1::Actor actor;
    (void)actor.ParseFromString(job.actor);
    return actor.user();
}

std::string state_name(run::v1::RunState state) {
    std::string name = run::v1::RunState_Name(state);  // RUN_STATE_TIMED_OUT
    name.erase(0, std::min(name.size(), std::string_view("RUN_STATE_").size()));
    std::transform(name.begin(), name.end(), name.begin(), [](char c) {
        return c == '_' ? ' ' : static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    });
    return name;
}

std::string line_of(const run::v1::Run& run) {
    const std::string whole = shown_words({run.argv().begin(), run.argv().end()});
    const std::string shown = cut(whole, kShownLine, Unit::kCodePoints);
    std::string out = "- " + code(run.id()) + " " + code(shown) +
                      (shown == whole ? " " : " (cut; whole by `berth runs --json`) ") +
                      state_name(run.state());
    if (has_ended(run) && run.has_exit_code() && run.exit_code() != 0)
        out += ", exit code " + std::to_string(run.exit_code());
    if (run.has_started_at() && run.has_ended_at())
        out += ", " +
               spoken(std::chrono::duration_cast<milliseconds>(
                   service::to_wall_time(run.ended_at()) - service::to_wall_time(run.started_at())
               ));
    return out + "\n";
}

}  // namespace

Result<lease::v1::ListReply> list_leases(Call& call) {
    lease::v1::List query;
    query.mutable_page()->set_limit(service::kMaxPage);
    return ask_as_speaker<lease::v1::ListReply>(call, "berth.qry.lease.list", query);
}

Result<Answer> say_run(Call& call) {
    JobRow job = new_job(call);
    job.profile = call.speaker.org->profile;
    auto word = call.words.begin();
    for (; word != call.words.end() && word->rfind("--", 0) == 0; ++word) {
        if (*word == "--") {
            ++word;
            break;
        }
        const auto is = word->find('=');
        const std::string flag = word->substr(0, is);
        if (flag != "--profile" && flag != "--lease")
            return bad_usage("run does not know " + code(*word));
        if (is == std::string::npos && word + 1 == call.words.end())
            return bad_usage(code(flag) + " needs a value, and the command behind it");
        const std::string value = is == std::string::npos ? *++word : word->substr(is + 1);
        if (value.empty()) return bad_usage(code(flag) + " needs a value");
        if (flag == "--profile") {
            job.profile = value;
        } else {
            job.lease = name_of(value);
        }
    }
    if (word == call.words.end()) return bad_usage("run takes a command");
    run::v1::Start command;
    for (; word != call.words.end(); ++word) command.add_argv(*word);
    job.command = command.SerializeAsString();
    if (job.lease.empty()) job.label = label_of(call.parts, job.conversation);
    return begin(call, std::move(job));
}

Result<Answer> say_attach(Call& call) {
    if (call.words.empty()) return bad_usage("attach takes a run's id");
    BERTH_ASSIGN(const auto run, get_run(call, name_of(call.words[0])));
    BERTH_ASSIGN(
        const auto here,
        repo::job_here(call.parts.pool(), run.id(), conversation_key(call.row.inbound.conversation))
    );
    if (here) return say("That run has its card here already.", true);
    JobRow job = new_job(call);
    run::v1::Start command;
    *command.mutable_argv() = run.argv();
    job.command = command.SerializeAsString();
    job.lease = run.lease();
    job.run = run.id();
    job.body = run.SerializeAsString();
    job.revision = static_cast<std::int64_t>(run.revision());
    job.state = JobRow::State::kFollowing;
    return begin(call, std::move(job));
}

Result<Answer> say_cancel(Call& call) {
    if (call.words.empty()) {
        BERTH_ASSIGN(
            const auto jobs,
            repo::live_jobs(call.parts.pool(), conversation_key(call.row.inbound.conversation))
        );
        const auto mine = std::find_if(jobs.begin(), jobs.end(), [&](const JobRow& job) {
            return owner_of(job) == call.speaker.actor.user();
        });
        if (mine != jobs.end()) return cancel_job(call, mine->id);
        if (jobs.empty()) return not_found("no_run", "nothing runs here");
        return not_found(
            "no_run", "no run of yours is under way here; say which one by its id (see `history`)"
        );
    }
    BERTH_ASSIGN(const auto run, cancel_run(call, name_of(call.words[0])));
    return say(
        has_ended(run) ? code(run.id()) + " has ended: " + state_name(run.state()) + "."
                       : code(run.id()) + " is being canceled."
    );
}

Result<Answer> cancel_job(Call& call, const std::string& id) {
    BERTH_ASSIGN(const auto job, repo::find_job(call.parts.pool(), id));
    if (!job || job->state == JobRow::State::kDone) return say("That run has ended.", true);
    const std::string owner = owner_of(*job);
    const bool own = owner == call.speaker.actor.user();
    const Error not_yours = forbidden("not_yours", "that run is " + owner + "'s to cancel");
    if (!job->run.empty()) {
        // Whose run it is decides run_manager, not who clicked; of another's it says that there is
        // none, which is no secret where its card stands.
        const auto canceled = cancel_run(call, job->run);
        if (!canceled)
            return canceled.error().fault == Fault::kNotFound && !own ? not_yours
                                                                      : canceled.error();
    } else if (!own) {
        return not_yours;
    }
    Answer out = say("Canceling.", true);
    out.store = [id, now = call.parts.now()](store::Transaction& tx) -> Result<void> {
        BERTH_ASSIGN(auto current, repo::lock_job(tx, id));
        if (!current || current->state == JobRow::State::kDone) return {};
        current->canceled = true;
        return repo::update_job(tx, *current, now);
    };
    return out;
}

Result<Answer> say_leases(Call& call) {
    BERTH_ASSIGN(const auto reply, list_leases(call));
    if (reply.leases_size() == 0) return say("No machine is leased.");
    std::string out;
    int shown = 0;
    for (const auto& lease : reply.leases()) {
        if (++shown > kShownLeases) break;
        out += "- " + code(lease.slug()) + " of " + code(lease.owner()) + ", profile " +
               code(lease.profile());
        out += lease.state() == lease::v1::LEASE_STATE_PENDING ? ", waiting for its machine"
               : lease.live_runs() > 0                         ? ", in use"
                                                               : ", idle";
        if (lease.has_expires_at()) {
            const auto left = service::to_wall_time(lease.expires_at()) - call.parts.now();
            out +=
                ", " +
                spoken(std::max(std::chrono::duration_cast<milliseconds>(left), milliseconds{0})) +
                " left";
        }
        out += "\n";
    }
    if (reply.leases_size() > kShownLeases)
        out += "\nand " + std::to_string(reply.leases_size() - kShownLeases) + " more.\n";
    return say(std::move(out));
}

Result<Answer> say_release(Call& call) {
    std::string which;
    if (!call.words.empty()) {
        which = name_of(call.words[0]);
    } else {
        const std::string label = label_of(call.parts, call.row.inbound.conversation);
        BERTH_ASSIGN(const auto reply, list_leases(call));
        for (const auto& lease : reply.leases()) {
            if (lease.label() == label && lease.owner() == call.speaker.actor.user())
                which = lease.id();
        }
        if (which.empty()) return not_found("no_lease", "you have no machine in this conversation");
    }
    lease::v1::Release command;
    command.set_lease(which);
    BERTH_ASSIGN(
        const auto lease,
        command_as_speaker<lease::v1::Lease>(call, "berth.cmd.lease.release", command)
    );
    return say(code(lease.slug()) + " is released.");
}

Result<Answer> say_history(Call& call) {
    int count = kShownRuns;
    if (!call.words.empty()) {
        const std::string& text = call.words[0];
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
        if (error != std::errc{} || end != text.data() + text.size() || count < 1 ||
            count > kMostRuns)
            return bad_usage("history takes a number from 1 to 50");
    }
    run::v1::List query;
    query.mutable_page()->set_limit(static_cast<std::uint32_t>(count));
    BERTH_ASSIGN(
        const auto reply, ask_as_speaker<run::v1::ListReply>(call, "berth.qry.run.list", query)
    );
    if (reply.runs_size() == 0) return say("Nothing has run yet.");
    std::string out;
    for (const auto& run : reply.runs()) out += line_of(run);
    return say(std::move(out));
}

}  // namespace berth::chat
