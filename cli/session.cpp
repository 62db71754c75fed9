// SPDX-License-Identifier: Apache-2.0
// Lease, sync, start, follow, collect, and the account of it all.
#include "cli/session.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <thread>

#include "cli/api.hpp"
#include "cli/attachment.hpp"
#include "cli/exit_codes.hpp"
#include "cli/heartbeat.hpp"
#include "cli/interrupts.hpp"
#include "cli/lease_choice.hpp"
#include "cli/output_file.hpp"
#include "cli/results.hpp"
#include "cli/sync.hpp"
#include "cli/terminal.hpp"
#include "core/fd.hpp"
#include "core/json.hpp"
#include "core/text.hpp"

extern char** environ;

namespace berth::cli {
namespace {

// Phases that take longer are worth a line on a terminal.
constexpr milliseconds kWorthTelling{500};

// Another working tree was sent between our sync and our start. Each time its runs came first, so
// this many in a row means that something else is wrong.
constexpr int kRounds = 20;

constexpr std::string_view kCollectLabel = "-collect";
// How long a lease outlives a client that died before it could fetch and release.
constexpr std::string_view kCollectIdle = "5m";

// Of a run whose command ended well while its reports do not say that all is well.
constexpr int kExitTests = 1;

// What --fail-on-test-failures asks of the reports: that they are there, whole, and name no
// failure.
Result<void> verdict_of(const Results& results) {
    const auto trouble = [&results](const char* code, const char* what) {
        return conflict(
            code,
            fmt::format("the command ended well but {}; see 'berth results {}'", what, results.run)
        );
    };
    if (results.totals.failed + results.totals.errors > 0)
        return trouble("tests_failed", "tests failed");
    if (!results.complete)
        return trouble("reports_incomplete", "not every report could be fetched and read");
    if (results.reports.empty()) return trouble("no_report", "wrote no report");
    return {};
}

class Stopwatch {
public:
    milliseconds lap() {
        const auto now = std::chrono::steady_clock::now();
        const auto took = std::chrono::duration_cast<milliseconds>(now - begin_);
        begin_ = now;
        return took;
    }

private:
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// One session from lease to result.
class Session {
public:
    Session(Context& context, SessionOptions options, Secret token)
        : context_(context),
          options_(std::move(options)),
          token_(std::move(token)),
          api_(context.server(), token_) {}

    int run() {
        Interrupts interrupts(context_.server(), token_);
        Outcome outcome = steps(interrupts);
        return finish(std::move(outcome));
    }

private:
    Outcome steps(Interrupts& interrupts) {
        auto body = describe();
        if (!body) return outcome_of(body.error(), kExitRunUsage);
        Stopwatch watch;
        auto leased = take_lease(interrupts);
        lap("lease", watch);
        if (!leased) return give_back(outcome_of(leased.error(), kExitNoLease), 0, watch);
        const Heartbeat heartbeat(context_.server(), token_, lease_);
        body->set_lease(lease_.id());
        auto run = Result<run::v1::Run>(conflict("tree_changed", "nothing is sent yet"));
        for (int round = 0; !run && run.error().code == "tree_changed" && round < kRounds;
             ++round) {
            if (options_.sync) {
                const auto synced = send_tree(*body, round > 0);
                lap("sync", watch);
                if (!synced)
                    return give_back(outcome_of(synced.error(), kExitSync), kExitSync, watch);
            }
            run = api_.start(*body);
            lap("start", watch);
        }
        if (!run) return give_back(outcome_of(run.error(), kExitLost), 0, watch);
        run_ = std::move(run).value();
        if (run_->state() == run::v1::RUN_STATE_QUEUED && !run_->reason().empty())
            context_.progress(fmt::format("run {} {}", run_->id(), run_->reason()));
        if (options_.detach) return Outcome{};
        Outcome outcome = follow(*body, interrupts);
        lap("run", watch);
        refresh_run(outcome);
        if (run_->has_ended_at() && options_.wanted.any()) {
            outcome = collect(std::move(outcome));
            lap("collect", watch);
        }
        // A lease that was kept for its results is ours to end; a one-shot one ends by itself.
        if (run_->has_ended_at() && ours_ && !lease_.one_shot()) {
            if (auto released = api_.release(lease_.id()); !released)
                context_.complain(with_lease_left(std::move(released).error(), lease_.slug()));
            lap("release", watch);
        }
        return outcome;
    }

    /// `doubt`: the workspace turned out not to hold what was sent last.
    Result<void> send_tree(gateway::v1::RunBody& body, bool doubt) {
        BERTH_ASSIGN(
            const SyncReport report,
            sync_tree(
                context_,
                token_,
                {lease_.id(), lease_.machine()},
                {.force = options_.force_sync, .verify = doubt}
            )
        );
        body.set_tree(report.tree);
        if (!report.skipped && report.took > kWorthTelling)
            context_.detail(
                fmt::format("sent {} files in {}", report.files, format_duration(report.took))
            );
        return {};
    }

