// SPDX-License-Identifier: Apache-2.0
// Cards of approvals: where they go, what they show, and that each follows its approval to its end.
// Private to libs/chat.
#pragma once

#include <string>

#include "berth/warden/v1/warden.pb.h"
#include "chat/card.hpp"
#include "chat/parts.hpp"
#include "chat/store.hpp"

namespace berth::chat {

/// What a button bears while its token is not drawn.
inline constexpr const char* kApprove = "approve";
inline constexpr const char* kDeny = "deny";
inline constexpr const char* kDenyWithComment = "comment";
inline constexpr const char* kCancel = "cancel";

/// "2026-01-31 09:05:00 UTC".
std::string spoken(WallTime time);

/// The card of an approval as it is; with buttons while it waits. `shown` stands in it word for
/// word. Pure.
Card approval_card(const warden::v1::Approval& approval);

/// Takes a newer state of an approval into account: new cards in the org's conversations and in
/// that of the run, all others changed. Older states change nothing.
Result<void> follow_approval(
    store::Transaction& tx,
    const BridgeSettings& settings,
    const warden::v1::Approval& approval,
    WallTime now
);

/// A run was begun in a conversation: approvals that wait in it already get their card there.
Result<void> follow_waiting(
    store::Transaction& tx, const std::string& run, const Conversation& conversation, WallTime now
);

}  // namespace berth::chat
