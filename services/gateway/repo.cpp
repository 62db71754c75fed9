// SPDX-License-Identifier: Apache-2.0
// The tables, and the SQL of tokens.
#include "gateway/repo.hpp"

#include <array>

#include "gateway/roles.hpp"

namespace berth::gateway {
namespace {

using store::OnLoss;
using store::Param;
using store::Statement;

const std::string& first_migration() {
    static const std::string sql = std::string(store::kInboxOutboxDdl) + R"(
CREATE TABLE orgs (
    name text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE users (
    org text NOT NULL REFERENCES orgs (name),
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org, name)
);
CREATE TABLE tokens (
    id text PRIMARY KEY,
    hash text NOT NULL UNIQUE,
    org text NOT NULL,
    owner text NOT NULL,
    roles text NOT NULL,
    label text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    FOREIGN KEY (org, owner) REFERENCES users (org, name)
);
CREATE INDEX tokens_live ON tokens (org, id) WHERE revoked_at IS NULL;
)";
    return sql;
}

// A change of a user is told, in order.
constexpr std::string_view kFourthMigration = R"(
ALTER TABLE users ADD COLUMN revision bigint NOT NULL DEFAULT 0;
)";

// Users had no roles of their own: they get those of their tokens.
constexpr std::string_view kSecondMigration = R"(
ALTER TABLE users ADD COLUMN roles text NOT NULL DEFAULT '', ADD COLUMN disabled_at timestamptz;
UPDATE users u SET roles = coalesce((
    SELECT string_agg(DISTINCT role, ' ')
    FROM tokens t, unnest(string_to_array(t.roles, ' ')) role
    WHERE t.org = u.org AND t.owner = u.name AND t.revoked_at IS NULL), '');
ALTER TABLE tokens ADD COLUMN request text NOT NULL DEFAULT '';
CREATE TABLE identities (
    provider text NOT NULL,
    subject text NOT NULL,
    org text NOT NULL,
    owner text NOT NULL,
    login text NOT NULL DEFAULT '',
    PRIMARY KEY (provider, subject),
    UNIQUE (org, owner, provider),
    FOREIGN KEY (org, owner) REFERENCES users (org, name)
);
CREATE TABLE logins (
    id text PRIMARY KEY,
    provider text NOT NULL,
    sealed text NOT NULL,
    interval_s integer NOT NULL,
    next_poll_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    token_id text REFERENCES tokens (id)
);
CREATE INDEX logins_end ON logins (expires_at);
CREATE TABLE keys (
    name text PRIMARY KEY,
    value text NOT NULL
);
INSERT INTO keys (name, value)
VALUES ('tokens', gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text);
)";

// Who people on chat platforms are. One code per user; tries are counted per person.
constexpr std::string_view kThirdMigration = R"(
ALTER TABLE identities ADD COLUMN linked_at timestamptz NOT NULL DEFAULT now();
CREATE TABLE chat_codes (
    org text NOT NULL,
    owner text NOT NULL,
    hash text NOT NULL UNIQUE,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (org, owner),
    FOREIGN KEY (org, owner) REFERENCES users (org, name)
);
CREATE TABLE chat_tries (
    platform text NOT NULL,
    person text NOT NULL,
    wrong integer NOT NULL,
    since timestamptz NOT NULL,
    PRIMARY KEY (platform, person)
);
)";

#define TOKEN_COLUMNS "id, org, owner, roles, label, created_at, expires_at, last_used_at"
#define TOKEN_LIVE "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"

#define SELECT_TOKEN                                                                  \
    "SELECT " TOKEN_COLUMNS                                                           \
    ", (SELECT u.roles FROM users u WHERE u.org = tokens.org AND u.name = owner AND " \
    "u.disabled_at IS NULL) AS user_roles FROM tokens WHERE " TOKEN_LIVE " AND "
constexpr Statement kFind{SELECT_TOKEN "hash = $1", "find_token"};
constexpr Statement kFindById{SELECT_TOKEN "id = $1", "find_token_by_id"};
constexpr Statement kTouch{
    "UPDATE tokens SET last_used_at = now() WHERE id = $1 AND (last_used_at IS NULL OR "
    "last_used_at < now() - interval '1 minute')",
    "touch_token"};
constexpr Statement kAddOrg{
    "INSERT INTO orgs (name) VALUES ($1) ON CONFLICT DO NOTHING", "add_org"};
