// SPDX-License-Identifier: Apache-2.0
// What every handler does first with a request.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "berth/common/v1/common.pb.h"
#include "core/id.hpp"
#include "service/handlers.hpp"

namespace berth::lease {

inline constexpr int kMaxPage = 100;
inline constexpr int kDefaultPage = 50;

inline bool has_role(const common::v1::Actor& actor, std::string_view role) {
    return std::find(actor.roles().begin(), actor.roles().end(), role) != actor.roles().end();
}

inline Error no_such_lease(const std::string& id_or_slug) {
    return not_found(
        "lease_not_found",
        "there is no lease '" + id_or_slug.substr(0, 64) + "'; `berth leases` shows yours"
    );
}

/// An id is taken in any case; a slug as it is.
inline std::string normal(const std::string& id_or_slug, std::string_view prefix = "ls") {
    if (auto id = normalize_id(prefix, id_or_slug)) return *id;
    return id_or_slug;
}

template <typename T>
Result<T> decode(const std::string& payload) {
    T message;
    if (!message.ParseFromString(payload)) return service::undecodable(message.GetTypeName());
    return message;
}

/// The page's size. Errors "bad_limit", "bad_cursor".
inline Result<int> page_limit(const common::v1::Page& page, std::string_view prefix) {
    if (!page.cursor().empty() && !is_id(prefix, page.cursor()))
        return invalid("bad_cursor", "cursor is not one that a page returned", "cursor");
    if (page.limit() > kMaxPage) return invalid("bad_limit", "limit must be 1 to 100", "limit");
    return page.limit() == 0 ? kDefaultPage : static_cast<int>(page.limit());
}

}  // namespace berth::lease
