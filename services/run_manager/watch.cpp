// SPDX-License-Identifier: Apache-2.0
// Silence means lost; a full stream means the oldest ended outputs go.
#include "run_manager/watch.hpp"

#include "core/json.hpp"
#include "log/log.hpp"
#include "run_manager/settings.hpp"

namespace berth::run {
namespace {

constexpr seconds kApiTimeout{5};
// A bus that hangs for this long is away.
constexpr seconds kBusAnswers{1};

}  // namespace

Watch::Watch(RunHandlers& handlers, service::Runtime& runtime)
    : handlers_(handlers), runtime_(runtime) {
    lost_ = runtime.metrics().counter(
        "berth_run_runs_lost_total", "Runs declared lost because their machine fell silent."
    );
    purged_ = runtime.metrics().counter(
        "berth_run_outputs_purged_total", "Outputs of ended runs removed to make room."
    );
}

Result<void> Watch::look(std::int64_t fence) {
    const SteadyTime now = std::chrono::steady_clock::now();
    // Deaf is not dead: while the bus is away, and until every machine had time to speak again,
    // nobody is judged.
    // A server that hangs is away, too, long before the connection shows it.
    if (!runtime_.bus().connected() || !runtime_.bus().flush(kBusAnswers)) {
        presences_.forget_all();
        return {};
    }

    BERTH_ASSIGN(const auto live, repo::live_runs(runtime_.pool()));
    for (const repo::LiveRun& run : live) {
        if (!run.placed) continue;
        const Presences::Verdict verdict = presences_.judge(run.machine, run.id, now);
        if (verdict == Presences::Verdict::kSilent) {
            BERTH_TRY(lose(
                fence,
                run.id,
                "its machine has not been heard for " + format_duration(kMachineSilence)
            ));
        } else if (verdict == Presences::Verdict::kHasNoSuchRun && Clock::system().now() > run.created_at + kStartBy + kStartGrace) {
            // The machine lives and does not know it: its start never arrived there, or its end was
            // reported and is on its way to us; an end that comes first wins.
            const auto current = repo::find(runtime_.pool(), run.id);
            if (current && *current && (*current)->state == RunState::RUN_STATE_STARTING) {
                BERTH_TRY(lose(fence, run.id, "its machine never started it"));
            }
        }
    }
    if (now >= next_purge_) {
        next_purge_ = now + kPurgeEvery;
        const WallTime before = Clock::system().now() - kLeaseKept;
        BERTH_TRY(repo::forget_trees(runtime_.pool(), before));
        BERTH_TRY(repo::forget_shares(runtime_.pool(), before));
        return make_room();
    }
    return {};
}

Result<void> Watch::lose(std::int64_t fence, const std::string& run, std::string_view reason) {
    auto messages = runtime_.pool().transact(
        [&](store::Transaction& tx) -> Result<std::vector<store::OutboxMessage>> {
            BERTH_TRY(store::check_fence(tx, "watch", fence));
            BERTH_ASSIGN(auto out, handlers_.lose(tx, run, reason, Clock::system().now()));
            if (!out.empty()) BERTH_TRY(store::Outbox::add_all(tx, out));
            return out;
        }
    );
    if (!messages) return std::move(messages).error();
    lost_.add();
    log::warning("run lost", {{"run", run}, {"reason", std::string(reason)}});
    runtime_.relay().publish_committed(std::move(*messages));
    return {};
}

Result<void> Watch::make_room() {
    for (int i = 0; i < kPurgeBatch; ++i) {
        BERTH_ASSIGN(
            const std::string text,
            runtime_.bus().request("$JS.API.STREAM.INFO.OUT", "", kApiTimeout)
        );
        BERTH_ASSIGN(const Json info, Json::parse(text));
        const Json* config = info.find("config");
        const Json* state = info.find("state");
        if (config == nullptr || state == nullptr)
            return unavailable("no_stream_info", "the bus does not tell about stream OUT");
        const std::int64_t most = config->int_or("max_bytes", 0);
        const std::int64_t bytes = state->int_or("bytes", 0);
        if (most <= 0 || static_cast<double>(bytes) < kOutputHighWater * static_cast<double>(most))
            return {};
        BERTH_ASSIGN(const auto oldest, repo::purgeable(runtime_.pool(), 1));
        if (oldest.empty()) return {};  // only live runs: they wait on their pipes
        const auto& [run, subject] = oldest.front();
        BERTH_ASSIGN(
            const std::string answer,
            runtime_.bus().request(
                "$JS.API.STREAM.PURGE.OUT", "{\"filter\":\"" + subject + "\"}", kApiTimeout
            )
        );
        BERTH_TRY(repo::mark_purged(runtime_.pool(), run));
        purged_.add();
        log::info("output purged to make room", {{"run", run}});
    }
    return {};
}

}  // namespace berth::run
