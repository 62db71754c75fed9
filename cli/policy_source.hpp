// SPDX-License-Identifier: Apache-2.0
// Policies by name: a file here, or a version on the server.
#pragma once

#include <string>

#include "berth/warden/v1/warden.pb.h"
#include "cli/api.hpp"
#include "cli/context.hpp"
#include "core/result.hpp"

namespace berth::cli {

/// A policy's text and what messages call it.
struct PolicyText {
    std::string name;
    std::string text;
};

/// "policy.yaml", "@current" (what is in force) or "@3" (that version). Only '@' asks the server.
Result<PolicyText> read_policy(const Context& context, const std::string& source);

/// The version in force (0), or that one.
Result<warden::v1::PolicyVersion> fetch_policy(Api& api, std::uint64_t version);

/// "3" or "@3".
Result<std::uint64_t> parse_version(std::string_view text);

}  // namespace berth::cli
