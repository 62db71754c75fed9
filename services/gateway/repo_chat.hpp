// SPDX-License-Identifier: Apache-2.0
// The SQL of who people on chat platforms are here: codes, links, and wrong tries.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gateway/repo.hpp"

namespace berth::gateway {

/// A user as a bridge may act for it.
struct PersonRow {
    std::string org;
    std::string user;
    std::vector<std::string> roles;
    bool disabled = false;  ///< no bridge may
};

/// Who somebody is on a platform.
struct ChatLinkRow {
    std::string platform;
    std::string person_id;
    std::string person_name;
    WallTime linked_at{};
};

/// What a bridge asks for: that the person who typed `code_hash`'s code be its user.
struct LinkRequest {
    std::string org;
    std::string platform;
    std::string person_id;
    std::string person_name;
    std::string code_hash;
};

namespace repo {

/// The user's only live code; an older one ends.
Result<void> set_chat_code(
    store::Pool& pool,
    const std::string& org,
    const std::string& user,
    const std::string& hash,
    WallTime expires_at
);
/// The linked user with its roles as they are now; none where there is none or it is disabled.
Result<std::optional<PersonRow>> find_person(
    store::Pool& pool,
    const std::string& org,
    const std::string& platform,
    const std::string& person_id
);
/// Uses the code up and links its user. Errors: "too_many_tries", "bad_code" (the try is counted in
/// `tx`: commit it), "identity_taken", "user_disabled".
Result<PersonRow> link_person(store::Transaction& tx, const LinkRequest& request, WallTime now);

Result<std::vector<ChatLinkRow>> list_chat_links(
    store::Pool& pool, const std::string& org, const std::string& user
);
/// False where there is no such link.
Result<bool> drop_chat_link(
    store::Pool& pool, const std::string& org, const std::string& user, const std::string& platform
);

}  // namespace repo
}  // namespace berth::gateway
