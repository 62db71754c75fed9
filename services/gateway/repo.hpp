// SPDX-License-Identifier: Apache-2.0
// The gateway's tables, and the SQL of tokens. Hashes only; the text of a token is nowhere.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/secret.hpp"
#include "core/time.hpp"
#include "store/migrations.hpp"
#include "store/postgres.hpp"

namespace berth::gateway {

struct TokenRow {
    std::string id;  ///< tk_<ulid>
    std::string org;
    std::string user;
    std::vector<std::string> roles;
    std::vector<std::string> user_roles;  ///< of find_token: what its user has now
    std::string label;
    WallTime created_at{};
    std::optional<WallTime> expires_at{};
    std::optional<WallTime> last_used_at{};
};

std::span<const store::Migration> migrations();

namespace repo {

/// The live token of that hash: neither revoked nor expired, and its user not disabled.
Result<std::optional<TokenRow>> find_token(store::Pool& pool, const std::string& hash);
/// The same by id: whether what was given to its holder is still to be had.
Result<std::optional<TokenRow>> find_token_by_id(store::Pool& pool, const std::string& id);
/// Remembers the use, at most once a minute per token.
Result<void> touch_token(store::Pool& pool, const std::string& id);
/// Adds the token, and its org and user where they are new. A hash that is there already changes
/// nothing.
Result<void> add_token(store::Pool& pool, const TokenRow& token, const std::string& hash);
/// Adds a token that a person asked for. Its user is made where `may_add_user` and there is none,
/// with the token's roles; a token without roles gets its user's. `request` is a digest where the
/// asker gave a key: then a hash that is there already is the same request again, and the answer is
/// the token it made. Errors: "bad_role", "user_not_found", "user_disabled",
/// "idempotency_conflict", "token_revoked".
Result<TokenRow> create_token(
    store::Pool& pool,
    const TokenRow& token,
    const std::string& hash,
    const std::string& request,
    bool may_add_user
);
/// The gateway's own key for derive_token() and seals. It is of use only together with a secret
/// that is not in the database.
Result<Secret> load_key(store::Pool& pool);
/// Live tokens by id, after `cursor`. `user` empty: the whole org.
Result<std::vector<TokenRow>> list_tokens(
    store::Pool& pool,
    const std::string& org,
    const std::string& user,
    const std::string& cursor,
    int limit
);
/// Names of all orgs.
Result<std::vector<std::string>> list_orgs(store::Pool& pool);
/// A user is known once a token was made for it.
Result<bool> has_user(store::Pool& pool, const std::string& org, const std::string& user);
/// False where there is no such live token. `user` empty: anybody's of the org.
Result<bool> revoke_token(
    store::Pool& pool, const std::string& org, const std::string& user, const std::string& id
);

}  // namespace repo
}  // namespace berth::gateway
