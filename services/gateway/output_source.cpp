// SPDX-License-Identifier: Apache-2.0
// Reading a run's output, and noticing when its end got lost.
#include "gateway/output_source.hpp"

#include <charconv>

#include "core/id.hpp"
#include "gateway/run_states.hpp"
#include "service/proto_time.hpp"

namespace berth::gateway {
namespace {

constexpr milliseconds kCheckLive{1'000};
constexpr milliseconds kCheckEnded{100};

SteadyTime::rep ticks() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

}  // namespace

OutputSource::OutputSource(
    Api& api, CallPtr call, run::v1::Run run, Options options, Take take, End end
)
    : api_(api),
      call_(std::move(call)),
      options_(options),
      take_(std::move(take)),
      end_(std::move(end)),
      run_(std::move(run)),
      queried_(std::chrono::steady_clock::now()),
      progress_(ticks()) {}

Result<void> OutputSource::start() {
    bus::ReaderSettings settings;
    settings.stream = "OUT";
    // A queued run has no machine yet.
    const std::string machine = is_subject_token(run_.machine()) ? run_.machine() : "*";
    settings.filter = "berth.out." + run_.org() + "." + machine + "." + run_.id();
    watch();
    BERTH_ASSIGN(reader_, api_.bus.read(settings, [this](const bus::ReadMessage& message) {
        return hear(message);
    }));
    check();
    return {};
}

void OutputSource::watch() {
    const std::weak_ptr<OutputSource> weak = weak_from_this();
    watch_ = api_.hub.watch(run_.org(), "run", run_.id(), [weak] {
        // On a bus thread this must not become the last owner: the query it starts ends on a
        // worker.
        if (auto self = weak.lock()) {
            auto& workers = self->api_.workers;
            self->query();
            workers.dispose(std::move(self));
        }
    });
}

bool OutputSource::hear(const bus::ReadMessage& message) {
    if (over_.load()) return false;
    seen_.store(true);
    more_stored_.store(message.pending > 0);
    run::v1::OutputFrame frame;
    bool more = true;
    // The stream may hold a frame twice or before its turn (a publish repeated across a reconnect):
    // the machine stores every frame again in its turn, so only the one that continues what we have
    // counts.
    if (!frame.ParseFromString(message.message.payload) || frame.offset() != expected_) {
        progress_.store(ticks());
        return true;
    }
    expected_ += frame.data().size();
    {
        // A notice of Berth's own has a place in the output but takes none.
        const bool notice = frame.stream() == run::v1::STREAM_BERTH;
        const std::uint64_t next = frame.offset() + (notice ? 0 : frame.data().size());
        const bool below =
            !frame.has_end() &&
            (notice ? next < options_.offset : next <= options_.offset && !frame.data().empty());
        if (!below) {
            in_take_.store(true);
            more = take_(frame, message.message.payload);
            in_take_.store(false);
        }
    }
    progress_.store(ticks());
    if (!more) {
        over_.store(true);
        return false;
    }
    if (frame.has_end() || (!options_.follow && message.pending == 0)) {
        // Of a run that still writes, what is stored now is all there is to be had.
        finish({{}, !frame.has_end() && has_gap()});
        return false;
    }
    return true;
}

void OutputSource::finish(const Ending& ending) {
    if (!over_.exchange(true)) end_(ending);
}

bool OutputSource::has_gap() {
    const std::lock_guard lock(mutex_);
    return has_ended(run_) && expected_.load() < run_.output_bytes();
}

void OutputSource::check() {
    if (over_.load()) return;
    const auto now = std::chrono::steady_clock::now();
    const auto quiet = now - SteadyTime(SteadyTime::duration(progress_.load()));
    bool ended = false;
    bool started = false;
    bool stale = false;
    {
        const std::lock_guard lock(mutex_);
        ended = has_ended(run_);
        started = run_.has_started_at();
        stale = now - queried_ > kRequery;
    }
    if (!options_.follow && !seen_.load() && quiet > kNoOutput) return finish({{}, has_gap()});
    const bool waiting = in_take_.load();  // for its client: that is no silence of the run
    const milliseconds patience = more_stored_.load() ? kStoredOutput
                                  : started           ? kLostEndFrame
                                                      : kNeverStarted;
    if (ended && !waiting && quiet > patience) return finish({synthetic_end(), has_gap()});
    if (!ended && stale) query();
    const std::weak_ptr<OutputSource> weak = weak_from_this();
    api_.workers.after(ended || !options_.follow ? kCheckEnded : kCheckLive, [weak] {
        if (const auto self = weak.lock()) self->check();
    });
}

void OutputSource::query() {
    run::v1::Get query;
    {
        const std::lock_guard lock(mutex_);
        if (has_ended(run_)) return;
        queried_ = std::chrono::steady_clock::now();
        query.set_run(run_.id());
    }
    fill_actor(call_->principal, *query.mutable_actor());
    const std::weak_ptr<OutputSource> weak = weak_from_this();
    ask_raw(
        api_,
        call_,
        "berth.qry.run.get",
        query,
        {},
        [weak, &api = api_](const Result<std::string>& bytes) {
            auto self = weak.lock();
            if (!self) return;
            if (!bytes && bytes.error().code == "run_not_found") {
                // He saw it when he asked for it; his share of its lease was withdrawn since.
                api.workers.after(milliseconds{0}, [self, why = bytes.error()] {
                    self->finish({{}, false, why});
                });
                return api.workers.dispose(std::move(self));
            }
            run::v1::Run run;
            if (bytes && run.ParseFromString(*bytes)) {
                const std::lock_guard lock(self->mutex_);
                if (run.revision() >= self->run_.revision()) self->run_ = run;
            }
            api.workers.dispose(std::move(self));
        }
    );
}

std::string OutputSource::synthetic_end() {
    run::v1::OutputFrame frame;
    const std::lock_guard lock(mutex_);
    frame.set_offset(run_.output_bytes());
    if (const std::uint64_t got = expected_.load(); got < run_.output_bytes()) {
        frame.set_stream(run::v1::STREAM_BERTH);
        frame.set_data(
            "the output is incomplete: of its " + std::to_string(run_.output_bytes()) +
            " bytes those from " + std::to_string(got) + " on are not there"
        );
    }
    auto& end = *frame.mutable_end();
    end.set_state(run_.state());
    if (run_.has_exit_code()) end.set_exit_code(run_.exit_code());
    end.set_signal(run_.signal());
    end.set_reason(run_.reason());
    end.set_output_capped(run_.output_capped());
    end.set_origin(run_.failure_origin());
    *frame.mutable_time() = service::to_timestamp(Clock::system().now());
    return frame.SerializeAsString();
}

void with_run(Api& api, const CallPtr& call, std::function<void(const run::v1::Run&)> then) {
    if (!plausible_id(call->param("id")))
        return call->fail(not_found("run_not_found", "there is no such run"));
    run::v1::Get query;
    fill_actor(call->principal, *query.mutable_actor());
    query.set_run(call->param("id"));
    ask<run::v1::Run>(
        api,
        call,
        "berth.qry.run.get",
        query,
        {},
        [&api, call, then = std::move(then)](const run::v1::Run& run) {
            if (!is_subject_token(run.id()) || !is_subject_token(run.org())) {
                return call->fail(bad_reply());
            }
            if (!api.workers.run([then, run] { then(run); })) {
                call->fail(
                    unavailable("overloaded", "too much is waiting already; try again in a moment")
                );
            }
        }
    );
}

Result<std::uint64_t> read_offset(const net::Query& query) {
    const auto text = query.get("offset");
    if (!text) return std::uint64_t{0};
    std::uint64_t offset = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), offset);
    if (error != std::errc() || end != text->data() + text->size()) {
        return invalid("bad_offset", "'offset' must be a number of bytes", "offset");
    }
    return offset;
}

}  // namespace berth::gateway
