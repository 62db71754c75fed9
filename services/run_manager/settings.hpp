// SPDX-License-Identifier: Apache-2.0
// The named limits of run_manager; it has no settings of its own beyond the common ones.
#pragma once

#include "core/time.hpp"

namespace berth::run {

/// A machine whose node has not been heard for this long is presumed dead (it speaks every 5 s),
/// which with kLookEvery keeps "lost within 30 s".
inline constexpr seconds kMachineSilence{20};
inline constexpr milliseconds kLookEvery{1'000};
/// A start that a machine has not taken by then is not carried out any more.
inline constexpr seconds kStartBy{60};
/// A run that a living machine does not list this long after kStartBy never began there.
inline constexpr seconds kStartGrace{30};
inline constexpr seconds kAttachTimeout{5};
inline constexpr seconds kSyncTimeout{10};
inline constexpr seconds kSignalDeadline{600};
inline constexpr seconds kDefaultGrace{10};
inline constexpr seconds kMaxGrace{3'600};
/// Ended runs' output goes, oldest first, when the stream is fuller than this.
inline constexpr double kOutputHighWater = 0.8;
inline constexpr seconds kPurgeEvery{15};
/// How long a command may take to end once its owner may not use the lease any more: to put away
/// what it holds open, and no longer on a machine that is not his.
inline constexpr seconds kWithdrawnGrace{2};
/// Longer than any lease lives: what its workspace holds and whom it is shared with is known as
/// long as it can matter.
inline constexpr std::chrono::hours kLeaseKept{24 * 90};
inline constexpr int kPurgeBatch = 50;

}  // namespace berth::run