    void lap(const char* phase, Stopwatch& watch) { timings_[phase] += watch.lap().count(); }

    Result<gateway::v1::RunBody> describe() {
        gateway::v1::RunBody body;
        const bool text =
            std::all_of(options_.argv.begin(), options_.argv.end(), [](const auto& word) {
                return is_utf8(word);
            });
        for (const auto& word : options_.argv)
            text ? body.add_argv(word) : body.add_argv_bytes(word);
        BERTH_TRY(describe_environment(body));
        const std::string folder = options_.here ? context_.subfolder() : "";
        if (!is_utf8(folder))
            return invalid(
                "usage", "the current folder's name is not UTF-8; run the command from another"
            );
        body.set_cwd(folder);
        body.set_timeout(options_.timeout);
        if (!body.timeout().empty()) {
            if (auto time = parse_duration(body.timeout()); !time) {
                return invalid(
                    "usage",
                    fmt::format(
                        "--timeout must be a duration like 90s or 2h, not '{}'; see 'berth help "
                        "run'",
                        body.timeout()
                    )
                );
            }
        }
        body.set_tty(options_.tty);
        body.set_stdin(stdin_is_useful() && !options_.detach);
        if (body.tty()) {
            const WindowSize size = window_size();
            body.set_rows(size.rows == 0 ? 24 : size.rows);
            body.set_cols(size.cols == 0 ? 80 : size.cols);
        }
        return body;
    }

    Result<void> describe_environment(gateway::v1::RunBody& body) {
        auto names = options_.env;
        for (const auto& name : names) {
            if (name.find('=') != std::string::npos)
                return invalid(
                    "usage",
                    fmt::format(
                        "--env takes a name, not '{}'; set the variable before the call", name
                    )
                );
            const char* value = std::getenv(name.c_str());
            if (value == nullptr)
                return invalid(
                    "usage",
                    fmt::format("--env {}: there is no such variable; set it or leave it out", name)
                );
            if (!is_utf8(value))
                return invalid("usage", fmt::format("--env {}: its value is not UTF-8", name));
            (*body.mutable_env())[name] = value;
            body.add_env_required(name);
        }
        const auto allowed = context_.settings().list("env");
        for (char** entry = environ; *entry != nullptr; ++entry) {
            const std::string_view text = *entry;
            const auto equals = text.find('=');
            if (equals == std::string_view::npos || !is_utf8(text)) continue;
            const std::string_view name = text.substr(0, equals);
            const bool wanted =
                std::any_of(allowed.begin(), allowed.end(), [&](const std::string& pattern) {
                    return pattern.ends_with('*')
                               ? name.starts_with(
                                     std::string_view(pattern).substr(0, pattern.size() - 1)
                                 )
                               : name == pattern;
                });
            if (wanted)
                (*body.mutable_env())[std::string(name)] = std::string(text.substr(equals + 1));
        }
        if (body.tty()) {
            if (const char* term = std::getenv("TERM"); term != nullptr)
                (*body.mutable_env())["TERM"] = term;
        }
        return {};
    }

    Result<void> take_lease(Interrupts& interrupts) {
        const std::string named = context_.settings().text("lease");
        if (!named.empty()) {
            BERTH_ASSIGN(lease_, api_.lease(named));
        } else {
            BERTH_TRY(acquire());
            if (ours_) interrupts.set_lease(lease_.id());
        }
        BERTH_ASSIGN(lease_, await_machine(context_, api_, lease_));
        if (lease_.state() != lease::v1::LEASE_STATE_ACTIVE) return lease_failure(lease_);
        return {};
    }

    Result<void> acquire() {
        gateway::v1::AcquireBody body;
        body.set_profile(context_.settings().text("profile"));
        body.set_label(context_.tree_label());
        body.set_reuse(true);
        body.set_one_shot(!options_.keep);
        body.set_wait(options_.wait);
        const bool collects = options_.wanted.any() && !options_.keep && !options_.detach;
        if (collects) {
            BERTH_ASSIGN(const auto kept, kept_lease());
            if (kept) {
                lease_ = *kept;
                return {};
            }
            // A one-shot lease ends with its run, and its files with it. This one ends when we say
            // so, or soon after us; under its own label no other berth takes it for a kept one.
            body.set_one_shot(false);
            body.set_reuse(false);
            body.set_label(context_.tree_label() + std::string(kCollectLabel));
            body.set_idle_timeout(std::string(kCollectIdle));
        }
        BERTH_ASSIGN(lease_, api_.acquire(body));
        // A kept lease of this tree may have come back: that one is not ours to end.
        ours_ = lease_.one_shot() || collects;
        return {};
    }

    Result<std::optional<lease::v1::Lease>> kept_lease() {
        auto found = chosen_lease(context_, api_, "");
        if (!found && found.error().code != "no_lease") return std::move(found).error();
        if (!found || found->one_shot() || found->profile() != context_.settings().text("profile"))
            return std::optional<lease::v1::Lease>();
        return std::optional<lease::v1::Lease>(std::move(*found));
    }

