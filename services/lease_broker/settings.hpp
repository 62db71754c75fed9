// SPDX-License-Identifier: Apache-2.0
// What lease_broker is told by its settings file, and its named limits.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "berth/lease/v1/lease.pb.h"
#include "config/config.hpp"
#include "core/time.hpp"

namespace berth::lease {

/// What one owner may have instead of what everybody may.
struct OwnerLimits {
    std::optional<std::int64_t> leases;
    std::optional<std::int64_t> budget;
};

struct LeaseSettings {
    std::map<std::string, v1::Profile> profiles;
    /// How often overdue leases are looked for: an expiry is at most this late.
    milliseconds reap_every{500};
    /// How often pools are looked at: a warm machine is missed at most this long.
    milliseconds pool_every{500};
    /// Orgs for which machines are held warm: a machine's rights on the bus are one org's.
    std::vector<std::string> warm_orgs{"default"};
    std::string currency = "EUR";
    /// Live leases at once; 0: no limit.
    std::int64_t leases_per_owner = 0;
    std::int64_t leases_per_org = 0;
    std::int64_t leases_per_profile = 0;  ///< of one org
    /// Micros of the currency a month; 0: no limit.
    std::int64_t budget_per_owner = 0;
    std::int64_t budget_per_org = 0;
    std::map<std::string, OwnerLimits> owners;

    std::int64_t leases_of(const std::string& owner) const {
        const auto own = owners.find(owner);
        return own == owners.end() ? leases_per_owner
                                   : own->second.leases.value_or(leases_per_owner);
    }
    std::int64_t budget_of(const std::string& owner) const {
        const auto own = owners.find(owner);
        return own == owners.end() ? budget_per_owner
                                   : own->second.budget.value_or(budget_per_owner);
    }
};

/// Leases ended in one transaction: one commit for many, and none of their owners waits long for a
/// lease's row or for the month's.
inline constexpr std::size_t kReapBatch = 50;
/// Leases looked at in a round: most of them were touched meanwhile, and cost one statement
/// together.
inline constexpr int kLookBatch = 1'000;
/// Rounds of one look while there is more to do; then it is asked again who leads.
inline constexpr int kReapRounds = 20;
/// Attachments dropped per look.
inline constexpr int kStaleBatch = 100;
/// An attachment that no run event has confirmed for this long belongs to a run that never was.
inline constexpr seconds kUnconfirmedAttachment{120};
/// A machine's create command may wait this long in the queue while the provisioner is away.
inline constexpr seconds kCreateDeadline{600};
/// A destroy must happen, however late.
inline constexpr seconds kDestroyDeadline{24 * 3'600};
/// A machine of which nothing was heard for so long after its create will not be: the command was
/// not taken in time. Longer than any driver takes with all its attempts.
inline constexpr seconds kCreatePatience{1'800};
/// A machine that is still not gone so long after its destroy is asked for again.
inline constexpr seconds kDestroyAgain{600};
/// Machines of which nothing was heard, per look.
inline constexpr int kSilentBatch = 100;

/// From the end of a lease to its machine being clean: past it the machine is removed instead.
inline constexpr seconds kCleanDeadline{60};
/// Machines made or dropped per profile and look: making one costs as much as a lease, and a refill
/// must not hold up those who lease meanwhile.
inline constexpr int kPoolBatch = 64;
/// Leases in line for one profile: more would only wait past their deadlines.
inline constexpr std::int64_t kMostWaiting = 1'000;
/// People a lease is shared with.
inline constexpr std::size_t kMostShares = 64;

/// The profile that is leased where none is named; it is built in.
inline constexpr const char* kDefaultProfile = "default";

/// Of an event of the whole fleet, where a profile's name stands otherwise.
inline constexpr std::string_view kFleetId = "_fleet";
inline constexpr const char* kProfileNameRule =
    "a profile's name is 1 to 64 characters of a-z 0-9 _ -, and not _fleet";
bool is_profile_name(std::string_view name);

LeaseSettings read_lease_settings(config::Reader& reader);
/// The keys of one profile; what is wrong is told by the reader's finish().
v1::Profile read_profile(const std::string& name, config::Reader& reader);

}  // namespace berth::lease
