// SPDX-License-Identifier: Apache-2.0
// What roles add up to. Which role a route needs is the table of endpoints() (api.cpp).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace berth::gateway {

/// What a route asks of its caller. Each level includes those before it.
enum class Need { kNobody, kViewer, kOperator, kAdmin };

/// viewer and approver see; operator leases and runs; admin does everything.
Need level_of(const std::vector<std::string>& roles);
/// Fault::kForbidden "role_missing" where `roles` do not reach `need`.
Result<void> check_role(const std::vector<std::string>& roles, Need need);
bool is_role(std::string_view name);
bool is_admin(const std::vector<std::string>& roles);

/// True where somebody who has `roles` has `role`, too: an admin has every one, and every one sees.
bool covers(const std::vector<std::string>& roles, const std::string& role);
/// What is left of a token's roles now that its user has `of_user`.
std::vector<std::string> effective_roles(
    const std::vector<std::string>& of_token, const std::vector<std::string>& of_user
);

/// Roles as a table column: words between spaces.
std::string join_roles(const std::vector<std::string>& roles);
std::vector<std::string> split_roles(std::string_view text);

}  // namespace berth::gateway
