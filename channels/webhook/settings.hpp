// SPDX-License-Identifier: Apache-2.0
// What webhook is told by its settings file, and its named limits.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/time.hpp"
#include "webhook/target.hpp"

namespace berth::webhook {

struct WebhookSettings {
    /// Holds the key that seals subscribers' secrets in the database: at least 32 characters, the
    /// same for every replica.
    std::string key_file;
    std::vector<Network> allowed_networks;  ///< beyond the public internet
    bool allow_http = false;
    milliseconds timeout{15'000};  ///< for one attempt
};
WebhookSettings read_webhook_settings(config::Reader& reader);

/// Of one org, and of one subscriber.
inline constexpr int kMaxSubscribers = 100;
inline constexpr int kMaxSubjects = 16;
inline constexpr std::size_t kMaxDescription = 256;
/// Deliveries that may wait for one subscriber: 100,000 of 1 KiB are 100 MiB of database. It is
/// disabled beyond that.
inline constexpr std::int64_t kMaxBacklog = 100'000;
/// Of one replay.
inline constexpr int kMaxReplay = 10'000;
/// Both secrets sign for this long after a rotation.
inline constexpr std::chrono::hours kOldSecretLife{24};

/// Events taken from the bus and stored in one transaction, at most: 256 cost hardly more than one.
inline constexpr std::size_t kIntakeBatch = 256;
/// Unacknowledged events held: two batches, so that one is stored while the next arrives.
inline constexpr std::size_t kIntakeInFlight = 512;

/// Attempts to one subscriber at once: enough for 1,000/s at 30 ms an answer, few enough to be
/// polite. One that fails gets one at a time.
inline constexpr std::size_t kWindow = 32;
/// Deliveries of one subscriber held in memory.
inline constexpr int kLoaded = 256;
/// Failures in a row from which the subscriber as a whole is thought to be away.
inline constexpr int kStreak = 3;
inline constexpr milliseconds kFirstRetry{5'000};
inline constexpr milliseconds kSlowestRetry{3'600'000};
inline constexpr milliseconds kGiveUpAfter = std::chrono::hours{24};
/// Results are written together: at the latest after this, or this many.
inline constexpr milliseconds kFlushEvery{20};
inline constexpr std::size_t kFlushBatch = 256;
/// While the database does not take results nothing more is sent beyond these.
inline constexpr std::size_t kMaxUnwritten = 1'024;
/// How soon another replica's changes and replays are noticed.
inline constexpr milliseconds kRefreshEvery{2'000};
/// How soon the end of another leader is.
inline constexpr milliseconds kLeadEvery{1'000};
/// Of an answer; it is not kept.
inline constexpr std::size_t kMaxAnswer = 16U << 10U;
inline constexpr std::size_t kMaxError = 200;

/// A name's addresses are believed this long; names are asked for by a few threads, because the
/// system's resolver waits.
inline constexpr milliseconds kResolved{60'000};
/// What was believed serves on while it is asked for anew: the guard looks at each post anyway.
inline constexpr milliseconds kStale{600'000};
inline constexpr std::size_t kResolverThreads = 16;
inline constexpr std::size_t kMaxResolved = 1'000;

/// The log is kept as long as the bus keeps events.
inline constexpr std::chrono::hours kLogAge{7 * 24};
inline constexpr milliseconds kTrimEvery{600'000};
inline constexpr int kTrimBatch = 5'000;

}  // namespace berth::webhook
