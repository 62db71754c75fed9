// SPDX-License-Identifier: Apache-2.0
// Plans, origins and verdicts between the wire and libs/policy.
#pragma once

#include "berth/warden/v1/warden.pb.h"
#include "policy/policy.hpp"

namespace berth::warden {

policy::Plan to_plan(const v1::Plan& plan);
policy::Origin to_origin(const v1::Origin& origin);
v1::AskTerms to_terms(const policy::Verdict& verdict, std::uint64_t policy_version);

}  // namespace berth::warden
