// SPDX-License-Identifier: Apache-2.0
// The byte channel's rules without threads, clock or bus, so that a simulation can try every order
// of events.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "berth/node/v1/node.pb.h"
#include "core/time.hpp"

namespace berth::bus {

/// One side of a channel. Single-threaded; time is passed in. Every call may leave frames in
/// take_frames().
class ChannelCore {
public:
    struct Limits {
        std::size_t frame_bytes;
        std::size_t window_bytes;
        milliseconds resend_after;
        milliseconds peer_timeout;
    };
    ChannelCore(Limits limits, SteadyTime now);

    // The local user's side.
    std::size_t send(std::string_view bytes, SteadyTime now);
    void finish(int exit_code, SteadyTime now);
    void resize(unsigned rows, unsigned cols);
    void consume(std::size_t count, SteadyTime now);
    void abort(std::string_view reason);

    /// A frame of the peer.
    void receive(const node::v1::ChannelFrame& frame, SteadyTime now);
    /// Resends, says hello, gives up. Call at next_wake() or after a reconnect (with `resend`).
    void tick(SteadyTime now, bool resend);
    SteadyTime next_wake() const;

    // What happened since the last call, for the adapter to act on.
    std::vector<node::v1::ChannelFrame> take_frames();
    std::string take_data() { return std::exchange(incoming_, {}); }
    bool take_eof() { return std::exchange(eof_event_, false); }
    bool take_writable() { return std::exchange(writable_event_, false); }
    std::optional<std::pair<unsigned, unsigned>> take_resize() {
        return std::exchange(resize_event_, std::nullopt);
    }

    bool closed() const { return closed_; }
    const std::string& error() const { return error_; }
    int peer_exit_code() const { return peer_exit_code_; }

private:
    std::uint64_t total() const { return base_ + unconfirmed_.size(); }
    std::uint64_t peer_limit() const { return peer_received_ + peer_window_; }
    std::uint64_t window() const;
    node::v1::ChannelFrame make_frame();
    void push_data(SteadyTime now);
    void resend(SteadyTime now);
    void fail(std::string reason, bool tell_peer);
    void check_closed();

    const Limits limits_;
    // Sending: bytes [base_, total()) are unconfirmed, those below sent_ were sent once.
    std::string unconfirmed_;
    std::uint64_t base_ = 0;
    std::uint64_t sent_ = 0;
    bool finished_ = false;
    bool eof_sent_ = false;
    bool eof_confirmed_ = false;
    int exit_code_ = 0;
    std::uint64_t peer_received_ = 0;
    std::uint64_t peer_window_;
    bool wants_writable_ = false;
    milliseconds resend_wait_;
    SteadyTime resend_at_{};
    // Receiving: bytes below expected_ arrived in order, those below consumed_ were dealt with.
    std::uint64_t expected_ = 0;
    std::uint64_t consumed_ = 0;
    std::uint64_t told_received_ = 0;
    std::uint64_t told_limit_ = 0;
    bool peer_eof_ = false;
    int peer_exit_code_ = 0;
    bool ack_due_ = false;
    SteadyTime ack_at_{};
    SteadyTime heard_at_;
    SteadyTime hello_at_;
    // Results.
    std::vector<node::v1::ChannelFrame> frames_;
    std::string incoming_;
    bool eof_event_ = false;
    bool writable_event_ = false;
    std::optional<std::pair<unsigned, unsigned>> resize_event_;
    bool closed_ = false;
    std::string error_;
};

}  // namespace berth::bus
