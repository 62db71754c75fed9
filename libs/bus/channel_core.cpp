// SPDX-License-Identifier: Apache-2.0
// Go-back-N with a byte window. The end of a stream is confirmed as one more byte.
#include "bus/channel_core.hpp"

#include <algorithm>

namespace berth::bus {
namespace {

constexpr milliseconds kMaxResendWait{2'000};
// An idle side says hello this often, so that the other knows it is alive.
constexpr seconds kHello{15};
// A confirmation waits this long for data to ride on.
constexpr milliseconds kAckDelay{20};

}  // namespace

ChannelCore::ChannelCore(Limits limits, SteadyTime now)
    : limits_(limits),
      peer_window_(limits.window_bytes),
      resend_wait_(limits.resend_after),
      told_limit_(limits.window_bytes),
      heard_at_(now),
      hello_at_(now + kHello) {}

std::uint64_t ChannelCore::window() const {
    const std::uint64_t buffered = expected_ - consumed_;
    return buffered >= limits_.window_bytes ? 0 : limits_.window_bytes - buffered;
}

node::v1::ChannelFrame ChannelCore::make_frame() {
    node::v1::ChannelFrame frame;
    frame.set_offset(sent_);
    frame.set_received(expected_ + (peer_eof_ ? 1 : 0));
    frame.set_window(window());
    told_received_ = frame.received();
    told_limit_ = expected_ + window();
    ack_due_ = false;
    return frame;
}

std::size_t ChannelCore::send(std::string_view bytes, SteadyTime now) {
    if (closed_ || finished_) return 0;
    const std::uint64_t limit = std::min(peer_limit(), base_ + limits_.window_bytes);
    const std::size_t room = limit > total() ? static_cast<std::size_t>(limit - total()) : 0;
    const std::size_t taken = std::min(room, bytes.size());
    unconfirmed_.append(bytes.substr(0, taken));
    wants_writable_ = taken < bytes.size();
    push_data(now);
    return taken;
}

void ChannelCore::push_data(SteadyTime now) {
    const bool idle = sent_ == base_ && !eof_sent_;
    while (sent_ < total() && sent_ < peer_limit()) {
        node::v1::ChannelFrame frame = make_frame();
        const std::size_t size = std::min(
            {static_cast<std::size_t>(total() - sent_),
             limits_.frame_bytes,
             static_cast<std::size_t>(peer_limit() - sent_)}
        );
        frame.set_data(unconfirmed_.substr(static_cast<std::size_t>(sent_ - base_), size));
        sent_ += size;
        if (finished_ && sent_ == total()) {
            frame.set_eof(true);
            frame.set_exit_code(exit_code_);
            eof_sent_ = true;
        }
        frames_.push_back(std::move(frame));
    }
    if (finished_ && !eof_sent_ && sent_ == total()) {
        node::v1::ChannelFrame frame = make_frame();
        frame.set_eof(true);
        frame.set_exit_code(exit_code_);
        eof_sent_ = true;
        frames_.push_back(std::move(frame));
    }
    if (idle) resend_at_ = now + resend_wait_;
}

void ChannelCore::finish(int exit_code, SteadyTime now) {
    if (closed_ || finished_) return;
    finished_ = true;
    exit_code_ = exit_code;
    push_data(now);
}

void ChannelCore::resize(unsigned rows, unsigned cols) {
    if (closed_) return;
    // Not repeated when lost: the next change of size says it again.
    node::v1::ChannelFrame frame = make_frame();
    frame.set_rows(rows);
    frame.set_cols(cols);
    frames_.push_back(std::move(frame));
}

void ChannelCore::consume(std::size_t count, SteadyTime now) {
    consumed_ = std::min(expected_, consumed_ + count);
    // A window that opened by a quarter is told at once: the peer may be waiting for just that.
    if (!closed_ && consumed_ + limits_.window_bytes >= told_limit_ + limits_.window_bytes / 4) {
        frames_.push_back(make_frame());
    } else if (!ack_due_ && told_received_ < expected_) {
        ack_due_ = true;
        ack_at_ = now + kAckDelay;
    }
    check_closed();
}

void ChannelCore::abort(std::string_view reason) {
    if (!closed_) fail(std::string(reason), true);
}

void ChannelCore::fail(std::string reason, bool tell_peer) {
    if (tell_peer) {
        node::v1::ChannelFrame frame = make_frame();
        frame.set_error(reason.empty() ? "aborted" : reason);
        frames_.push_back(std::move(frame));
    }
    error_ = reason.empty() ? "aborted" : std::move(reason);
    closed_ = true;
}

void ChannelCore::receive(const node::v1::ChannelFrame& frame, SteadyTime now) {
    if (closed_) return;
    heard_at_ = now;
    if (!frame.error().empty()) {
        fail(frame.error(), false);
        return;
    }
    // What the peer confirms of ours. A confirmation beyond what we sent is a lie and is ignored.
    const std::uint64_t end = sent_ + (eof_sent_ ? 1 : 0);
    if (frame.received() <= end && frame.received() >= peer_received_) {
        const bool progress = frame.received() > peer_received_;
        const std::uint64_t bytes = std::min(frame.received(), sent_);
        if (bytes > base_) {
            unconfirmed_.erase(0, static_cast<std::size_t>(bytes - base_));
            base_ = bytes;
        }
        if (frame.received() == total() + 1 && eof_sent_) eof_confirmed_ = true;
        peer_received_ = bytes;
        const std::uint64_t limit_before = peer_limit();
        peer_window_ = std::min<std::uint64_t>(frame.window(), limits_.window_bytes);
        if (progress) {
            resend_wait_ = limits_.resend_after;
            resend_at_ = now + resend_wait_;
        }
        if (wants_writable_ && (progress || peer_limit() > limit_before)) {
            wants_writable_ = false;
            writable_event_ = true;
        }
        push_data(now);
    }
    if (frame.rows() > 0 && frame.cols() > 0) resize_event_ = {frame.rows(), frame.cols()};
    // What the peer sends. Only bytes that continue ours count; a gap or a repeat is answered with
    // where we are.
    const std::uint64_t frame_end = frame.offset() + frame.data().size();
    if (!frame.data().empty() || frame.eof()) {
        const bool joins = frame.offset() <= expected_ && frame_end >= expected_ &&
                           frame_end <= consumed_ + limits_.window_bytes;
        const bool news = joins && !peer_eof_ && (frame_end > expected_ || frame.eof());
        if (news) {
            incoming_.append(
                frame.data(),
                static_cast<std::size_t>(expected_ - frame.offset()),
                std::string::npos
            );
            expected_ = frame_end;
            if (frame.eof()) {
                peer_eof_ = true;
                eof_event_ = true;
                peer_exit_code_ = frame.exit_code();
                frames_.push_back(make_frame());
            } else if (!ack_due_) {
                ack_due_ = true;
                ack_at_ = now + kAckDelay;
            }
        } else {
            frames_.push_back(make_frame());
        }
    }
    check_closed();
}

void ChannelCore::check_closed() {
    if (!closed_ && eof_confirmed_ && peer_eof_) {
        node::v1::ChannelFrame frame = make_frame();
        frame.set_closed(true);
        frames_.push_back(std::move(frame));
        closed_ = true;
    }
}

void ChannelCore::resend(SteadyTime now) {
    sent_ = base_;
    eof_sent_ = false;
    push_data(now);
    resend_wait_ = std::min(resend_wait_ * 2, kMaxResendWait);
    resend_at_ = now + resend_wait_;
}

void ChannelCore::tick(SteadyTime now, bool resend_now) {
    if (closed_) return;
    if (now - heard_at_ >= limits_.peer_timeout) {
        fail("the other side has been silent for " + format_duration(limits_.peer_timeout), true);
        return;
    }
    const bool outstanding = sent_ > base_ || (eof_sent_ && !eof_confirmed_);
    if (outstanding && (resend_now || now >= resend_at_)) resend(now);
    if (ack_due_ && now >= ack_at_) frames_.push_back(make_frame());
    if (resend_now || now >= hello_at_) {
        frames_.push_back(make_frame());
        hello_at_ = now + kHello;
    }
}

SteadyTime ChannelCore::next_wake() const {
    SteadyTime wake = std::min(hello_at_, heard_at_ + limits_.peer_timeout);
    if (sent_ > base_ || (eof_sent_ && !eof_confirmed_)) wake = std::min(wake, resend_at_);
    if (ack_due_) wake = std::min(wake, ack_at_);
    return wake;
}

std::vector<node::v1::ChannelFrame> ChannelCore::take_frames() {
    return std::exchange(frames_, {});
}

}  // namespace berth::bus
