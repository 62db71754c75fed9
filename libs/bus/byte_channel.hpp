// SPDX-License-Identifier: Apache-2.0
// A reliable, flow-controlled pair of byte streams over plain bus subjects: stdin, terminals, sync,
// relays.
//
// Each side sends berth.node.v1.ChannelFrame messages on its own subject. A frame carries data at
// an offset of the sender's stream, and says what the sender has received of the other's
// (`received`, the end of the stream counting as one byte) and how much more it takes (`window`).
// The sender keeps what is unconfirmed (at most the window: 4 MiB in frames of 64 KiB) and sends it
// again from the confirmed offset when nothing is confirmed for a while or after a reconnect. So a
// lost, doubled or reordered frame, a restart of NATS, or a side that comes late costs time and
// never bytes. docs/decisions/0003 says why no stream stands behind it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "bus/connection.hpp"

namespace berth::bus {

inline constexpr std::size_t kChannelFrameBytes = 64U << 10U;
inline constexpr std::size_t kChannelWindowBytes = 64 * kChannelFrameBytes;

struct ChannelSettings {
    std::string send_subject;
    std::string receive_subject;
    milliseconds resend_after{50};  ///< doubles up to 2 s while the peer confirms nothing
    milliseconds peer_timeout{
        60'000};  ///< no frame for this long: the channel fails. Idle peers say hello each 15 s.
};

/// Callbacks run one at a time per channel, on a bus thread. Thread-safe otherwise.
class ByteChannel {
public:
    struct Events {
        /// In-order bytes of the peer. They count as consumed when consume() is called for them,
        /// which opens the peer's window again; a reader that stalls stalls the peer, not our
        /// memory.
        std::function<void(std::string_view bytes)> on_data;
        /// The peer half-closed: no more data will come.
        std::function<void()> on_eof;
        /// Room to send again after send() returned less than it was given.
        std::function<void()> on_writable;
        /// Terminal size from the peer.
        std::function<void(unsigned rows, unsigned cols)> on_resize;
        /// Ended: both directions done and confirmed (ok, with the peer's exit code if it gave
        /// one), or failed. Called once; nothing is called after it.
        std::function<void(Result<void>, int exit_code)> on_closed;
    };

    static Result<std::unique_ptr<ByteChannel>> open(
        Connection& connection, ChannelSettings settings, Events events
    );
    virtual ~ByteChannel() = default;

    /// Takes as much as the window allows and returns that count; 0 means wait for on_writable.
    virtual std::size_t send(std::string_view bytes) = 0;
    /// No more bytes from this side. `exit_code` is told to the peer when the channel closes.
    virtual void finish(int exit_code = 0) = 0;
    virtual void resize(unsigned rows, unsigned cols) = 0;
    /// `count` bytes given to on_data have been dealt with.
    virtual void consume(std::size_t count) = 0;
    /// Ends both directions at once and tells the peer why.
    virtual void abort(std::string_view reason) = 0;
};

}  // namespace berth::bus
