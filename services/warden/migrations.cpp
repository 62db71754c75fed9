// SPDX-License-Identifier: Apache-2.0
// The tables of warden.
#include <array>

#include "store/inbox.hpp"
#include "store/leader.hpp"
#include "warden/repo.hpp"

namespace berth::warden {
namespace {

// What is asked by value stands in columns; the rest of an entity is its serialized message.
// `live`: pending, or approved and not claimed yet.
constexpr std::string_view kTables = R"(
CREATE TABLE orgs (
    org text PRIMARY KEY,
    revision bigint NOT NULL,
    policy_version bigint NOT NULL,
    policy_digest text NOT NULL
);
CREATE TABLE policies (
    org text NOT NULL,
    version bigint NOT NULL,
    digest text NOT NULL,
    text text NOT NULL,
    applied_by text NOT NULL,
    applied_at timestamptz NOT NULL,
    comment text NOT NULL,
    rolled_back_to bigint NOT NULL,
    PRIMARY KEY (org, version)
);
CREATE TABLE approvals (
    id text PRIMARY KEY,
    org text NOT NULL,
    state text NOT NULL,
    live boolean NOT NULL,
    machine text NOT NULL,
    held text NOT NULL,
    run text NOT NULL,
    username text NOT NULL,
    created_at timestamptz NOT NULL,
    deadline timestamptz,
    asked_groups integer NOT NULL,
    claim text NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX approvals_due ON approvals (deadline) WHERE state = 'pending' AND deadline IS NOT NULL;
CREATE UNIQUE INDEX approvals_held ON approvals (machine, held) WHERE state = 'pending';
CREATE INDEX approvals_live ON approvals (org) WHERE live;
CREATE INDEX approvals_live_run ON approvals (run) WHERE live;
CREATE INDEX approvals_live_machine ON approvals (machine) WHERE live;
CREATE INDEX approvals_newest ON approvals (org, created_at DESC, id DESC);
CREATE INDEX approvals_of_user ON approvals (org, username, created_at DESC, id DESC);
CREATE INDEX approvals_pending ON approvals (org, created_at DESC, id DESC) WHERE state = 'pending';
CREATE TABLE grants (
    id text PRIMARY KEY,
    org text NOT NULL,
    username text NOT NULL,
    lease text NOT NULL,
    agent text NOT NULL,
    machine text NOT NULL,
    live boolean NOT NULL,
    until timestamptz,
    made_at timestamptz NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX grants_live ON grants (org, username) WHERE live;
CREATE INDEX grants_live_lease ON grants (lease) WHERE live;
CREATE INDEX grants_due ON grants (until) WHERE live AND until IS NOT NULL;
CREATE INDEX grants_newest ON grants (org, made_at DESC, id DESC);
CREATE TABLE halts (
    id text PRIMARY KEY,
    org text NOT NULL,
    in_force boolean NOT NULL,
    pressed_at timestamptz NOT NULL,
    asked text NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX halts_in_force ON halts (org) WHERE in_force;
CREATE INDEX halts_newest ON halts (org, pressed_at DESC);
CREATE TABLE leases (
    id text PRIMARY KEY,
    org text NOT NULL,
    machine text NOT NULL,
    owner text NOT NULL,
    ended_at timestamptz
);
CREATE INDEX leases_ended ON leases (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX leases_live ON leases (org) WHERE ended_at IS NULL;
CREATE TABLE machines (
    id text PRIMARY KEY,
    org text NOT NULL,
    gone_at timestamptz
);
CREATE INDEX machines_gone ON machines (gone_at) WHERE gone_at IS NOT NULL;
CREATE TABLE audit_heads (
    org text PRIMARY KEY,
    sequence bigint NOT NULL,
    hash text NOT NULL
);
CREATE TABLE audit (
    org text NOT NULL,
    sequence bigint NOT NULL,
    at bigint NOT NULL,
    fact text NOT NULL,
    username text NOT NULL,
    run text NOT NULL,
    hash text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (org, sequence)
);
CREATE INDEX audit_of_run ON audit (org, run, sequence) WHERE run <> '';
CREATE INDEX audit_of_user ON audit (org, username, sequence);
CREATE INDEX audit_of_fact ON audit (org, fact, sequence);
)";

// What retention looks for.
constexpr std::string_view kRetention = R"(
CREATE INDEX approvals_ended ON approvals (created_at) WHERE NOT live;
CREATE INDEX grants_ended ON grants (made_at) WHERE NOT live;
)";

// A machine that asks again hears also what was decided long ago.
constexpr std::string_view kHeld = R"(
CREATE INDEX approvals_of_held ON approvals (machine, held, created_at DESC, id DESC);
)";

// Who was changed by an admin, and may they decide since; and leases by the name that people use.
constexpr std::string_view kUsers = R"(
CREATE TABLE users (
    org text NOT NULL,
    name text NOT NULL,
    revision bigint NOT NULL,
    may_decide boolean NOT NULL,
    PRIMARY KEY (org, name)
);
ALTER TABLE leases ADD COLUMN slug text NOT NULL DEFAULT '';
)";

}  // namespace

std::span<const store::Migration> migrations() {
    static const std::string first =
        std::string(store::kInboxOutboxDdl) + std::string(store::kLeaderDdl) + std::string(kTables);
    static const std::array<store::Migration, 4> all{
        {{1, "warden", first},
         {2, "retention", kRetention},
         {3, "held", kHeld},
         {4, "users", kUsers}}};
    return all;
}

}  // namespace berth::warden
