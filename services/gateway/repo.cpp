// SPDX-License-Identifier: Apache-2.0
// The SQL of the gateway.
#include "gateway/repo.hpp"

#include <array>

#include "core/text.hpp"

namespace berth::gateway {
namespace {

using store::OnLoss;
using store::Param;
using store::Statement;

// Every service has an inbox and an outbox, which the runtime watches; the gateway's stay empty.
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

#define TOKEN_COLUMNS "id, org, owner, roles, label, created_at, expires_at, last_used_at"
#define TOKEN_LIVE "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"

constexpr Statement kFind{
    "SELECT " TOKEN_COLUMNS " FROM tokens WHERE hash = $1 AND " TOKEN_LIVE, "find_token"};
constexpr Statement kTouch{
    "UPDATE tokens SET last_used_at = now() WHERE id = $1 AND (last_used_at IS NULL OR "
    "last_used_at < now() - interval '1 minute')",
    "touch_token"};
constexpr Statement kAddOrg{
    "INSERT INTO orgs (name) VALUES ($1) ON CONFLICT DO NOTHING", "add_org"};
constexpr Statement kHasUser{"SELECT 1 FROM users WHERE org = $1 AND name = $2", "has_user"};
constexpr Statement kAddUser{
    "INSERT INTO users (org, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", "add_user"};
constexpr Statement kAdd{
    "INSERT INTO tokens (id, hash, org, owner, roles, label, created_at, expires_at) VALUES ($1, "
    "$2, $3, $4, $5, $6, $7, $8) "
    "ON CONFLICT (hash) DO NOTHING",
    "add_token"};
constexpr Statement kList{
    "SELECT " TOKEN_COLUMNS
    " FROM tokens WHERE org = $1 AND ($2 = '' OR owner = $2) AND id > $3 AND " TOKEN_LIVE
    " ORDER BY id LIMIT $4::bigint",
    "list_tokens"};
constexpr Statement kRevoke{
    "UPDATE tokens SET revoked_at = now() WHERE org = $1 AND ($2 = '' OR owner = $2) AND id = $3 "
    "AND revoked_at IS NULL",
    "revoke_token"};

std::string join(const std::vector<std::string>& words) {
    std::string out;
    for (const auto& word : words) out += (out.empty() ? "" : " ") + word;
    return out;
}

TokenRow read(const store::Row& row) {
    TokenRow token;
    token.id = row.text("id");
    token.org = row.text("org");
    token.user = row.text("owner");
    for (const auto word : split(row.text("roles"), ' ')) {
        if (!word.empty()) token.roles.emplace_back(word);
    }
    token.label = row.text("label");
    token.created_at = row.time("created_at");
    token.expires_at = row.optional_time("expires_at");
    token.last_used_at = row.optional_time("last_used_at");
    return token;
}

}  // namespace

std::span<const store::Migration> migrations() {
    static const std::array<store::Migration, 1> list{
        {{1, "orgs, users and tokens", first_migration()}}};
    return list;
}

namespace repo {

Result<std::optional<TokenRow>> find_token(store::Pool& pool, const std::string& hash) {
    BERTH_ASSIGN(const auto rows, pool.exec_autocommit(kFind, {hash}, OnLoss::kRetry));
    if (rows.empty()) return std::optional<TokenRow>();
    return std::optional<TokenRow>(read(rows[0]));
}

Result<void> touch_token(store::Pool& pool, const std::string& id) {
    BERTH_TRY(pool.exec_autocommit(kTouch, {id}, OnLoss::kRetry));
    return {};
}

Result<void> add_token(store::Pool& pool, const TokenRow& token, const std::string& hash) {
    return pool.transact([&](store::Transaction& tx) -> Result<void> {
        BERTH_TRY(tx.exec(kAddOrg, {token.org}));
        BERTH_TRY(tx.exec(kAddUser, {token.org, token.user}));
        BERTH_TRY(tx.exec(
            kAdd,
            {token.id,
             hash,
             token.org,
             token.user,
             join(token.roles),
             token.label,
             token.created_at,
             Param(token.expires_at)}
        ));
        return {};
    });
}

Result<std::vector<TokenRow>> list_tokens(
    store::Pool& pool,
    const std::string& org,
    const std::string& user,
    const std::string& cursor,
    int limit
) {
    BERTH_ASSIGN(
        const auto rows, pool.exec_autocommit(kList, {org, user, cursor, limit}, OnLoss::kRetry)
    );
    std::vector<TokenRow> out;
    for (const auto row : rows) out.push_back(read(row));
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
