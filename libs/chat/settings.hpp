// SPDX-License-Identifier: Apache-2.0
// What every bridge is told by its settings file: which conversations and people are whose, and
// where approvals are asked.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/platform.hpp"
#include "config/config.hpp"
#include "core/secret.hpp"

namespace berth::chat {

// Limits, each with its reason.
/// A message is not retried beyond this age: who asked has gone on.
inline constexpr std::chrono::minutes kReplyTtl{10};
/// A message that cannot be changed is tried this long: a decision is worth showing late.
inline constexpr std::chrono::hours kEditTtl{24};
/// A message that came in and cannot be carried out (the bus or a service is away) is told so then.
inline constexpr std::chrono::minutes kGiveUp{10};
/// Longer than any platform sends an event again (WhatsApp: seven days). What was said longer ago
/// is not taken any more: it may have been done, and forgotten.
inline constexpr std::chrono::hours kInboundKept{8 * 24};
/// Messages whose cards may still change are kept until the thing ended; others this long.
inline constexpr std::chrono::hours kOutboundKept{7 * 24};
/// An approval that waits longer than this when the bridge first hears of it is not asked anew.
inline constexpr std::chrono::hours kStaleApproval{24};
/// Of one that is older than this when it is heard of, warden is asked how it is now: a bridge that
/// is new, or was away, hears of days, and asks nobody about what is over.
inline constexpr std::chrono::minutes kFreshApproval{1};
/// Between two refusals of one stranger.
inline constexpr std::chrono::hours kRefusalEvery{1};
/// Who somebody is (and with which roles) is asked anew after this.
inline constexpr seconds kPersonFor{1};
/// What the table, memory and a file of a run's output hold at most.
inline constexpr std::size_t kMaxFile = 8U << 20U;  // Discord's limit for bots is 10 MB

/// One org's side of a bridge.
struct OrgSettings {
    std::string org;
    std::vector<std::string> chats;       ///< where it listens, besides direct chats
    std::vector<Conversation> approvals;  ///< where approval cards go ("chat" or "chat/thread")
    std::vector<std::string> people;      ///< ids; empty: whoever is linked to a user of the org
    std::string profile;                  ///< of the machines that `run` leases; empty: "default"
};

struct BridgeSettings {
    std::vector<OrgSettings> orgs;
    std::string web_listen;  ///< the public listener's address (webhook mode); empty: none

    /// The org whose chat it is; nullptr for a chat that is nobody's here.
    const OrgSettings* of_chat(std::string_view chat) const;
    const OrgSettings* of_org(std::string_view org) const;
};

/// True where the list of people lets `id` speak.
bool may_speak(const OrgSettings& org, std::string_view id);

BridgeSettings read_bridge_settings(config::Reader& reader);

/// The secret in the file that `key` names ("bot_token_file"), without the line's end. A missing
/// key, file or text is rejected at the key; the text itself is in no message.
Secret read_secret_file(config::Reader& reader, std::string_view key);

/// A secret that its file may change while the bridge runs. Copies are one; thread-safe.
class LiveSecret {
public:
    LiveSecret() : LiveSecret(Secret()) {}
    LiveSecret(Secret fixed) : LiveSecret({}, std::move(fixed)) {}  // NOLINT: as good as the text
    LiveSecret(std::string path, Secret first);
    /// As the file says it now (looked at once a second at most); what it said last where it is
    /// gone or empty.
    Secret read() const;

private:
    struct File;
    std::shared_ptr<File> file_;
};

/// The same as read_secret_file, and what the file says later.
LiveSecret follow_secret_file(config::Reader& reader, std::string_view key);

/// Rejects `key` where what it says needs the public listener and there is none.
void require_listener(config::Reader& reader, std::string_view key, std::string_view sender);

}  // namespace berth::chat
