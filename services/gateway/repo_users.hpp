// SPDX-License-Identifier: Apache-2.0
// The SQL of users, of who they are elsewhere, and of sign-ins under way.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gateway/repo.hpp"
#include "service/handlers.hpp"
#include "store/outbox.hpp"

namespace berth::gateway {

struct UserRow {
    struct Identity {
        std::string provider;
        std::string subject;
        std::string login;
    };
    std::string org;
    std::string name;
    std::vector<std::string> roles;
    bool disabled = false;
    WallTime created_at{};
    std::vector<Identity> identities;
};

/// A sign-in under way. Its id is the hash of the handle that only the one signing in has.
struct LoginRow {
    std::string id;
    std::string provider;
    std::string sealed;  ///< device code and nonce; the handle is half of the key
    int interval_s = 5;
    WallTime expires_at{};
    std::optional<std::string> token_id{};  ///< it is done: the token it made
};

namespace repo {

/// By name, after `cursor`, with identities.
Result<std::vector<UserRow>> list_users(
    store::Pool& pool, const std::string& org, const std::string& cursor, int limit
);
/// Error "user_not_found".
Result<UserRow> get_user(store::Pool& pool, const std::string& org, const std::string& name);
/// Error "user_exists".
Result<void> add_user(
    store::Pool& pool,
    const std::string& org,
    const std::string& name,
    const std::vector<std::string>& roles
);
/// Roles where there are any, disabled where it is said. Errors: "user_not_found", "last_admin": an
/// org without one could never be mended. Gives the event of it, which stands in the outbox.
Result<store::OutboxMessage> change_user(
    store::Pool& pool,
    const std::string& org,
    const std::string& name,
    const std::vector<std::string>& roles,
    std::optional<bool> disabled,
    const service::Context& cause
);
/// Errors: "user_not_found", "identity_taken".
Result<void> link_identity(
    store::Pool& pool,
    const std::string& org,
    const std::string& name,
    const std::string& provider,
    const std::string& subject
);
Result<void> unlink_identity(
    store::Pool& pool, const std::string& org, const std::string& name, const std::string& provider
);

/// Also removes what has ended. Error "too_many_logins".
Result<void> add_login(store::Pool& pool, const LoginRow& login, int most);
/// The sign-in, where it has not expired.
Result<std::optional<LoginRow>> find_login(store::Pool& pool, const std::string& id);
/// Takes the right to ask the provider now: true for one caller per interval.
Result<bool> take_turn(store::Pool& pool, const std::string& id);
/// The provider wants to be asked less often.
Result<void> slow_login(store::Pool& pool, const std::string& id, int interval_s);
Result<void> drop_login(store::Pool& pool, const std::string& id);

/// Who somebody turned out to be at a provider, and what that means here.
struct SignedIn {
    UserRow::Identity identity;
    std::string user_name;           ///< of a user that is made for it
    std::vector<std::string> roles;  ///< likewise
    bool admitted = false;           ///< whether one may be made
};
/// The token of a sign-in, for the user linked to the identity. `token` has id, times and org;
/// user, roles and label come from the user. The second time it is the token of the first. Errors:
/// "not_linked", "user_name_taken", "user_disabled", "token_revoked".
Result<TokenRow> finish_login(
    store::Pool& pool,
    const std::string& login,
    const SignedIn& who,
    const TokenRow& token,
    const std::string& hash
);

}  // namespace repo
}  // namespace berth::gateway
