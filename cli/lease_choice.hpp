// SPDX-License-Identifier: Apache-2.0
// Which lease a command means when it names none: the one of this working tree.
#pragma once

#include <string_view>

#include "cli/api.hpp"
#include "cli/context.hpp"

namespace berth::cli {

/// The named lease, or this working tree's newest active one. Error "no_lease" says how to get one.
Result<lease::v1::Lease> chosen_lease(const Context& context, Api& api, std::string_view named);

/// Waits until a pending lease has its machine, keeps it from going idle meanwhile, and tells where
/// in line it stands. The lease as it
/// is in the end: active, ended, or pending still where the patience is over.
Result<lease::v1::Lease> await_machine(const Context& context, Api& api, lease::v1::Lease lease);

/// The duration of --wait, or "" without it. Error "usage".
Result<std::string> read_wait(const Arguments& arguments);

/// The error of a lease that ended instead of becoming active.
Error lease_failure(const lease::v1::Lease& lease);

/// `error` with how to end a lease that is nobody's business any more and may still cost.
Error with_lease_left(Error error, std::string_view lease);

}  // namespace berth::cli
