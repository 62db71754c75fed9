// SPDX-License-Identifier: Apache-2.0
// What a run tells the bus: started, its output, its end; and how its folder goes when all is
// confirmed.
#include <fcntl.h>
#include <unistd.h>

#include "berth/run/v1/run.pb.h"
#include "log/log.hpp"
#include "node_agent/run.hpp"
#include "node_agent/warden_link.hpp"
#include "service/proto_time.hpp"

namespace berth::node {
namespace {

run::v1::RunState to_proto(EndState state) {
    switch (state) {
        case EndState::kSucceeded: return run::v1::RUN_STATE_SUCCEEDED;
        case EndState::kFailed: return run::v1::RUN_STATE_FAILED;
        case EndState::kCanceled: return run::v1::RUN_STATE_CANCELED;
        case EndState::kTimedOut: return run::v1::RUN_STATE_TIMED_OUT;
        case EndState::kLost: break;
    }
    return run::v1::RUN_STATE_LOST;
}

run::v1::OutputFrame::End to_proto(const ExitRecord& record) {
    run::v1::OutputFrame::End end;
    end.set_state(to_proto(record.state));
    if (record.has_code) end.set_exit_code(record.code);
    end.set_signal(record.signal);
    end.set_reason(record.reason);
    end.set_output_capped(record.capped);
    end.set_origin(record.of_berth ? "berth" : "remote");
    return end;
}

}  // namespace

void Run::publish_started() {
    if (started_sent_) return;
    const auto text = read_file(folder_ / "started");
    const auto record = text ? StartedRecord::decode(*text) : Result<StartedRecord>(text.error());
    started_sent_ = true;
    if (!record) {
        started_published_ = true;  // it never was
        return;
    }
    v1::RunStarted event;
    event.set_run(id());
    *event.mutable_started_at() = service::to_timestamp(from_unix_micros(record->started_us));
    publish_surely(
        context_,
        make_run_event(context_.settings, id(), "started", event),
        weak_from_this(),
        [this] {
            started_published_ = true;
            try_publish_end();
        }
    );
}

void Run::begin_output(std::uint64_t from, std::uint64_t written) {
    if (!output_) {
        output_ = std::make_shared<OutputPublisher>(
            context_,
            id(),
            folder_ / "spool",
            from,
            [weak = weak_from_this()](std::uint64_t offset) {
                if (const auto self = weak.lock()) self->on_confirmed(offset);
            }
        );
    }
    output_->advance(written);
}

void Run::on_confirmed(std::uint64_t offset) {
    send({Word::kConfirm, offset, 0, 0, 0, {}});
    try_publish_end();
}

void Run::set_end(ExitRecord record) {
    if (end_) return;
    if (record.state == EndState::kCanceled && !halting_.empty()) {
        if (const std::string why = context_.warden.reason_of(halting_); !why.empty())
            record.reason = why;
    }
    publish_started();
    if (!output_) {
        const auto [first, last] = SpoolReader::extent(folder_ / "spool");
        begin_output(first, last);
    } else if (!socket_) {
        output_->advance(SpoolReader::extent(folder_ / "spool").second);
    }
    if (record.state == EndState::kLost || killed_)
        record.output_bytes =
            std::max(output_->confirmed_offset(), SpoolReader::extent(folder_ / "spool").second);
    end_ = std::move(record);
    if (stdin_) stdin_->finish(end_->code);
    guard_->finish();
    try_publish_end();
}

void Run::try_publish_end() {
    if (!end_ || end_sent_ || !started_published_ ||
        output_->confirmed_offset() < end_->output_bytes)
        return;
    end_sent_ = true;
    run::v1::OutputFrame frame;
    frame.set_offset(end_->output_bytes);
    *frame.mutable_end() = to_proto(*end_);
    *frame.mutable_time() = service::to_timestamp(from_unix_micros(end_->ended_us));
    bus::Message message;
    message.subject =
        "berth.out." + context_.settings.org + "." + context_.settings.machine + "." + id();
    message.headers = {{std::string(bus::kMsgId), id() + "/end"}};
    message.payload = frame.SerializeAsString();
    publish_surely(context_, std::move(message), weak_from_this(), [this] {
        publish_ended_event();
    });
}

void Run::publish_ended_event() {
    v1::RunEnded event;
    event.set_run(id());
    *event.mutable_ended_at() = service::to_timestamp(from_unix_micros(end_->ended_us));
    *event.mutable_end() = to_proto(*end_);
    event.set_output_bytes(end_->output_bytes);
    publish_surely(
        context_,
        make_run_event(context_.settings, id(), "ended", event),
        weak_from_this(),
        [this] {
            ended_stored_ = true;
            clean_up();
        }
    );
}

/// The tombstone comes first: with neither folder nor tombstone a redelivered start would run it
/// again.
void Run::clean_up() {
    // The audit is warden's before the folder goes; it comes back when it is.
    if (!guard_->drained()) return guard_->finish();
    const auto self = shared_from_this();
    const auto done = context_.settings.dir / "node" / "done" / id();
    const Fd tombstone(::open(done.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    if (!tombstone || ::fsync(tombstone.get()) != 0) {
        context_.loop.after(kPublishPauseLongest, [weak = weak_from_this()] {
            if (const auto run = weak.lock()) run->clean_up();
        });
        return;
    }
    send({Word::kDone, 0, 0, 0, 0, {}});
    std::error_code error;
    std::filesystem::remove_all(guard_folder(context_.settings, id()), error);
    std::filesystem::remove_all(folder_, error);
    if (error)
        log::warning(
            "a run's folder cannot be removed", {{"run", id()}, {"error", error.message()}}
        );
    finished_(id());
}

}  // namespace berth::node
