// SPDX-License-Identifier: Apache-2.0
// Plans, origins and verdicts between the wire and this library: both directions in one place,
// since a field that only one of them knows would change a plan's digest on its way.
#pragma once

#include "berth/warden/v1/warden.pb.h"
#include "policy/policy.hpp"

/// Pure. The library itself needs no protobuf; only who talks to the bus links this.
namespace berth::policy {

/// With the digest that was computed of it.
warden::v1::Plan to_proto(const Plan& plan, const std::string& digest);
warden::v1::GuardLevel to_proto(Level level);
Plan to_plan(const warden::v1::Plan& plan);
Origin to_origin(const warden::v1::Origin& origin);
warden::v1::AskTerms to_terms(const Verdict& verdict, std::uint64_t policy_version);

}  // namespace berth::policy
