// SPDX-License-Identifier: Apache-2.0
// The files that are built into the gateway, so that it serves them from wherever it runs.
#pragma once

#include <string_view>

namespace berth::gateway {

extern const std::string_view kOpenapiJson;
extern const std::string_view kPageHtml;

}  // namespace berth::gateway
