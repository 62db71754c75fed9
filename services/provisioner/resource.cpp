// SPDX-License-Identifier: Apache-2.0
// Transitions of a provider resource.
#include "provisioner/resource.hpp"

#include <algorithm>
#include <array>

#include "core/secret.hpp"

namespace berth::prov {
namespace {

constexpr std::array<std::pair<std::string_view, ResourceState>, 5> kNames{{
    {"creating", ResourceState::kCreating},
    {"ready", ResourceState::kReady},
    {"destroying", ResourceState::kDestroying},
    {"gone", ResourceState::kGone},
    {"failed", ResourceState::kFailed},
}};
constexpr milliseconds kFirstRetry{250};
constexpr seconds kWaitingLook{2};

WallTime later(WallTime now, int attempts, milliseconds slowest) {
    const milliseconds wait = kFirstRetry * (1LL << std::min(attempts, 16));
    return now + std::min<milliseconds>(wait, slowest);
}

}  // namespace

std::string_view state_name(ResourceState state) {
    return std::find_if(
               kNames.begin(),
               kNames.end(),
               [state](const auto& row) { return row.second == state; }
    )->first;
}
ResourceState resource_state(std::string_view name) {
    const auto row = std::find_if(kNames.begin(), kNames.end(), [name](const auto& entry) {
        return entry.first == name;
    });
    return row == kNames.end() ? ResourceState::kFailed : row->second;
}

bool want_destroyed(Resource& resource, WallTime now) {
    if (resource.state == ResourceState::kDestroying || resource.state == ResourceState::kGone)
        return false;
    resource.state = ResourceState::kDestroying;
    resource.attempts = 0;
    resource.next_at = now;
    ++resource.revision;
    return true;
}

bool created(Resource& resource) {
    if (resource.state != ResourceState::kCreating) return false;
    resource.state = ResourceState::kReady;
    resource.error.clear();
    ++resource.revision;
    return true;
}

void create_failed(
    Resource& resource, std::string_view error, bool is_final, int max_attempts, WallTime now
) {
    if (resource.state != ResourceState::kCreating) return;
    resource.error = error;
    ++resource.revision;
    if (is_final || ++resource.attempts >= max_attempts) {
        resource.state = ResourceState::kFailed;
        return;
    }
    resource.next_at = later(now, resource.attempts, seconds{5});
}

void create_waits(Resource& resource, std::string_view why, WallTime now) {
    if (resource.state != ResourceState::kCreating) return;
    resource.error = why;
    resource.next_at = now + kWaitingLook;
}

void destroyed(Resource& resource) {
    if (resource.state == ResourceState::kGone) return;
    resource.state = ResourceState::kGone;
    resource.error.clear();
    ++resource.revision;
}

void destroy_failed(Resource& resource, std::string_view error, seconds slowest, WallTime now) {
    resource.error = error;
    ++resource.attempts;
    ++resource.revision;
    resource.next_at = later(now, resource.attempts, slowest);
}

bool vanished(Resource& resource) {
    if (resource.state != ResourceState::kReady) return false;
    resource.state = ResourceState::kGone;
    ++resource.revision;
    return true;
}

Result<void> may_enrol(
    const EnrolmentRow& row,
    const std::string& token_hash,
    const std::string& public_key,
    WallTime now
) {
    // The key that used the token may ask again: its answer was lost, or it slept past its
    // credential's end.
    if (!row.public_key.empty() && row.public_key == public_key) return {};
    if (!equal_constant_time(row.token_hash, token_hash))
        return forbidden("bad_token", "this is not the token of this machine");
    if (!row.public_key.empty())
        return forbidden("token_used", "the token of this machine has been used");
    if (now >= row.expires_at)
        return forbidden("token_expired", "the token of this machine has expired");
    return {};
}

}  // namespace berth::prov
