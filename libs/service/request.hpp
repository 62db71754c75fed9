// SPDX-License-Identifier: Apache-2.0
// What a handler does first with a request: decode it, look who asks, how much of a list is wanted.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "berth/common/v1/common.pb.h"
#include "core/id.hpp"
#include "service/handlers.hpp"

namespace berth::service {

inline constexpr std::uint32_t kMaxPage = 100;
inline constexpr int kDefaultPage = 50;

/// The payload as a T, a protobuf message. Error "undecodable".
template <typename T>
Result<T> decode(const std::string& payload) {
    T message;
    if (!message.ParseFromString(payload)) return undecodable(message.GetTypeName());
    return message;
}

inline bool has_role(const common::v1::Actor& actor, std::string_view role) {
    return std::find(actor.roles().begin(), actor.roles().end(), role) != actor.roles().end();
}

/// Of who decides about approvals, halts, resumes and reads the audit.
inline bool is_deciding_role(std::string_view role) {
    return role == "approver" || role == "admin";
}
inline bool may_decide(const common::v1::Actor& actor) {
    return std::any_of(actor.roles().begin(), actor.roles().end(), is_deciding_role);
}

/// An id in its own spelling, since it is taken in any case; anything else as it is.
inline std::string normal(const std::string& id, std::string_view prefix) {
    return normalize_id(prefix, id).value_or(id);
}

inline Error bad_limit() { return invalid("bad_limit", "'limit' must be 1 to 100", "limit"); }

/// How many a page holds where its limit has been checked: kDefaultPage where it names none.
inline int page_size(const common::v1::Page& page) {
    return page.limit() == 0 ? kDefaultPage : static_cast<int>(page.limit());
}

/// The same, checked. Error "bad_limit".
inline Result<int> page_limit(const common::v1::Page& page) {
    if (page.limit() > kMaxPage) return bad_limit();
    return page_size(page);
}

}  // namespace berth::service
