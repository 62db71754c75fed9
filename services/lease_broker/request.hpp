// SPDX-License-Identifier: Apache-2.0
// What every handler does first with a request.
#pragma once

#include <string>
#include <string_view>

#include "berth/common/v1/common.pb.h"
#include "core/id.hpp"
#include "core/text.hpp"
#include "service/request.hpp"

namespace berth::lease {

using service::decode;
using service::has_role;
using service::normal;

inline Error no_such_lease(const std::string& id_or_slug) {
    return not_found(
        "lease_not_found",
        "there is no lease '" + clipped(id_or_slug, 64) + "'; `berth leases` shows yours"
    );
}

/// The page's size. Errors "bad_limit", "bad_cursor".
inline Result<int> page_limit(const common::v1::Page& page, std::string_view prefix) {
    if (!page.cursor().empty() && !is_id(prefix, page.cursor()))
        return invalid("bad_cursor", "cursor is not one that a page returned", "cursor");
    return service::page_limit(page);
}

}  // namespace berth::lease
