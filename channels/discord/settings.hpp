// SPDX-License-Identifier: Apache-2.0
// The named limits of the Discord bridge, each with its reason.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/time.hpp"

namespace berth::discord {

inline constexpr const char* kApiUrl = "https://discord.com/api/v10";
/// The form Discord asks for; requests without it may be blocked.
inline constexpr const char* kUserAgent = "DiscordBot (https://localhost/berth, 1)";

// What Discord takes (its documentation and description).
inline constexpr std::size_t kMaxContent = 2'000;
inline constexpr std::size_t kMaxTitle = 256;
inline constexpr std::size_t kMaxDescription = 4'096;
inline constexpr std::size_t kMaxFieldName = 256;
inline constexpr std::size_t kMaxFieldValue = 1'024;
inline constexpr std::size_t kMaxFields = 25;
inline constexpr std::size_t kMaxEmbed = 6'000;
inline constexpr std::size_t kMaxFooter = 512;  // of 2,048: it is small print
inline constexpr std::size_t kMaxButtonsInRow = 5;
inline constexpr std::size_t kMaxRows = 5;
inline constexpr std::size_t kMaxLabel = 80;
inline constexpr std::size_t kMaxModalTitle = 45;
inline constexpr std::size_t kMaxComment = 2'000;
inline constexpr std::size_t kMaxSubcommands = 25;
inline constexpr std::size_t kMaxCommandText = 100;
inline constexpr std::size_t kMaxOption = 6'000;
inline constexpr std::size_t kMaxNonce = 25;

/// GUILD_MESSAGES and DIRECT_MESSAGES: mentions and direct messages come with their text, so the
/// privileged message content intent is not asked for.
inline constexpr int kIntents = (1 << 9) | (1 << 12);

/// Discord answers a request within seconds; the bridge's own limit for one attempt is 30 s.
inline constexpr milliseconds kCallTimeout{10'000};
/// A budget that is free again so soon is waited for; else the bridge is told to come later.
inline constexpr milliseconds kPatience{400};
/// Discord takes 50 requests a second in all from every bot, by a window of its own.
inline constexpr std::size_t kGlobalPerSecond = 40;
/// 10,000 answers of 401, 403 or 429 in ten minutes ban the address; far below it nothing is asked.
inline constexpr int kMaxInvalid = 5'000;
inline constexpr std::chrono::minutes kInvalidWindow{10};
/// Budgets remembered; those that have ended go first.
inline constexpr std::size_t kMaxBudgets = 4'096;

/// An interaction's first answer counts within 3 s, its token for 15 minutes: a minute less, so
/// that no answer begins as it ends.
inline constexpr milliseconds kTokenLife{14 * 60 * 1'000};
/// How long an answer waits for the acknowledgement that goes before it.
inline constexpr milliseconds kAckWait{5'000};
inline constexpr milliseconds kAckTimeout{3'000};
inline constexpr std::size_t kAckThreads = 4;
inline constexpr std::size_t kMaxAcks = 1'024;
inline constexpr std::size_t kMaxInteractions = 8'192;
/// Signed requests older than this are refused: a recorded one is worth nothing.
inline constexpr seconds kSignatureAge{300};

/// Events between the Gateway and the database; more and Discord is read no further.
inline constexpr std::size_t kMaxQueue = 2'000;
/// Events that share a transaction.
inline constexpr std::size_t kMaxBatch = 200;
inline constexpr milliseconds kAcceptRetry{250};
/// How old the remembered place in the session may be; what came since comes again.
inline constexpr milliseconds kRememberEvery{1'000};
inline constexpr std::size_t kMaxChannels = 4'096;  // threads whose parents are remembered
/// One payload of the Gateway; a READY of a bot in many guilds is the largest.
inline constexpr std::size_t kMaxPayload = 8U << 20U;

/// After a session that was lost it is asked what was said meanwhile: in so many conversations that
/// were heard lately and as many others of each guild, as old as an answer is of use at most, and
/// well within kReadyWait.
inline constexpr std::int64_t kMissedPlaces = 50;
inline constexpr std::chrono::hours kMissedAge{1};
inline constexpr milliseconds kMissedWait{20'000};

inline constexpr milliseconds kHelloWait{20'000};
inline constexpr milliseconds kReadyWait{30'000};
inline constexpr milliseconds kFirstBackoff{1'000};
inline constexpr milliseconds kLongestBackoff{60'000};
/// Between two identifies (max_concurrency 1).
inline constexpr milliseconds kIdentifyEvery{5'000};
/// After op 9 that ends a session, as documented: 1 to 5 s at random.
inline constexpr milliseconds kInvalidWait{1'000};
inline constexpr milliseconds kInvalidJitter{4'000};
/// Connections to the address of resumption that may fail before the general one is used.
inline constexpr int kResumeTries = 3;
/// A refused token is tried again: somebody may have put another one into its file.
inline constexpr milliseconds kTokenRetry{10'000};
/// 4000-4999 are ours to choose; 1000 and 1001 would end the session.
inline constexpr int kKeepSession = 4'900;

}  // namespace berth::discord