    Outcome collect(Outcome outcome) {
        context_.detail("fetching results");
        auto collected = collect_results(context_, token_, *run_, options_.wanted);
        const bool judged = outcome.code == 0 && options_.fail_on_test_failures;
        if (!collected) {
            if (judged) return outcome_of(std::move(collected).error(), kExitTests);
            context_.complain(collected.error());
            return outcome;
        }
        results_ = std::move(*collected);
        if (!context_.json()) {
            context_.progress(summary_line(*results_));
            tell_skipped(context_, *results_);
        }
        if (!judged) return outcome;
        auto verdict = verdict_of(*results_);
        return verdict ? outcome : Outcome{kExitTests, "berth", std::move(verdict).error()};
    }

    // The run was not started: its one-shot lease, or the wait for it, would be for nothing. `code`
    // overrides all but "unreachable".
    Outcome give_back(Outcome outcome, int code, Stopwatch& watch) {
        if (code != 0 && outcome.code != kExitUnreachable) outcome.code = code;
        if (ours_) {
            const auto released = api_.release(lease_.id());
            if (!released && outcome.error)
                outcome.error = with_lease_left(std::move(*outcome.error), lease_.slug());
            lap("release", watch);
        }
        return outcome;
    }

    Outcome follow(const gateway::v1::RunBody& body, Interrupts& interrupts) {
        AttachmentOptions options;
        options.server = context_.server();
        options.token = token_;
        options.run = run_->id();
        options.forward_stdin = body.stdin();
        options.tty = body.tty();
        if (context_.json()) options.stdout_fd = STDERR_FILENO;
        Attachment attachment(std::move(options));
        interrupts.set_run(run_->id(), &attachment);
        const RawMode raw(body.tty());
        Outcome outcome = attachment.follow();
        interrupts.clear_run();
        return outcome;
    }

    // The last frame of output may be here before the run's own record has heard of the end.
    void refresh_run(const Outcome& outcome) {
        if (options_.detach || outcome.code == kExitUnreachable || run_->has_ended_at()) return;
        auto fresh = api_.wait_ended(run_->id(), kRecordPatience);
        if (fresh) run_ = std::move(fresh).value();
    }

    Json result(const Outcome& outcome) {
        Json out = Json::object();
        if (run_) {
            out.set("run", Json::parse(to_json(*run_)).value_or(Json::object()));
        }
        if (!lease_.id().empty()) {
            out.set(
                "lease",
                Json::object()
                    .set("id", lease_.id())
                    .set("slug", lease_.slug())
                    .set("machine", lease_.machine())
                    .set("kept", !ours_)
            );
        }
        Json exit = Json::object();
        exit.set("code", outcome.code).set("origin", outcome.origin);
        if (outcome.error)
            exit.set(
                "error",
                Json::object()
                    .set("code", outcome.error->code)
                    .set("message", outcome.error->message)
            );
        out.set("exit", exit);
        if (results_) out.set("results", to_json(*results_));
        Json timings = Json::object();
        for (const char* phase : {"lease", "sync", "start", "run", "collect", "release"}) {
            timings.set(
                phase, static_cast<std::int64_t>(timings_.contains(phase) ? timings_[phase] : 0)
            );
        }
        out.set("timings_ms", timings);
        return out;
    }

    int finish(Outcome outcome) {
        const std::string& file = options_.result_file;
        if (context_.json() || !file.empty()) {
            const std::string text = result(outcome).dump() + "\n";
            if (context_.json()) context_.print(text);
            if (!file.empty()) {
                if (const auto written = write_file_atomic(file, text, 0644); !written)
                    context_.complain(written.error());
            }
        } else if (options_.announce && outcome.code == 0) {
            context_.print(fmt::format("{}\n", lease_.slug()));
            context_.progress(fmt::format(
                "lease {} is warm: 'berth run --keep -- <command>' uses it, 'berth release' ends "
                "it",
                lease_.slug()
            ));
        } else if (options_.detach && run_) {
            context_.print(run_->id() + "\n");
        }
        if (outcome.error) context_.complain(*outcome.error);
        return outcome.code;
    }

    Context& context_;
    const SessionOptions options_;
    const Secret token_;
    Api api_;
    lease::v1::Lease lease_;
    bool ours_ = false;
    std::optional<run::v1::Run> run_;
    std::optional<Results> results_;
    std::map<std::string, long long> timings_;
};

}  // namespace

int run_session(Context& context, SessionOptions options) {
    auto token = context.token();
    if (!token) {
        context.complain(token.error());
        return kExitRunUsage;
    }
    if (!options.result_file.empty()) {
        if (const auto probe = OutputFile::prepare(options.result_file); !probe) {
            context.complain(probe.error());
            return kExitRunUsage;
        }
    }
    return Session(context, std::move(options), std::move(token).value()).run();
}

}  // namespace berth::cli
