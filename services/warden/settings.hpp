// SPDX-License-Identifier: Apache-2.0
// The named limits of warden; it has no settings of its own beyond the common ones.
#pragma once

#include <cstddef>

#include "core/time.hpp"
#include "policy/policy.hpp"

namespace berth::warden {

/// Nodes that heard no beat for 10 s allow no new command: five beats of margin.
inline constexpr milliseconds kBeatEvery{2'000};
/// How late a deadline may be noticed.
inline constexpr milliseconds kDeadlinesEvery{250};
/// Approvals whose deadline one look takes; more wait for the next.
inline constexpr int kDeadlineBatch = 200;
/// An ask whose terms name no time.
inline constexpr std::chrono::minutes kDefaultTimeout{10};
/// A policy says no more; a machine might.
inline constexpr std::chrono::hours kMaxTimeout = policy::kMaxAskTimeout;
/// A machine that is away takes its decisions later; within the age of its command stream.
inline constexpr std::chrono::minutes kDecideDeadline{30};
/// A machine silent for longer is not waited for by a new halt, unless a lease names it.
inline constexpr seconds kMachineSilence{60};
inline constexpr std::size_t kMaxPolicyText = policy::kMaxPolicyBytes;
/// What travels as one message of the bus (1 MiB) with room for headers.
inline constexpr std::size_t kMaxAsk = 900U << 10U;
inline constexpr int kMaxRecords = 1'000;
/// What a machine tells of later than this is taken as of then.
inline constexpr std::chrono::hours kOldestRecord{7 * 24};
inline constexpr std::size_t kMaxComment = 2'000;
/// Of a command, an executable or a reason in the audit: a page of records is one message.
inline constexpr std::size_t kMaxShown = 4'000;
inline constexpr std::size_t kMaxTimes = 100'000;
/// Parsed policies kept in memory; each is immutable, the oldest goes first.
inline constexpr std::size_t kMaxParsed = 64;
/// Ended leases and gone machines are remembered this long, for messages that come late.
inline constexpr std::chrono::hours kForgetAfter{24};
inline constexpr seconds kForgetEvery{60};
/// What a record takes from the table to stream AUDIT, with a bus that was away: younger ones may
/// be missing there.
inline constexpr std::chrono::minutes kMirrorLag{1};
/// A stream that says nothing for so long has nothing to say.
inline constexpr milliseconds kMirrorQuiet{2'000};
/// Ended approvals and grants are kept this long after they were asked for; the audit stays.
inline constexpr std::chrono::hours kKeepEnded{24 * 90};
/// Of these, at one look.
inline constexpr int kForgetBatch = 1'000;
/// Records read at once while the chain is verified.
inline constexpr int kVerifyPage = 1'000;
/// Pages of one question: a second or two, well inside what an asker waits.
inline constexpr int kVerifyPages = 100;

}  // namespace berth::warden
