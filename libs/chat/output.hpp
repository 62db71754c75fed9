// SPDX-License-Identifier: Apache-2.0
// A run's output as a card shows it: its last lines while it runs, all of it when it ended. Private
// to libs/chat.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "berth/run/v1/run.pb.h"
#include "bus/connection.hpp"
#include "core/result.hpp"

namespace berth::chat {

/// The end of a text that grows. Bytes are kept, lines are made when asked for. Not thread-safe.
class Tail {
public:
    static constexpr std::size_t kBytes = 4'096;
    void add(std::string_view bytes);
    std::uint64_t total() const { return total_; }
    /// The last `lines` lines of at most `bytes` bytes, as text: escape sequences of terminals are
    /// left out, and a line that a carriage return wrote over shows what came last.
    std::string text(std::size_t lines, std::size_t bytes) const;

private:
    std::string kept_;
    std::uint64_t total_ = 0;
};

/// Bytes of a program as text for people: see Tail::text.
std::string readable(std::string_view bytes);

/// Frames of a run in their turn: what comes twice or early is dropped. Not thread-safe.
class Frames {
public:
    /// The bytes that continue what came before; an empty optional where the frame is not next.
    std::optional<std::string> take(const run::v1::OutputFrame& frame);
    std::uint64_t offset() const { return offset_; }

private:
    std::uint64_t offset_ = 0;
};

/// Follows a live run's output on the bus. Thread-safe.
class OutputFollower {
public:
    static Result<std::shared_ptr<OutputFollower>> start(
        bus::Connection& bus, const run::v1::Run& run
    );
    ~OutputFollower();
    /// How much there was so far; changes when more came.
    std::uint64_t total() const;
    std::string text(std::size_t lines, std::size_t bytes) const;

private:
    OutputFollower() = default;
    mutable std::mutex mutex_;
    Frames frames_;  // by mutex_
    Tail tail_;      // by mutex_
    std::unique_ptr<bus::Receiver> reader_;
};

/// All of an ended run's output that is stored, `most` bytes at most.
struct WholeOutput {
    std::string bytes;
    bool cut = false;         ///< there was more than `most`
    bool incomplete = false;  ///< part of it is not stored (any more)
};
/// Waits for the last frame a few seconds. Blocks; errors are of the bus.
Result<WholeOutput> whole_output(bus::Connection& bus, const run::v1::Run& run, std::size_t most);

}  // namespace berth::chat
