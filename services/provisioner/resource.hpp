// SPDX-License-Identifier: Apache-2.0
// The state machine of a provider resource, pure: what a create, a destroy and their results do to
// it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/time.hpp"

namespace berth::prov {

enum class ResourceState { kCreating, kReady, kDestroying, kGone, kFailed };
std::string_view state_name(ResourceState state);
ResourceState resource_state(std::string_view name);

/// A machine as the provisioner keeps it: the intent is recorded before the provider is called, the
/// result after.
struct Resource {
    std::string machine;
    std::string org;
    std::string lease;
    std::string driver;
    std::string spec;  ///< serialized prov.v1.Create
    ResourceState state = ResourceState::kCreating;
    int attempts = 0;
    WallTime next_at;
    std::string error;  ///< of the last attempt
    std::int64_t revision = 1;
};

/// A destroy was asked for; it wins over a create under way. False when nothing changes.
bool want_destroyed(Resource& resource, WallTime now);
/// create() succeeded. False when it was destroyed meanwhile: the destroy follows.
bool created(Resource& resource);
/// create() failed. Final errors and the last attempt give kFailed; else it is tried again later.
void create_failed(
    Resource& resource, std::string_view error, bool is_final, int max_attempts, WallTime now
);
/// create() waits for what goes on by itself: it is tried again soon, and no attempt is counted.
void create_waits(Resource& resource, std::string_view why, WallTime now);
void destroyed(Resource& resource);
/// destroy() failed: again after a growing wait, for ever: a machine is never forgotten.
void destroy_failed(Resource& resource, std::string_view error, seconds slowest, WallTime now);
/// A ready machine is not there any more.
bool vanished(Resource& resource);

/// Where record and provider differ. The numbers are those of the schema's DriftKind.
enum class DriftKind { kOrphan = 1, kMissing = 2, kForeign = 3, kStuck = 4 };
struct DriftItem {
    DriftKind kind = DriftKind::kOrphan;
    std::string driver;
    std::string machine;
    std::string lease;
    std::string org;
    WallTime since;
    std::string message;
};
struct DriverLook {
    std::string driver;
    bool ok = false;
    std::optional<WallTime> looked_at;
    int machines = 0;
    std::string error;
};
struct DriftReport {
    std::vector<DriverLook> looks;
    std::vector<DriftItem> items;
};

/// The one-time token of a machine that boots elsewhere.
struct EnrolmentRow {
    std::string machine;
    std::string token_hash;  ///< SHA-256 in hex: the token itself is nowhere
    WallTime expires_at;
    std::string public_key;  ///< that used the token; empty: nobody yet
};

/// Whether `public_key` may have a user: it holds the machine's token for the first time, or is the
/// key that used it. Pure. Errors "bad_token", "token_used", "token_expired".
Result<void> may_enrol(
    const EnrolmentRow& row,
    const std::string& token_hash,
    const std::string& public_key,
    WallTime now
);

}  // namespace berth::prov
