// SPDX-License-Identifier: Apache-2.0
// Users, identities and sign-ins. What may lock out an org is decided under a lock of the org.
#include "gateway/repo_users.hpp"

#include <algorithm>

#include "berth/gateway/v1/gateway.pb.h"
#include "gateway/roles.hpp"
#include "service/proto_time.hpp"

namespace berth::gateway::repo {
namespace {

using store::OnLoss;
using store::Param;
using store::Statement;

constexpr Statement kListUser{
    "SELECT org, name, roles, disabled_at IS NOT NULL AS disabled, created_at FROM users WHERE org "
    "= $1 AND name > $2 ORDER BY name LIMIT $3::bigint",
    "list_users"};
constexpr Statement kGet{
    "SELECT org, name, roles, disabled_at IS NOT NULL AS disabled, created_at FROM users WHERE org "
    "= $1 AND name = $2",
    "get_user"};
constexpr Statement kIdentities{
    "SELECT owner, provider, subject, login FROM identities WHERE org = $1 AND owner = ANY($2) "
    "ORDER BY owner, provider",
    "identities"};
constexpr Statement kAddOrg{
    "INSERT INTO orgs (name) VALUES ($1) ON CONFLICT DO NOTHING", "add_org"};
constexpr Statement kAdd{
    "INSERT INTO users (org, name, roles) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", "new_user"};
constexpr Statement kLockOrg{"SELECT 1 FROM orgs WHERE name = $1 FOR UPDATE", "lock_org"};
constexpr Statement kChange{
    "UPDATE users SET roles = CASE WHEN $3 = '' THEN roles ELSE $3 END, disabled_at = CASE WHEN "
    "$4::boolean IS NULL THEN disabled_at WHEN $4::boolean THEN coalesce(disabled_at, now()) END, "
    "revision = revision + 1 WHERE org = $1 AND name = $2 RETURNING org, name, roles, disabled_at "
    "IS NOT NULL AS disabled, created_at, revision",
    "change_user"};
constexpr Statement kAdmins{
    "SELECT count(*) FROM users WHERE org = $1 AND disabled_at IS NULL AND 'admin' = "
    "ANY(string_to_array(roles, ' '))",
    "count_admins"};
constexpr Statement kUnlinkUser{
    "DELETE FROM identities WHERE org = $1 AND owner = $2 AND provider = $3", "unlink"};
constexpr Statement kLinkUser{
    "INSERT INTO identities (provider, subject, org, owner) VALUES ($1, $2, $3, $4) ON CONFLICT DO "
    "NOTHING",
    "link"};
constexpr Statement kForgetLogins{"DELETE FROM logins WHERE expires_at <= now()", "old_logins"};
constexpr Statement kAddLogin{
    "INSERT INTO logins (id, provider, sealed, interval_s, next_poll_at, expires_at) SELECT $1, "
    "$2, $3, $4::integer, now() + $4::integer * interval '1 second', $5 WHERE (SELECT count(*) "
    "FROM logins) < $6::bigint",
    "add_login"};
constexpr Statement kFindLogin{
    "SELECT id, provider, sealed, interval_s, expires_at, token_id FROM logins WHERE id = $1 AND "
    "expires_at > now()",
    "find_login"};
constexpr Statement kTurn{
    "UPDATE logins SET next_poll_at = now() + interval_s * interval '1 second' WHERE id = $1 AND "
    "expires_at > now() AND next_poll_at <= now() AND token_id IS NULL",
    "take_turn"};
constexpr Statement kSlow{
    "UPDATE logins SET interval_s = $2::integer, next_poll_at = now() + $2::integer * interval '1 "
    "second' WHERE id = $1",
    "slow_login"};
constexpr Statement kDropUser{"DELETE FROM logins WHERE id = $1", "drop_login"};
constexpr Statement kLockLogin{
    "SELECT token_id FROM logins WHERE id = $1 FOR UPDATE", "lock_login"};
constexpr Statement kTokenOf{
    "SELECT id, org, owner, roles, label, created_at, expires_at FROM tokens WHERE id = $1 AND "
    "revoked_at IS NULL",
    "token_of_login"};
constexpr Statement kWho{
    "SELECT owner FROM identities WHERE provider = $1 AND subject = $2 AND org = $3", "who"};
constexpr Statement kSeen{
    "UPDATE identities SET login = $3 WHERE provider = $1 AND subject = $2 AND login <> $3",
    "seen_as"};
constexpr Statement kAddToken{
    "INSERT INTO tokens (id, hash, org, owner, roles, label, created_at, expires_at) VALUES ($1, "
    "$2, $3, $4, $5, $6, $7, $8)",
    "add_login_token"};
constexpr Statement kDone{"UPDATE logins SET token_id = $2, sealed = '' WHERE id = $1", "done"};

UserRow read(const store::Row& row) {
    UserRow user;
    user.org = row.text("org");
    user.name = row.text("name");
    user.roles = split_roles(row.text("roles"));
    user.disabled = row.boolean("disabled");
    user.created_at = row.time("created_at");
    return user;
}

Result<void> add_identities(store::Pool& pool, std::vector<UserRow>& users) {
    if (users.empty()) return {};
    std::vector<std::string> names;
    for (const auto& user : users) names.push_back(user.name);
    BERTH_ASSIGN(
        const auto rows,
        pool.exec_autocommit(
            kIdentities, {users.front().org, Param::text_array(names)}, OnLoss::kRetry
        )
    );
    for (const auto row : rows) {
        const auto user = std::find_if(users.begin(), users.end(), [&](const UserRow& each) {
            return each.name == row.text("owner");
        });
        if (user == users.end()) continue;
        user->identities.push_back(
            {std::string(row.text("provider")),
             std::string(row.text("subject")),
             std::string(row.text("login"))}
        );
    }
    return {};
}

Error no_user(const std::string& name) {
    return not_found("user_not_found", "there is no user '" + name + "'");
}

store::OutboxMessage changed_event(
    const service::Context& cause, const UserRow& user, std::int64_t revision
) {
    v1::UserChanged fact;
    fact.mutable_user()->set_name(user.name);
    fact.mutable_user()->set_org(user.org);
    for (const auto& role : user.roles) fact.mutable_user()->add_roles(role);
    fact.mutable_user()->set_disabled(user.disabled);
    *fact.mutable_user()->mutable_created_at() = service::to_timestamp(user.created_at);
    fact.set_revision(static_cast<std::uint64_t>(revision));
    auto event = service::make_event(
        cause, "gateway", user.org, "user", "changed", user.name, fact.revision(), fact
    );
    event.entity = "user/" + user.org + "/" + user.name;  // names are of one org each
    return event;
}

// The user of a sign-in: the linked one, or a new one where that is allowed.
Result<std::string> user_of(store::Transaction& tx, const SignedIn& who, const std::string& org) {
    const auto& [provider, subject, login] = who.identity;
    BERTH_ASSIGN(const auto linked, tx.exec(kWho, {provider, subject, org}));
    if (!linked.empty()) {
        BERTH_TRY(tx.exec(kSeen, {provider, subject, login}));
        return std::string(linked[0].text("owner"));
    }
    if (!who.admitted)
        return forbidden(
            "not_linked",
            "you are " + login + " at " + provider +
                ", and no user here is linked to that; an "
                "admin can: berth users link <user> " +
                provider + " " + subject
        );
    BERTH_TRY(tx.exec(kAddOrg, {org}));
    BERTH_ASSIGN(const auto made, tx.exec(kAdd, {org, who.user_name, join_roles(who.roles)}));
    // Somebody else's name is not taken over because it is spelled the same elsewhere.
    if (made.affected() == 0)
        return conflict(
            "user_name_taken",
            "there is a user '" + who.user_name +
                "' here already; if that is you, an admin can "
                "link it: berth users link " +
                who.user_name + " " + provider + " " + subject
        );
    BERTH_ASSIGN(const auto link, tx.exec(kLinkUser, {provider, subject, org, who.user_name}));
    if (link.affected() == 0)
        return conflict("identity_taken", "a user of another org is linked to that identity");
    BERTH_TRY(tx.exec(kSeen, {provider, subject, login}));
    return who.user_name;
}

}  // namespace

Result<std::vector<UserRow>> list_users(
    store::Pool& pool, const std::string& org, const std::string& cursor, int limit
) {
    BERTH_ASSIGN(
        const auto rows, pool.exec_autocommit(kListUser, {org, cursor, limit}, OnLoss::kRetry)
    );
    std::vector<UserRow> out;
    for (const auto row : rows) out.push_back(read(row));
    BERTH_TRY(add_identities(pool, out));
    return out;
}

Result<UserRow> get_user(store::Pool& pool, const std::string& org, const std::string& name) {
    BERTH_ASSIGN(const auto rows, pool.exec_autocommit(kGet, {org, name}, OnLoss::kRetry));
    if (rows.empty()) return no_user(name);
    std::vector<UserRow> out{read(rows[0])};
    BERTH_TRY(add_identities(pool, out));
    return std::move(out.front());
}

Result<void> add_user(
    store::Pool& pool,
    const std::string& org,
    const std::string& name,
    const std::vector<std::string>& roles
) {
    return pool.transact([&](store::Transaction& tx) -> Result<void> {
        BERTH_TRY(tx.exec(kAddOrg, {org}));
        BERTH_ASSIGN(const auto rows, tx.exec(kAdd, {org, name, join_roles(roles)}));
        if (rows.affected() == 0)
            return conflict("user_exists", "there is a user '" + name + "' already");
        return {};
    });
}

Result<store::OutboxMessage> change_user(
    store::Pool& pool,
    const std::string& org,
    const std::string& name,
    const std::vector<std::string>& roles,
    std::optional<bool> disabled,
    const service::Context& cause
) {
    return pool.transact([&](store::Transaction& tx) -> Result<store::OutboxMessage> {
        BERTH_TRY(tx.exec(kLockOrg, {org}));
        BERTH_ASSIGN(
            const auto rows, tx.exec(kChange, {org, name, join_roles(roles), Param(disabled)})
        );
        if (rows.empty()) return no_user(name);
        BERTH_ASSIGN(const auto admins, tx.exec(kAdmins, {org}));
        if (admins[0].int64(0) == 0)
            return conflict(
                "last_admin", "'" + name + "' is the only admin; make another user admin first"
            );
        auto event = changed_event(cause, read(rows[0]), rows[0].int64("revision"));
        BERTH_TRY(store::Outbox::add(tx, event));
        return event;
    });
}

Result<void> link_identity(
    store::Pool& pool,
    const std::string& org,
    const std::string& name,
    const std::string& provider,
    const std::string& subject
) {
    return pool.transact([&](store::Transaction& tx) -> Result<void> {
        BERTH_ASSIGN(const auto user, tx.exec(kGet, {org, name}));
        if (user.empty()) return no_user(name);
        BERTH_TRY(tx.exec(kUnlinkUser, {org, name, provider}));
        BERTH_ASSIGN(const auto rows, tx.exec(kLinkUser, {provider, subject, org, name}));
        if (rows.affected() == 0)
            return conflict("identity_taken", "another user is linked to that identity");
        return {};
    });
}

Result<void> unlink_identity(
    store::Pool& pool, const std::string& org, const std::string& name, const std::string& provider
) {
    BERTH_TRY(pool.exec_autocommit(kUnlinkUser, {org, name, provider}, OnLoss::kRetry));
    return {};
}

Result<void> add_login(store::Pool& pool, const LoginRow& login, int most) {
    BERTH_TRY(pool.exec_autocommit(kForgetLogins, {}, OnLoss::kRetry));
    BERTH_ASSIGN(
        const auto rows,
        pool.exec_autocommit(
            kAddLogin,
            {login.id, login.provider, login.sealed, login.interval_s, login.expires_at, most},
            OnLoss::kRetry
        )
    );
    if (rows.affected() == 0)
        return Error{
            Fault::kLimit,
            "too_many_logins",
            "too many sign-ins are under way; try again in some minutes",
            {}};
    return {};
}

Result<std::optional<LoginRow>> find_login(store::Pool& pool, const std::string& id) {
    BERTH_ASSIGN(const auto rows, pool.exec_autocommit(kFindLogin, {id}, OnLoss::kRetry));
    if (rows.empty()) return std::optional<LoginRow>();
    LoginRow login;
    login.id = rows[0].text("id");
    login.provider = rows[0].text("provider");
    login.sealed = rows[0].text("sealed");
    login.interval_s = static_cast<int>(rows[0].int64("interval_s"));
    login.expires_at = rows[0].time("expires_at");
    login.token_id = rows[0].optional_text("token_id");
    return std::optional<LoginRow>(std::move(login));
}

Result<bool> take_turn(store::Pool& pool, const std::string& id) {
    BERTH_ASSIGN(const auto rows, pool.exec_autocommit(kTurn, {id}, OnLoss::kRetry));
    return rows.affected() > 0;
}

Result<void> slow_login(store::Pool& pool, const std::string& id, int interval_s) {
    BERTH_TRY(pool.exec_autocommit(kSlow, {id, interval_s}, OnLoss::kRetry));
    return {};
}

Result<void> drop_login(store::Pool& pool, const std::string& id) {
    BERTH_TRY(pool.exec_autocommit(kDropUser, {id}, OnLoss::kRetry));
    return {};
}

Result<TokenRow> finish_login(
    store::Pool& pool,
    const std::string& login,
    const SignedIn& who,
    const TokenRow& token,
    const std::string& hash
) {
    return pool.transact([&](store::Transaction& tx) -> Result<TokenRow> {
        TokenRow made = token;
        BERTH_ASSIGN(const auto under_way, tx.exec(kLockLogin, {login}));
        if (under_way.empty())
            return not_found("login_expired", "this sign-in is over; begin again");
        if (const auto id = under_way[0].optional_text("token_id")) {
            BERTH_ASSIGN(const auto rows, tx.exec(kTokenOf, {*id}));
            if (rows.empty())
                return conflict("token_revoked", "the token of this sign-in has been revoked");
            made.id = *id;
            made.org = rows[0].text("org");
            made.user = rows[0].text("owner");
            made.roles = split_roles(rows[0].text("roles"));
            made.label = rows[0].text("label");
            made.created_at = rows[0].time("created_at");
            made.expires_at = rows[0].optional_time("expires_at");
            return made;
        }
        BERTH_ASSIGN(made.user, user_of(tx, who, token.org));
        BERTH_ASSIGN(const auto user, tx.exec(kGet, {token.org, made.user}));
        if (user.empty()) return no_user(made.user);
        const UserRow row = read(user[0]);
        if (row.disabled)
            return forbidden("user_disabled", "the user '" + made.user + "' is disabled");
        made.roles = row.roles;
        made.label = who.identity.provider + " " + who.identity.login;
        BERTH_TRY(tx.exec(
            kAddToken,
            {made.id,
             hash,
             made.org,
             made.user,
             join_roles(made.roles),
             made.label,
             made.created_at,
             Param(made.expires_at)}
        ));
        BERTH_TRY(tx.exec(kDone, {login, made.id}));
        return made;
    });
}

}  // namespace berth::gateway::repo
