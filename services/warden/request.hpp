// SPDX-License-Identifier: Apache-2.0
// What the handlers share about requests.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "berth/common/v1/common.pb.h"
#include "core/text.hpp"
#include "service/request.hpp"

namespace berth::warden {

using service::decode;
using service::has_role;
using service::is_deciding_role;
using service::may_decide;
using service::normal;
using service::page_limit;

inline Error needs_approver() {
    return forbidden("role_missing", "this needs the role approver or admin");
}

/// The machine that a command names as its last token, which its sender's rights allow.
inline std::string machine_of(const service::Context& context) {
    return context.subject.substr(context.subject.rfind('.') + 1);
}

/// True for a name fit for a column and a line: no control characters, at most `most` bytes.
inline bool is_plain(std::string_view text, std::size_t most = 256) {
    return text.size() <= most && std::none_of(text.begin(), text.end(), [](char c) {
               return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
           });
}

inline Error no_such_approval(const std::string& id) {
    return not_found(
        "approval_not_found",
        "there is no approval '" + clipped(id, 64) + "'; `berth approvals` shows them"
    );
}

}  // namespace berth::warden
