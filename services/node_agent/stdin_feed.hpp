// SPDX-License-Identifier: Apache-2.0
// A run's stdin: from the client's byte channel to the supervisor, never more than the command
// takes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "bus/byte_channel.hpp"
#include "node_agent/node_context.hpp"

namespace berth::node {

/// Lives on the loop's thread; held by shared_ptr because the channel speaks from the bus's
/// threads. Bytes count as consumed when the command read them, so a command that does not read
/// stalls its client and nothing grows here beyond the channel's window.
class StdinFeed : public std::enable_shared_from_this<StdinFeed> {
public:
    struct Sink {
        std::function<bool(std::string_view)> data;  ///< false: not taken, try again later
        std::function<void()> end;
        std::function<void(unsigned rows, unsigned cols)> resize;
    };
    StdinFeed(NodeContext context, std::string run, Sink sink)
        : context_(context), run_(std::move(run)), sink_(std::move(sink)) {}
    ~StdinFeed();

    /// Opens berth.io.<machine>.<run>.in/.out.
    void open(bus::Connection& connection);
    /// The client is told that its input is lost: a new node agent does not know what the old one
    /// consumed.
    void refuse(bus::Connection& connection, std::string_view reason);
    /// The connection is going away and the channel with it. What is missing cannot be got again;
    /// the command is not told "end", for a cut input must not look like a whole one.
    void drop();

    /// The supervisor takes so much more / the command read so much.
    void add_room(std::uint64_t bytes, bool consumed);
    /// The socket to the supervisor is writable again.
    void pump();
    /// The run ended.
    void finish(int exit_code);
    bool closed() const { return channel_ == nullptr; }

private:
    bus::ChannelSettings channel_settings() const;
    bus::ByteChannel::Events channel_events();

    NodeContext context_;
    std::string run_;
    Sink sink_;
    std::unique_ptr<bus::ByteChannel> channel_;
    std::string buffer_;
    std::uint64_t room_ = 0;
    bool eof_ = false;
    bool ended_ = false;
};

}  // namespace berth::node
