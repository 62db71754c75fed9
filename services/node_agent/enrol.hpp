// SPDX-License-Identifier: Apache-2.0
// How a machine that booted elsewhere gets its place on the bus: by its one-time token, and later
// by the key that used it.
#pragma once

#include "core/result.hpp"
#include "node_agent/settings.hpp"

namespace berth::node {

/// Asks the gateway for a user of the bus and writes the credential. The first time it makes the
/// machine's key and presents the token of node/token; the key is on disk before anything is sent,
/// so that a lost answer is asked for again as the same. Blocks for at most kEnrolPatience. Errors:
/// "unavailable" means again later; "forbidden" that this machine is not wanted (any more).
///
/// The request is curl's (its own process: TLS and proxies are the system's, and the agent stays
/// small); nothing secret is in its arguments.
Result<void> enrol(const Settings& settings);

/// True when the machine enrols and has no credential that is good now.
bool must_enrol(const Settings& settings, WallTime now);

}  // namespace berth::node
