// SPDX-License-Identifier: Apache-2.0
// What the bridge keeps of messages, as JSON.
#pragma once

#include <string>
#include <string_view>

#include "chat/platform.hpp"

namespace berth::chat {

std::string to_json(const Inbound& inbound);
Result<Inbound> inbound_from_json(std::string_view text);

/// Without file_bytes, which are kept beside it.
std::string to_json(const Content& content);
Result<Content> content_from_json(std::string_view text);

}  // namespace berth::chat
