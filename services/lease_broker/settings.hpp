// SPDX-License-Identifier: Apache-2.0
// What lease_broker is told by its settings file, and its named limits.
#pragma once

#include <map>
#include <string>

#include "berth/lease/v1/lease.pb.h"
#include "config/config.hpp"
#include "core/time.hpp"

namespace berth::lease {

struct LeaseSettings {
    std::map<std::string, v1::Profile> profiles;
    /// How often overdue leases are looked for: an expiry is at most this late.
    milliseconds reap_every{500};
};

/// Leases ended per look, so that a flood of expiries shares the database with everyone else.
inline constexpr int kReapBatch = 100;
/// An attachment that no run event has confirmed for this long belongs to a run that never was.
inline constexpr seconds kUnconfirmedAttachment{120};
/// A machine's create command may wait this long in the queue while the provisioner is away.
inline constexpr seconds kCreateDeadline{600};
/// A destroy must happen, however late.
inline constexpr seconds kDestroyDeadline{24 * 3'600};

LeaseSettings read_lease_settings(config::Reader& reader);

}  // namespace berth::lease
