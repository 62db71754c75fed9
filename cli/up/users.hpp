// SPDX-License-Identifier: Apache-2.0
// Run as root, an embedded deployment lives as the system user `berth`: PostgreSQL refuses root,
// and so do we.
#pragma once

#include "cli/up/deployment.hpp"
#include "core/result.hpp"

namespace berth::cli::up {

/// For root: finds or creates the user and gives it the data folder. Does nothing for anybody else.
/// Error "no_user" says how to create it by hand.
Result<void> prepare_user(const Layout& layout);

/// For root: becomes that user for good and checks that it can enter the data folder and run our
/// programs.
Result<void> become_user(const Layout& layout);

}  // namespace berth::cli::up
