// SPDX-License-Identifier: Apache-2.0
// The bridging behind StdinFeed.
#include "node_agent/stdin_feed.hpp"

#include <algorithm>

#include "log/log.hpp"
#include "node_agent/run_socket.hpp"

namespace berth::node {

StdinFeed::~StdinFeed() = default;

bus::ChannelSettings StdinFeed::channel_settings() const {
    const std::string base = "berth.io." + context_.settings.machine + "." + run_;
    bus::ChannelSettings settings;
    settings.send_subject = base + ".out";
    settings.receive_subject = base + ".in";
    return settings;
}

bus::ByteChannel::Events StdinFeed::channel_events() {
    // Each event hops to the loop; an event of a feed that is gone is dropped there.
    const auto hop = [weak = weak_from_this(),
                      &loop = context_.loop](std::function<void(StdinFeed&)> work) {
        loop.post([weak, work = std::move(work)] {
            if (const auto self = weak.lock()) work(*self);
        });
    };
    bus::ByteChannel::Events events;
    events.on_data = [hop](std::string_view bytes) {
        hop([copy = std::string(bytes)](StdinFeed& self) {
            self.buffer_ += copy;
            self.pump();
        });
    };
    events.on_eof = [hop] {
        hop([](StdinFeed& self) {
            self.eof_ = true;
            self.pump();
        });
    };
    events.on_resize = [hop](unsigned rows, unsigned cols) {
        hop([=](StdinFeed& self) { self.sink_.resize(rows, cols); });
    };
    events.on_closed = [hop](const Result<void>& result, int) {
        hop([failed = !result](StdinFeed& self) {
            if (failed && !self.ended_)
                log::info("a run's stdin channel ended early", {{"run", self.run_}});
            self.channel_.reset();
        });
    };
    return events;
}

void StdinFeed::open(bus::Connection& connection) {
    auto channel = bus::ByteChannel::open(connection, channel_settings(), channel_events());
    if (!channel)
        return log::warning(
            "a run's stdin cannot be opened", {{"run", run_}, {"error", channel.error()}}
        );
    channel_ = std::move(*channel);
}

void StdinFeed::refuse(bus::Connection& connection, std::string_view reason) {
    open(connection);
    if (channel_ != nullptr) channel_->abort(reason);
}

void StdinFeed::drop() { channel_.reset(); }

void StdinFeed::add_room(std::uint64_t bytes, bool consumed) {
    room_ += bytes;
    if (consumed && channel_ != nullptr) channel_->consume(bytes);
    pump();
}

void StdinFeed::pump() {
    if (ended_) return;
    std::size_t sent = 0;
    while (sent < buffer_.size() && room_ > 0) {
        const std::size_t size =
            std::min({buffer_.size() - sent, kStdinPiece, static_cast<std::size_t>(room_)});
        if (!sink_.data({buffer_.data() + sent, size})) break;
        sent += size;
        room_ -= size;
    }
    buffer_.erase(0, sent);
    if (eof_ && buffer_.empty()) {
        eof_ = false;
        sink_.end();
    }
}

void StdinFeed::finish(int exit_code) {
    if (ended_) return;
    ended_ = true;
    if (channel_ == nullptr) return;
    // What the command never read is consumed by its end.
    channel_->consume(buffer_.size());
    buffer_.clear();
    channel_->finish(exit_code);
}

}  // namespace berth::node
