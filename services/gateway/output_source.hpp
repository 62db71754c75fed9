// SPDX-License-Identifier: Apache-2.0
// A run's stored output, read in order until its end, which comes even when the last frame was
// lost.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "berth/run/v1/run.pb.h"
#include "gateway/api.hpp"

namespace berth::gateway {

/// Reads berth.out.<org>.<machine>.<run> from its first frame. Thread-safe. Destroy it on a worker:
/// it joins its reader.
class OutputSource : public std::enable_shared_from_this<OutputSource> {
public:
    struct Options {
        std::uint64_t offset = 0;  ///< frames that lie wholly below it are left out
        bool follow = true;        ///< else it ends with what is stored now
    };
    /// `take` gets each frame and its bytes, on the reader's thread, and may wait there: that is
    /// what bounds a stalled client. False ends the reading. It must stop waiting when its client
    /// is gone.
    using Take = std::function<bool(const run::v1::OutputFrame& frame, const std::string& bytes)>;
    struct Ending {
        /// Empty after the last frame; else the bytes of a frame made from the run's record, where
        /// the last one did not come.
        std::string synthetic;
        /// The run has ended and not all of its output was there: the reader must not take what it
        /// got for the whole. `synthetic` then carries a notice that says so.
        bool gap = false;
        /// Why the caller may not see the run any more; nothing else of the ending counts then.
        std::optional<Error> refused{};
    };
    /// Called once, on any thread but the I/O thread, unless `take` ended the reading.
    using End = std::function<void(const Ending& ending)>;

    OutputSource(Api& api, CallPtr call, run::v1::Run run, Options options, Take take, End end);
    /// Blocks for a round trip of the bus.
    Result<void> start();

private:
    bool hear(const bus::ReadMessage& message);
    void watch();
    void check();
    void query();
    void finish(const Ending& ending);
    bool has_gap();
    std::string synthetic_end();

    Api& api_;
    const CallPtr call_;  // for the actor and the correlation id
    const Options options_;
    const Take take_;
    const End end_;
    std::mutex mutex_;
    run::v1::Run run_;                        // by mutex_
    SteadyTime queried_;                      // by mutex_
    std::atomic<SteadyTime::rep> progress_;   // when a frame was last dealt with
    std::atomic<std::uint64_t> expected_{0};  // written by the reader's thread
    std::atomic<bool> in_take_{false};
    std::atomic<bool> seen_{false};
    std::atomic<bool> more_stored_{false};
    std::atomic<bool> over_{false};
    std::shared_ptr<void> watch_;
    std::unique_ptr<bus::Receiver> reader_;  // last: ended first
};

/// Asks for the run (which is also the check that the caller may see it), then gives it to `then`
/// on a worker.
void with_run(Api& api, const CallPtr& call, std::function<void(const run::v1::Run&)> then);

/// ?offset; error "bad_offset".
Result<std::uint64_t> read_offset(const net::Query& query);

}  // namespace berth::gateway
