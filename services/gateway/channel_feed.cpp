// SPDX-License-Identifier: Apache-2.0
// The sending half of both WebSocket bridges.
#include "gateway/channel_feed.hpp"

namespace berth::gateway {

Result<void> ChannelFeed::open(
    bus::Connection& bus, const std::string& machine, const std::string& channel, Events events
) {
    const std::string base = "berth.io." + machine + "." + channel;
    bus::ChannelSettings settings;
    settings.send_subject = base + ".in";
    settings.receive_subject = base + ".out";
    bus::ByteChannel::Events hooks;
    hooks.on_data = [this, on_data = std::move(events.on_data)](std::string_view bytes) {
        opened_.wait();
        on_data(bytes);
    };
    // The machine's side has ended: whatever the client still says has no reader, so our half ends
    // too, and the channel closes with the machine's exit code.
    hooks.on_eof = [this] {
        opened_.wait();
        finish();
    };
    hooks.on_writable = [this] {
        opened_.wait();
        drain();
    };
    hooks.on_closed =
        [this, on_closed = std::move(events.on_closed)](const Result<void>& how, int exit_code) {
            opened_.wait();
            {
                const std::lock_guard lock(mutex_);
                closed_ = true;
                pending_.clear();
            }
            socket_.resume();  // so that the client's own close is heard
            on_closed(how, exit_code);
        };
    auto opened = bus::ByteChannel::open(bus, std::move(settings), std::move(hooks));
    if (!opened) return opened.error();
    channel_ = std::move(*opened);
    opened_.count_down();
    return {};
}

void ChannelFeed::push(std::string_view bytes) {
    const std::lock_guard lock(mutex_);
    if (closed_ || finishing_) return;
    if (pending_.empty()) bytes.remove_prefix(channel_->send(bytes));
    if (bytes.empty()) return;
    pending_.append(bytes);
    socket_.pause();
}

void ChannelFeed::drain() {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    pending_.erase(0, channel_->send(pending_));
    if (!pending_.empty()) return;
    socket_.resume();
    if (finishing_ && !std::exchange(finished_, true)) channel_->finish(0);
}

void ChannelFeed::finish() {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    finishing_ = true;
    if (pending_.empty() && !std::exchange(finished_, true)) channel_->finish(0);
}

void ChannelFeed::resize(unsigned rows, unsigned cols) { channel_->resize(rows, cols); }
void ChannelFeed::consume(std::size_t count) { channel_->consume(count); }
void ChannelFeed::abort(std::string_view reason) { channel_->abort(reason); }

}  // namespace berth::gateway
