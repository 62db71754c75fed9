// SPDX-License-Identifier: Apache-2.0
// A run's spool on its way to stream OUT: a window of frames in flight, and never one past a failed
// one.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "node_agent/node_context.hpp"
#include "node_agent/spool.hpp"

namespace berth::node {

/// Lives on the loop's thread; held by shared_ptr because answers of the bus come later.
///
/// When a frame fails, nothing more is sent until every frame in flight has its answer; then all is
/// sent again from the failed one (go-back-N). A later frame may have been stored meanwhile, or a
/// repeat after a reconnect may have put it ahead, which its stream sequence tells. It is then
/// stored once more, under a new message id, behind the failed one: a reader that takes only the
/// frame that begins at the offset it has reached always sees the whole output in order.
class OutputPublisher : public std::enable_shared_from_this<OutputPublisher> {
public:
    /// `confirmed` is called with each growing offset below which everything is stored.
    OutputPublisher(
        NodeContext context,
        std::string run,
        const std::filesystem::path& spool,
        std::uint64_t from,
        std::function<void(std::uint64_t)> confirmed
    );

    /// The spool holds whole records up to here.
    void advance(std::uint64_t written);
    std::uint64_t confirmed_offset() const { return confirmed_; }

private:
    struct InFlight {
        std::uint64_t end = 0;
        std::size_t bytes = 0;
        enum class State { kWaiting, kStored, kFailed } state = State::kWaiting;
        std::uint64_t sequence = 0;  ///< of the stream, once stored
    };
    void pump();
    void publish(const SpoolRecord& record);
    void settle(std::uint64_t number, const Result<bus::PubAck>& result);
    void go_back();
    void pump_after_pause();

    NodeContext context_;
    std::string run_;
    std::string subject_;
    SpoolReader reader_;
    std::function<void(std::uint64_t)> on_confirmed_;
    std::uint64_t written_ = 0;
    std::uint64_t confirmed_ = 0;
    std::deque<InFlight> flight_;
    std::uint64_t first_number_ = 0;  // of flight_.front()
    std::size_t flight_bytes_ = 0;
    std::uint64_t last_sequence_ = 0;  // of the frame confirmed last
    bool failing_ = false;
    bool pausing_ = false;
    milliseconds pause_ = kPublishPauseFirst;
    std::uint64_t overtaken_until_ = 0;  // frames below were stored ahead of an earlier one
    unsigned round_ = 0;
};

}  // namespace berth::node
