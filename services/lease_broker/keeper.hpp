// SPDX-License-Identifier: Apache-2.0
// What happens to leases and pools without anybody asking: expiry, refill, and what was forgotten.
#pragma once

#include "lease_broker/handlers.hpp"
#include "metrics/metrics.hpp"
#include "service/runtime.hpp"

namespace berth::lease {

/// Ends what is overdue. Safety: every ending is in a transaction under the leader's fence and the
/// lease's row lock, so two reapers could at worst both look. Liveness: an expiry is at most
/// `reap_every` plus one leader change late. Nothing ended is scanned: the index is partial.
class Reaper {
public:
    static constexpr const char* kOffice = "reaper";
    Reaper(LeaseHandlers& handlers, service::Runtime& runtime);
    Result<void> look(std::int64_t fence);

private:
    /// Ends what is over among the first kLookBatch that are due; false where there may be more.
    Result<bool> reap(std::int64_t fence);
    Result<void> drop_stale(std::int64_t fence);
    /// What a command that was lost or came too late has left: machines that neither come nor go.
    Result<void> press_on(std::int64_t fence);

    const SteadyTime began_ = std::chrono::steady_clock::now();
    LeaseHandlers& handlers_;
    service::Runtime& runtime_;
    metrics::Counter expired_;
};

/// Keeps pools at what their profiles say. Safety: each step is a transaction under the leader's
/// fence, and where a profile has a maximum under the pool's lock, in which it counts again.
/// Liveness: whatever a crash or a lost event left undone (a warm machine missing or too many, a
/// cleaning nobody finished, a machine for someone in line) is found at the next look.
class Keeper {
public:
    static constexpr const char* kOffice = "pools";
    Keeper(
        const LeaseSettings& settings,
        const Profiles& profiles,
        Fleet& fleet,
        service::Runtime& runtime
    );
    Result<void> look(std::int64_t fence);

private:
    Result<void> tend(
        std::int64_t fence, const std::string& org, const std::string& profile, WallTime now
    );
    Result<void> end_cleanings(std::int64_t fence, WallTime now);

    const LeaseSettings& settings_;
    const Profiles& profiles_;
    Fleet& fleet_;
    service::Runtime& runtime_;
    metrics::Counter made_;
    metrics::Counter dropped_;
};

}  // namespace berth::lease
