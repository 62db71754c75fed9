// SPDX-License-Identifier: Apache-2.0
// GET /v1/events: the org's events as server-sent events, each a CloudEvent in structured JSON.
#include <algorithm>
#include <atomic>
#include <charconv>
#include <latch>

#include "core/json.hpp"
#include "core/text.hpp"
#include "gateway/api.hpp"
#include "service/cloud_event.hpp"
#include "service/event_pattern.hpp"

namespace berth::gateway {
namespace {

constexpr milliseconds kInfoTimeout{2'000};

std::string to_sse(const bus::ReadMessage& read) {
    std::string type(read.message.header(bus::kCeType));
    if (!is_utf8(type) || type.find_first_of("\r\n") != std::string::npos) type = "event";
    const std::string sequence = std::to_string(read.sequence);
    service::CloudEvent event = service::to_cloud_event(read.message);
    event.attributes.emplace_back("sequence", sequence);
    return "id: " + sequence + "\nevent: " + type + "\ndata: " + service::structured_json(event) +
           "\n\n";
}

/// One reader of events. Dies on a worker, because its reader is joined then.
class EventStream : public std::enable_shared_from_this<EventStream> {
public:
    EventStream(Api& api, OpenStreams::SlotPtr slot) : api_(api), slot_(std::move(slot)) {}

    /// `follow` false: what is stored, and then the stream ends.
    void open(const CallPtr& call, const std::string& filter, std::uint64_t start, bool follow) {
        follow_ = follow;
        const auto newest = last_sequence();
        if (!newest && start == 0) {
            ready_.count_down();
            return call->fail(newest.error());
        }
        // No place beyond the end: who was told of one would miss what comes before it.
        if (newest) start = start == 0 ? *newest + 1 : std::min(start, *newest + 1);
        bus::ReaderSettings settings;
        settings.stream = "EVT";
        settings.filter = filter;
        settings.start_sequence = start;
        // A plain pointer: the reader is this object's and ends before it.
        auto reader = api_.bus.read(settings, [this](const bus::ReadMessage& message) {
            return take(message);
        });
        if (!reader) {
            ready_.count_down();
            return call->fail(reader.error());
        }
        reader_ = std::move(*reader);
        stream_ = call->stream(
            "text/event-stream", {{"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}}
        );
        // Where to resume, for who loses the connection before the first event.
        stream_.write("retry: 1000\nid: " + std::to_string(start - 1) + "\n\n");
        ready_.count_down();
        slot_->on_revoked([stream = stream_, id = call->request.id](const Error& why) mutable {
            const std::string last = "event: error\ndata: " + to_problem(why, id).body + "\n\n";
            // A reader that has taken nothing for long gets no more of what it may not have.
            if (!stream.write(last)) return stream.abort();
            stream.close();
        });
        keep_alive();
        if (!follow_) end_where_nothing_is();
        stream_.on_closed([self = shared_from_this()]() mutable {
            auto& workers = self->api_.workers;
            workers.dispose(std::move(self));
        });
    }

private:
    bool take(const bus::ReadMessage& message) {
        any_ = true;
        ready_.wait();
        const std::string event = to_sse(message);
        // Waiting here is what bounds a stalled reader: nothing more is asked of the bus meanwhile.
        while (!stream_.write_wait(event, kWriteTurn)) {
            if (stream_.closed()) return false;
        }
        if (follow_ || message.pending > 0) return true;
        stream_.close();
        return false;
    }

    /// Of the stream: what comes is behind it.
    Result<std::uint64_t> last_sequence() {
        BERTH_ASSIGN(
            const std::string text, api_.bus.request("$JS.API.STREAM.INFO.EVT", "", kInfoTimeout)
        );
        BERTH_ASSIGN(const Json info, Json::parse(text));
        const Json* state = info.find("state");
        const std::int64_t last = state == nullptr ? -1 : state->int_or("last_seq", -1);
        if (last < 0)
            return unavailable("no_stream_info", "the bus does not tell about stream EVT");
        return static_cast<std::uint64_t>(last);
    }

    /// The last message says that it is the last; where none is stored, silence does.
    void end_where_nothing_is() {
        const std::weak_ptr<EventStream> weak = shared_from_this();
        api_.workers.after(kNoOutput, [weak] {
            const auto self = weak.lock();
            if (self && !self->any_ && !self->stream_.closed()) self->stream_.close();
        });
    }

    void keep_alive() {
        const std::weak_ptr<EventStream> weak = shared_from_this();
        api_.workers.after(kSseKeepAlive, [weak] {
            const auto self = weak.lock();
            if (!self || self->stream_.closed()) return;
            if (self->stream_.buffered() == 0) self->stream_.write(": keep-alive\n\n");
            self->keep_alive();
        });
    }

    Api& api_;
    const OpenStreams::SlotPtr slot_;
    std::latch ready_{1};  // stream_ is set
    net::Stream stream_;
    bool follow_ = true;
    std::atomic<bool> any_{false};
    std::unique_ptr<bus::Receiver> reader_;  // last: ended first
};

Result<std::string> read_filter(const Call& call) {
    const auto pattern = call.request.query.get("subject");
    if (!pattern) return "berth.evt." + call.principal.org + ".>";
    BERTH_TRY(service::check_event_pattern(*pattern, call.principal.org, "subject"));
    return *pattern;
}

// 0: only new ones.
Result<std::uint64_t> read_start(const Call& call) {
    std::string text(call.request.headers.get("Last-Event-ID"));
    if (text.empty()) text = call.request.query.get_or("last_event_id", "");
    // ?from= is the first sequence wanted, Last-Event-ID the last one had.
    const bool from = text.empty() && call.request.query.get("from").has_value();
    if (from) text = call.request.query.get_or("from", "");
    if (text.empty()) return std::uint64_t{0};
    std::uint64_t last = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), last);
    if (error != std::errc() || end != text.data() + text.size() || last == UINT64_MAX) {
        return invalid(
            "bad_event_id",
            from ? "'from' must be the sequence of an event, a whole number"
                 : "Last-Event-ID must be the id of an event",
            from ? "from" : "Last-Event-ID"
        );
    }
    return from ? std::max<std::uint64_t>(last, 1) : last + 1;
}

}  // namespace

void stream_events(Api& api, const CallPtr& call) {
    const auto filter = read_filter(*call);
    if (!filter) return call->fail(filter.error());
    const auto start = read_start(*call);
    if (!start) return call->fail(start.error());
    const bool follow = call->request.query.get_or("follow", "true") != "false";
    auto slot = api.streams.take(call->principal);
    if (!slot) return call->fail(slot.error());
    const auto stream = std::make_shared<EventStream>(api, std::move(*slot));
    if (!api.workers.run([stream, call, follow, filter = *filter, start = *start] {
            stream->open(call, filter, start, follow);
        })) {
        call->fail(unavailable("overloaded", "too much is waiting already; try again in a moment"));
    }
}

}  // namespace berth::gateway
