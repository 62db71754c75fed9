// SPDX-License-Identifier: Apache-2.0
// The four roles.
#include "gateway/roles.hpp"

#include <algorithm>

#include "core/text.hpp"

namespace berth::gateway {

Need level_of(const std::vector<std::string>& roles) {
    const auto has = [&](std::string_view role) {
        return std::find(roles.begin(), roles.end(), role) != roles.end();
    };
    if (has("admin")) return Need::kAdmin;
    if (has("operator")) return Need::kOperator;
    if (has("viewer") || has("approver")) return Need::kViewer;
    return Need::kNobody;
}

bool is_role(std::string_view name) {
    return name == "viewer" || name == "operator" || name == "approver" || name == "admin";
}

Result<void> check_role(const std::vector<std::string>& roles, Need need) {
    if (level_of(roles) >= need) return {};
    const char* wanted = need == Need::kAdmin      ? "admin"
                         : need == Need::kOperator ? "operator"
                                                   : "viewer";
    return forbidden(
        "role_missing",
        std::string("this needs the role ") + wanted + "; ask an admin of your org for such a token"
    );
}

bool is_admin(const std::vector<std::string>& roles) { return level_of(roles) == Need::kAdmin; }

bool covers(const std::vector<std::string>& roles, const std::string& role) {
    if (role == "viewer") return level_of(roles) >= Need::kViewer;
    return is_admin(roles) || std::find(roles.begin(), roles.end(), role) != roles.end();
}

std::vector<std::string> effective_roles(
    const std::vector<std::string>& of_token, const std::vector<std::string>& of_user
) {
    std::vector<std::string> out;
    std::copy_if(
        of_token.begin(),
        of_token.end(),
        std::back_inserter(out),
        [&](const std::string& role) { return covers(of_user, role); }
    );
    // Every role sees, so what is left of two different ones is to see.
    if (out.empty() && covers(of_token, "viewer") && covers(of_user, "viewer"))
        out.emplace_back("viewer");
    return out;
}

std::string join_roles(const std::vector<std::string>& roles) {
    std::string out;
    for (const auto& role : roles) out += (out.empty() ? "" : " ") + role;
    return out;
}

std::vector<std::string> split_roles(std::string_view text) {
    std::vector<std::string> out;
    for (const auto word : split(text, ' ')) {
        if (!word.empty()) out.emplace_back(word);
    }
    return out;
}

}  // namespace berth::gateway
