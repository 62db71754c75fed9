// SPDX-License-Identifier: Apache-2.0
// The verbs of `berth policy` that speak to the server.
#pragma once

#include "cli/args.hpp"
#include "cli/context.hpp"
#include "core/result.hpp"

namespace berth::cli {

Result<void> apply_policy(const Context& context, const Arguments& arguments);
Result<void> show_policy(const Context& context, const Arguments& arguments);
Result<void> list_policies(const Context& context);
Result<void> roll_back_policy(const Context& context, const Arguments& arguments);

}  // namespace berth::cli
