// SPDX-License-Identifier: Apache-2.0
// The tables of the lease broker, as they came to be.
#include <array>

#include "lease_broker/repo.hpp"

namespace berth::lease {
namespace {

// Nothing ended is ever on a hot path: every index a live query uses is partial.
constexpr std::string_view kLeases = R"(
CREATE TABLE leases (
    id text PRIMARY KEY,
    slug text NOT NULL,
    org text NOT NULL,
    owner text NOT NULL,
    profile text NOT NULL,
    machine text NOT NULL,
    state text NOT NULL,
    created_at timestamptz NOT NULL,
    touched_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    ttl_ms bigint NOT NULL,
    idle_ms bigint NOT NULL,
    label text NOT NULL,
    one_shot boolean NOT NULL,
    live_runs integer NOT NULL,
    end_reason text NOT NULL,
    revision bigint NOT NULL
);
CREATE UNIQUE INDEX leases_live_slug ON leases (org, slug) WHERE state IN ('pending', 'active');
CREATE INDEX leases_slug ON leases (org, slug, id);
CREATE INDEX leases_live_expiry ON leases (expires_at) WHERE state IN ('pending', 'active');
CREATE INDEX leases_live_owner ON leases (org, owner, id) WHERE state IN ('pending', 'active');
CREATE INDEX leases_owner ON leases (org, owner, id);
CREATE INDEX leases_org ON leases (org, id);
CREATE INDEX leases_live_machine ON leases (machine) WHERE state IN ('pending', 'active');
CREATE TABLE machines (
    id text PRIMARY KEY,
    org text NOT NULL,
    profile text NOT NULL,
    driver text NOT NULL,
    state text NOT NULL,
    lease text NOT NULL,
    created_at timestamptz NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE attachments (
    work text PRIMARY KEY,
    lease text NOT NULL,
    confirmed boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL
);
CREATE INDEX attachments_unconfirmed ON attachments (created_at) WHERE NOT confirmed;
)";

// A machine may stand in a pool, a lease in line, and both cost something.
constexpr std::string_view kPools = R"(
ALTER TABLE leases
    ADD COLUMN end_detail text NOT NULL DEFAULT '',
    ADD COLUMN begun_at timestamptz,
    ADD COLUMN wait_until timestamptz,
    ADD COLUMN activated_at timestamptz,
    ADD COLUMN price_micros bigint NOT NULL DEFAULT 0,
    ADD COLUMN reserved_micros bigint NOT NULL DEFAULT 0,
    ADD COLUMN spent_micros bigint NOT NULL DEFAULT 0;
CREATE INDEX leases_waiting ON leases (profile, id) WHERE state = 'pending' AND machine = '';
ALTER TABLE machines
    ADD COLUMN drain boolean NOT NULL DEFAULT false,
    ADD COLUMN cleanable boolean NOT NULL DEFAULT false,
    ADD COLUMN reason text NOT NULL DEFAULT '',
    ADD COLUMN changed_at timestamptz,
    ADD COLUMN clean_by timestamptz;
CREATE INDEX machines_live ON machines (profile, org) WHERE state <> 'gone';
CREATE INDEX machines_idle ON machines (org, profile, id) WHERE state = 'idle';
CREATE INDEX machines_cleaning ON machines (clean_by) WHERE clean_by IS NOT NULL;
CREATE INDEX machines_live_org ON machines (org, id) WHERE state <> 'gone';
CREATE INDEX machines_org ON machines (org, id);
CREATE TABLE shares (
    lease text NOT NULL,
    user_name text NOT NULL,
    org text NOT NULL,
    may text NOT NULL,
    by_user text NOT NULL,
    at timestamptz NOT NULL,
    live boolean NOT NULL DEFAULT true,
    PRIMARY KEY (lease, user_name)
);
CREATE INDEX shares_live_user ON shares (org, user_name, lease) WHERE live;
-- profile '' is the fleet
CREATE TABLE drains (
    org text NOT NULL,
    profile text NOT NULL,
    by_user text NOT NULL,
    reason text NOT NULL,
    active boolean NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (org, profile)
);
CREATE SEQUENCE turn_numbers;
CREATE TABLE turns (
    profile text NOT NULL,
    org text NOT NULL,
    owner text NOT NULL,
    turn bigint NOT NULL,
    PRIMARY KEY (profile, org, owner)
);
-- warm machines that could not be made, one after another
CREATE TABLE pool_failures (
    org text NOT NULL,
    profile text NOT NULL,
    failures integer NOT NULL,
    retry_at timestamptz NOT NULL,
    last_error text NOT NULL,
    PRIMARY KEY (org, profile)
);
-- what ended leases cost, by the month they were acquired in
CREATE TABLE spend (
    org text NOT NULL,
    owner text NOT NULL,
    profile text NOT NULL,
    month text NOT NULL,
    leases bigint NOT NULL,
    active_ms bigint NOT NULL,
    spent_micros bigint NOT NULL,
    PRIMARY KEY (org, month, owner, profile)
);
)";

// Profiles that were set while the deployment ran, and what leases and machines were made by.
constexpr std::string_view kProfiles = R"(
CREATE TABLE profiles (
    name text PRIMARY KEY,
    recipe text NOT NULL,
    by_user text NOT NULL,
    revision bigint NOT NULL,
    removed boolean NOT NULL
);
CREATE TABLE recipes (
    digest text PRIMARY KEY,
    profile bytea NOT NULL
);
ALTER TABLE leases ADD COLUMN recipe text NOT NULL DEFAULT '';
ALTER TABLE machines ADD COLUMN recipe text NOT NULL DEFAULT '';
)";

// Heartbeats rewrite a lease's row and no index: see kUpdateLease.
constexpr std::string_view kLookAt = R"(
ALTER TABLE leases RENAME COLUMN expires_at TO look_at;
ALTER INDEX leases_live_expiry RENAME TO leases_live_look_at;
ALTER TABLE leases SET (fillfactor = 70);
)";

// What a provider answered where a lease's machine could not be made.
constexpr std::string_view kAttempts = R"(
ALTER TABLE leases ADD COLUMN attempts text NOT NULL DEFAULT '';
)";

// A machine of which nothing is heard is looked for all the time.
constexpr std::string_view kSilentMachines = R"(
UPDATE machines SET changed_at = created_at WHERE changed_at IS NULL;
CREATE INDEX machines_moving ON machines (changed_at)
    WHERE state IN ('provisioning', 'draining', 'failed');
)";

}  // namespace

std::span<const store::Migration> migrations() {
    static const std::string first =
        std::string(store::kInboxOutboxDdl) + std::string(store::kLeaderDdl) + std::string(kLeases);
    static const std::array<store::Migration, 6> all{
        {{1, "leases", first},
         {2, "pools", kPools},
         {3, "profiles", kProfiles},
         {4, "look_at", kLookAt},
         {5, "attempts", kAttempts},
         {6, "silent_machines", kSilentMachines}}};
    return all;
}

}  // namespace berth::lease
