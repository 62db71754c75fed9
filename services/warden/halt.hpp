// SPDX-License-Identifier: Apache-2.0
// What a halt covers and how it ends, pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "berth/warden/v1/warden.pb.h"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::warden {

/// True where the halt is in force: pressed and not resumed.
bool in_force(const v1::Halt& halt);
/// True where what `origin` asks is inside the halt's scope.
bool covers(const v1::Halt& halt, const v1::Origin& origin);
/// True where what is remembered for this user, agent and machine is void.
bool covers_grant(
    const v1::Halt& halt,
    const v1::Grant& grant,
    const std::string& agent,
    const std::string& machine
);
/// True where this machine has to freeze and answer; which of its runs is its own to tell.
bool concerns_machine(const v1::Halt& halt, const std::string& machine);
/// Errors bad_scope and bad_target.
Result<void> check_press(const v1::PressHalt& press);
/// A node's answer; a repeated one replaces its own. False where the same was there.
bool confirm(v1::Halt& halt, const v1::HaltAnswer& answer);
/// Of the machines asked, those that have not answered, in order.
std::vector<std::string> waiting_for(const v1::Halt& halt, const std::set<std::string>& asked);
/// By another authorised person than who pressed. Errors: same_person, already_resumed (naming
/// who).
Result<void> resume(v1::Halt& halt, const std::string& user, WallTime now);

/// "org", "owner", "agent", "machine".
std::string_view scope_name(v1::HaltScope scope);

}  // namespace berth::warden
