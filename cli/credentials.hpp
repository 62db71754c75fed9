// SPDX-License-Identifier: Apache-2.0
// Where tokens and the chosen gateway are kept between invocations.
#pragma once

#include <string_view>

#include "core/result.hpp"
#include "core/secret.hpp"

namespace berth::cli {

/// Writes the token of a gateway into the user's folder, 0600.
Result<void> store_token(std::string_view server, const Secret& token);

/// Sets `server:` in the user's config.yaml, keeping every other line; where one is set already
/// only when `replace`.
Result<void> store_server(std::string_view server, bool replace);

}  // namespace berth::cli