constexpr Statement kListOrgs{"SELECT name FROM orgs ORDER BY name", "list_orgs"};
constexpr Statement kHasUser{"SELECT 1 FROM users WHERE org = $1 AND name = $2", "has_user"};
constexpr Statement kAddUser{
    "INSERT INTO users (org, name, roles) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", "add_user"};
constexpr Statement kAdd{
    "INSERT INTO tokens (id, hash, org, owner, roles, label, created_at, expires_at, request) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
    "ON CONFLICT (hash) DO NOTHING",
    "add_token"};
constexpr Statement kUserOf{
    "SELECT roles, disabled_at FROM users WHERE org = $1 AND name = $2 FOR SHARE", "user_of"};
constexpr Statement kSame{
    "SELECT " TOKEN_COLUMNS ", request, revoked_at FROM tokens WHERE hash = $1", "same_token"};
constexpr Statement kKey{"SELECT value FROM keys WHERE name = 'tokens'", "key"};
constexpr Statement kListToken{
    "SELECT " TOKEN_COLUMNS
    " FROM tokens WHERE org = $1 AND ($2 = '' OR owner = $2) AND id > $3 AND " TOKEN_LIVE
    " ORDER BY id LIMIT $4::bigint",
    "list_tokens"};
constexpr Statement kRevoke{
    "UPDATE tokens SET revoked_at = now() WHERE org = $1 AND ($2 = '' OR owner = $2) AND id = $3 "
    "AND revoked_at IS NULL",
    "revoke_token"};

TokenRow read(const store::Row& row) {
    TokenRow token;
    token.id = row.text("id");
    token.org = row.text("org");
    token.user = row.text("owner");
    token.roles = split_roles(row.text("roles"));
    token.label = row.text("label");
    token.created_at = row.time("created_at");
    token.expires_at = row.optional_time("expires_at");
    token.last_used_at = row.optional_time("last_used_at");
    return token;
}

Result<std::optional<TokenRow>> read_live(const Result<store::Rows>& rows) {
    if (!rows) return rows.error();
    if (rows->empty() || (*rows)[0].is_null("user_roles")) return std::optional<TokenRow>();
    TokenRow token = read((*rows)[0]);
    token.user_roles = split_roles((*rows)[0].text("user_roles"));
    return std::optional<TokenRow>(std::move(token));
}

}  // namespace

std::span<const store::Migration> migrations() {
    static const std::array<store::Migration, 4> list{
        {{1, "orgs, users and tokens", first_migration()},
         {2, "roles of users, identities and sign-ins", kSecondMigration},
         {3, "chat identities", kThirdMigration},
         {4, "revisions of users", kFourthMigration}}};
    return list;
}

