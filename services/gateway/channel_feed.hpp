// SPDX-License-Identifier: Apache-2.0
// Bytes from a WebSocket into a byte channel, with back-pressure: what the machine does not take
// yet, the client does not get to send.
#pragma once

#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <string>

#include "bus/byte_channel.hpp"
#include "net/http_server.hpp"

namespace berth::gateway {

/// Holds the channel. Thread-safe. Destroy it on a worker: the channel joins its thread.
class ChannelFeed {
public:
    /// Called on the channel's thread.
    struct Events {
        std::function<void(std::string_view bytes)> on_data;
        std::function<void(const Result<void>& how, int exit_code)> on_closed;
    };

    explicit ChannelFeed(net::WebSocket socket) : socket_(std::move(socket)) {}

    /// Opens berth.io.<machine>.<channel>. Blocks no longer than a subscription takes.
    Result<void> open(
        bus::Connection& bus, const std::string& machine, const std::string& channel, Events events
    );
    /// On the I/O thread: sends, or keeps and pauses the socket. Dropped once the channel has
    /// closed.
    void push(std::string_view bytes);
    /// The client's stream ends after what was pushed.
    void finish();
    void resize(unsigned rows, unsigned cols);
    void consume(std::size_t count);
    void abort(std::string_view reason);

private:
    void drain();

    net::WebSocket socket_;
    std::latch opened_{1};  // channel_ is set
    std::mutex mutex_;
    std::string pending_;                        // by mutex_; at most one message beyond the pause
    bool finishing_ = false;                     // by mutex_
    bool finished_ = false;                      // by mutex_
    bool closed_ = false;                        // by mutex_
    std::unique_ptr<bus::ByteChannel> channel_;  // last: ended first
};

}  // namespace berth::gateway
