// SPDX-License-Identifier: Apache-2.0
// Which lease a command means when it names none: the one of this working tree.
#pragma once

#include <string_view>

#include "cli/api.hpp"
#include "cli/context.hpp"

namespace berth::cli {

/// The named lease, or this working tree's newest active one. Error "no_lease" says how to get one.
Result<lease::v1::Lease> chosen_lease(const Context& context, Api& api, std::string_view named);

/// The error of a lease that ended instead of becoming active.
Error lease_failure(const lease::v1::Lease& lease);

}  // namespace berth::cli