namespace repo {

Result<std::optional<TokenRow>> find_token(store::Pool& pool, const std::string& hash) {
    return read_live(pool.exec_autocommit(kFind, {hash}, OnLoss::kRetry));
}

Result<std::optional<TokenRow>> find_token_by_id(store::Pool& pool, const std::string& id) {
    return read_live(pool.exec_autocommit(kFindById, {id}, OnLoss::kRetry));
}

Result<void> touch_token(store::Pool& pool, const std::string& id) {
    BERTH_TRY(pool.exec_autocommit(kTouch, {id}, OnLoss::kRetry));
    return {};
}

namespace {

Result<bool> insert(
    store::Transaction& tx,
    const TokenRow& token,
    const std::string& hash,
    const std::string& request
) {
    BERTH_ASSIGN(
        const auto rows,
        tx.exec(
            kAdd,
            {token.id,
             hash,
             token.org,
             token.user,
             join_roles(token.roles),
             token.label,
             token.created_at,
             Param(token.expires_at),
             request}
        )
    );
    return rows.affected() > 0;
}

// What the same request made before, if it was made before.
Result<std::optional<TokenRow>> same_request(
    store::Transaction& tx, const std::string& hash, const std::string& request
) {
    BERTH_ASSIGN(const auto rows, tx.exec(kSame, {hash}));
    if (rows.empty()) return std::optional<TokenRow>();
    if (rows[0].text("request") != request)
        return conflict(
            "idempotency_conflict", "this Idempotency-Key was used for another request already"
        );
    if (!rows[0].is_null("revoked_at"))
        return conflict(
            "token_revoked", "the token that this Idempotency-Key made has been revoked"
        );
    return std::optional<TokenRow>(read(rows[0]));
}

// Fills the token's roles by its user's, or checks them.
Result<void> fit_roles(store::Transaction& tx, TokenRow& token, bool may_add_user) {
    BERTH_ASSIGN(auto rows, tx.exec(kUserOf, {token.org, token.user}));
    if (rows.empty()) {
        if (!may_add_user)
            return not_found("user_not_found", "there is no user '" + token.user + "'");
        if (token.roles.empty())
            return invalid("bad_role", "say which 'roles' the new user has", "roles");
        BERTH_TRY(tx.exec(kAddUser, {token.org, token.user, join_roles(token.roles)}));
        return {};
    }
    if (!rows[0].is_null("disabled_at"))
        return conflict("user_disabled", "the user '" + token.user + "' is disabled");
    const auto of_user = split_roles(rows[0].text("roles"));
    if (token.roles.empty()) token.roles = of_user;
    for (const auto& role : token.roles) {
        if (!covers(of_user, role))
            return invalid(
                "bad_role",
                "the user '" + token.user + "' does not have the role " + role +
                    "; give it first (berth users set)",
                "roles"
            );
    }
    return {};
}

}  // namespace

Result<void> add_token(store::Pool& pool, const TokenRow& token, const std::string& hash) {
    return pool.transact([&](store::Transaction& tx) -> Result<void> {
        BERTH_TRY(tx.exec(kAddOrg, {token.org}));
        BERTH_TRY(tx.exec(kAddUser, {token.org, token.user, join_roles(token.roles)}));
        BERTH_TRY(insert(tx, token, hash, ""));
        return {};
    });
}

Result<TokenRow> create_token(
    store::Pool& pool,
    const TokenRow& token,
    const std::string& hash,
    const std::string& request,
    bool may_add_user
) {
    return pool.transact([&](store::Transaction& tx) -> Result<TokenRow> {
        TokenRow made = token;  // a transaction may run twice
        if (!request.empty()) {
            BERTH_ASSIGN(auto known, same_request(tx, hash, request));
            if (known) return std::move(*known);
        }
        BERTH_TRY(fit_roles(tx, made, may_add_user));
        BERTH_ASSIGN(const bool fresh, insert(tx, made, hash, request));
        if (fresh) return made;
        BERTH_ASSIGN(auto raced, same_request(tx, hash, request));  // the same request at once
        if (!raced) return internal("token_lost", "the token could not be made; try again");
        return std::move(*raced);
    });
}

Result<Secret> load_key(store::Pool& pool) {
    BERTH_ASSIGN(const auto rows, pool.exec_autocommit(kKey, {}, OnLoss::kRetry));
    if (rows.empty()) return internal("no_key", "the gateway's key is missing in the table keys");
    return Secret(std::string(rows[0].text("value")));
}

Result<std::vector<TokenRow>> list_tokens(
    store::Pool& pool,
    const std::string& org,
    const std::string& user,
    const std::string& cursor,
    int limit
) {
    BERTH_ASSIGN(
        const auto rows,
        pool.exec_autocommit(kListToken, {org, user, cursor, limit}, OnLoss::kRetry)
    );
    std::vector<TokenRow> out;
    for (const auto row : rows) out.push_back(read(row));
    return out;
}

Result<std::vector<std::string>> list_orgs(store::Pool& pool) {
    BERTH_ASSIGN(const auto rows, pool.exec_autocommit(kListOrgs, {}, OnLoss::kRetry));
    std::vector<std::string> out;
    for (const auto row : rows) out.emplace_back(row.text("name"));
    return out;
}

Result<bool> has_user(store::Pool& pool, const std::string& org, const std::string& user) {
    BERTH_ASSIGN(const auto rows, pool.exec_autocommit(kHasUser, {org, user}, OnLoss::kRetry));
    return !rows.empty();
}

Result<bool> revoke_token(
    store::Pool& pool, const std::string& org, const std::string& user, const std::string& id
) {
    BERTH_ASSIGN(const auto rows, pool.exec_autocommit(kRevoke, {org, user, id}, OnLoss::kRetry));
    return rows.affected() > 0;
}

}  // namespace repo
}  // namespace berth::gateway
