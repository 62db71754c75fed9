// SPDX-License-Identifier: Apache-2.0
// What one replica of run_manager does by the clock: runs whose machine fell silent, and output
// nobody has room for.
#pragma once

#include "run_manager/handlers.hpp"
#include "run_manager/presences.hpp"
#include "service/runtime.hpp"

namespace berth::run {

/// look() is called by the leader's loop; presences are heard on a bus thread.
///
/// Safety: a run is ended under its row lock and the leader's fence; an end that the machine
/// reports later changes nothing any more. Liveness: a dead machine's run is `lost` at most
/// kMachineSilence + kLookEvery after its last word, or after the look that first saw a run on it.
/// Gap: a machine that is cut off for longer than that and comes back finds its run declared lost;
/// its process is then ended by the node's own reading of the lease's end.
class Watch {
public:
    Watch(RunHandlers& handlers, service::Runtime& runtime);
    Result<void> listen() { return presences_.listen(runtime_.bus()); }
    Result<void> look(std::int64_t fence);
    /// Before what it uses goes.
    void stop() { presences_.stop(); }

private:
    Result<void> lose(std::int64_t fence, const std::string& run, std::string_view reason);
    Result<void> make_room();

    RunHandlers& handlers_;
    service::Runtime& runtime_;
    metrics::Counter lost_;
    metrics::Counter purged_;
    SteadyTime next_purge_{};  // the look's thread
    Presences presences_;
};

}  // namespace berth::run
