// SPDX-License-Identifier: Apache-2.0
// GET /v1/runs/{id}/output: the bytes of a run, as they were written.
#include <latch>

#include "gateway/output_source.hpp"

namespace berth::gateway {
namespace {

constexpr milliseconds kCutRetry{50};

// Where the bytes go; the source's callbacks share it.
struct Target {
    std::latch ready{1};  // stream is set
    net::Stream stream;
    std::uint64_t offset = 0;
    run::v1::Stream only = run::v1::STREAM_UNSPECIFIED;  // the command's two

    bool take(const run::v1::OutputFrame& frame) {
        ready.wait();
        const bool wanted = only == run::v1::STREAM_UNSPECIFIED
                                ? frame.stream() != run::v1::STREAM_BERTH
                                : frame.stream() == only;
        std::string_view bytes = frame.data();
        if (!wanted || bytes.empty()) return !stream.closed();
        const bool notice = frame.stream() == run::v1::STREAM_BERTH;
        if (!notice && frame.offset() < offset)
            bytes.remove_prefix(std::min<std::uint64_t>(bytes.size(), offset - frame.offset()));
        while (!stream.write_wait(bytes, kWriteTurn)) {
            if (stream.closed()) return false;
        }
        return true;
    }
};

Result<run::v1::Stream> read_stream(const net::Query& query) {
    const auto name = query.get("stream");
    if (!name) return run::v1::STREAM_UNSPECIFIED;
    if (*name == "stdout") return run::v1::STREAM_STDOUT;
    if (*name == "stderr") return run::v1::STREAM_STDERR;
    if (*name == "berth") return run::v1::STREAM_BERTH;
    return invalid("bad_stream", "'stream' must be stdout, stderr or berth", "stream");
}

// What came before the gap is right and shall arrive.
void send_then_cut(Api& api, const std::shared_ptr<Target>& target) {
    if (target->stream.closed()) return;
    if (target->stream.buffered() == 0) return target->stream.abort();
    api.workers.after(kCutRetry, [&api, target] { send_then_cut(api, target); });
}

struct Session {
    std::shared_ptr<OutputSource> source;
    OpenStreams::SlotPtr slot;
};

}  // namespace

void read_output(Api& api, const CallPtr& call) {
    const auto offset = read_offset(call->request.query);
    if (!offset) return call->fail(offset.error());
    const auto only = read_stream(call->request.query);
    if (!only) return call->fail(only.error());
    auto slot = api.streams.take(call->principal);
    if (!slot) return call->fail(slot.error());
    const auto target = std::make_shared<Target>();
    target->offset = *offset;
    target->only = *only;
    const bool follow = call->request.query.flag("follow");
    with_run(api, call, [&api, call, target, slot = *slot, follow](const run::v1::Run& run) {
        auto session = std::make_shared<Session>();
        session->slot = slot;
        session->source = std::make_shared<OutputSource>(
            api,
            call,
            run,
            OutputSource::Options{target->offset, follow},
            [target](const run::v1::OutputFrame& frame, const std::string&) {
                return target->take(frame);
            },
            [&api, target](const OutputSource::Ending& ending) {
                target->ready.wait();
                // Plain bytes have no room for a notice: a cut tells that this was not all.
                if (ending.refused)
                    target->stream.abort();
                else if (ending.gap)
                    send_then_cut(api, target);
                else
                    target->stream.close();
            }
        );
        if (const auto started = session->source->start(); !started) {
            target->ready.count_down();
            return call->fail(started.error());
        }
        target->stream = call->stream(
            "application/octet-stream",
            {{"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}}
        );
        target->ready.count_down();
        slot->on_revoked([stream = target->stream](const Error&) mutable { stream.abort(); });
        target->stream.on_closed([&api, session = std::move(session)]() mutable {
            api.workers.dispose(std::move(session));
        });
    });
}

}  // namespace berth::gateway
