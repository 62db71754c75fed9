// SPDX-License-Identifier: Apache-2.0
// The sliding window behind OutputPublisher.
#include "node_agent/output.hpp"

#include <algorithm>

#include "berth/run/v1/run.pb.h"
#include "log/log.hpp"
#include "service/proto_time.hpp"

namespace berth::node {

OutputPublisher::OutputPublisher(
    NodeContext context,
    std::string run,
    const std::filesystem::path& spool,
    std::uint64_t from,
    std::function<void(std::uint64_t)> confirmed
)
    : context_(context),
      run_(std::move(run)),
      subject_("berth.out." + context.settings.org + "." + context.settings.machine + "." + run_),
      reader_(spool),
      on_confirmed_(std::move(confirmed)),
      written_(from),
      confirmed_(from) {
    reader_.seek(from);
}

void OutputPublisher::advance(std::uint64_t written) {
    written_ = std::max(written_, written);
    pump();
}

void OutputPublisher::pump() {
    while (!failing_ && !pausing_ && flight_.size() < kWindowFrames && flight_bytes_ < kWindowBytes
    ) {
        auto record = reader_.next(written_);
        if (!record) {
            log::warning(
                "the output spool cannot be read; trying again",
                {{"run", run_}, {"error", record.error()}}
            );
            return pump_after_pause();
        }
        if (!*record) return;
        publish(**record);
    }
}

void OutputPublisher::publish(const SpoolRecord& record) {
    run::v1::OutputFrame frame;
    frame.set_offset(record.offset);
    frame.set_stream(static_cast<run::v1::Stream>(record.stream));
    frame.set_data(record.payload.data(), record.payload.size());
    *frame.mutable_time() = service::to_timestamp(Clock::system().now());
    bus::Message message;
    message.subject = subject_;
    message.payload = frame.SerializeAsString();
    std::string id = run_ + "/" + std::to_string(record.offset);
    if (record.offset < overtaken_until_) id += "/" + std::to_string(round_);
    message.headers = {{std::string(bus::kMsgId), std::move(id)}};
    const std::uint64_t number = first_number_ + flight_.size();
    flight_.push_back(
        {record.offset + record.payload.size(), record.payload.size(), InFlight::State::kWaiting, 0}
    );
    flight_bytes_ += record.payload.size();
    context_.bus.publish(
        std::move(message),
        [weak = weak_from_this(), number](Result<bus::PubAck> result) {
            if (const auto self = weak.lock()) self->settle(number, result);
        }
    );
}

void OutputPublisher::settle(std::uint64_t number, const Result<bus::PubAck>& result) {
    InFlight& entry = flight_.at(number - first_number_);
    entry.state = result ? InFlight::State::kStored : InFlight::State::kFailed;
    if (result) entry.sequence = result->sequence;
    if (!result && !failing_) {
        failing_ = true;
        log::warning(
            "output is not taken; holding it back", {{"run", run_}, {"error", result.error()}}
        );
    }
    const std::uint64_t before = confirmed_;
    while (!flight_.empty() && flight_.front().state == InFlight::State::kStored) {
        if (flight_.front().sequence < last_sequence_) {  // it lies ahead of what comes before it
            failing_ = true;
            break;
        }
        last_sequence_ = flight_.front().sequence;
        confirmed_ = flight_.front().end;
        flight_bytes_ -= flight_.front().bytes;
        flight_.pop_front();
        ++first_number_;
    }
    if (confirmed_ != before) {
        if (!failing_) pause_ = kPublishPauseFirst;
        on_confirmed_(confirmed_);
    }
    if (failing_) {
        const bool waiting = std::any_of(flight_.begin(), flight_.end(), [](const InFlight& e) {
            return e.state == InFlight::State::kWaiting;
        });
        if (!waiting) go_back();
        return;
    }
    pump();
}

/// Every answer is in: begin again behind the last frame that is stored in order.
void OutputPublisher::go_back() {
    for (const InFlight& entry : flight_) {
        if (entry.state == InFlight::State::kStored)
            overtaken_until_ = std::max(overtaken_until_, entry.end);
    }
    ++round_;
    first_number_ += flight_.size();
    flight_.clear();
    flight_bytes_ = 0;
    failing_ = false;
    reader_.seek(confirmed_);
    pump_after_pause();
}

void OutputPublisher::pump_after_pause() {
    pausing_ = true;
    context_.loop.after(pause_, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self) return;
        self->pausing_ = false;
        self->pump();
    });
    pause_ = std::min(pause_ * 2, kPublishPauseLongest);
}

}  // namespace berth::node
