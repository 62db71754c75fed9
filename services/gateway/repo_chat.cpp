// SPDX-License-Identifier: Apache-2.0
// Codes are used once and guessed by nobody: each person has a few wrong tries an hour.
#include "gateway/repo_chat.hpp"

#include "gateway/roles.hpp"
#include "gateway/settings.hpp"

namespace berth::gateway::repo {
namespace {

using store::OnLoss;
using store::Statement;

// Sign-in providers stand in the same table; a chat platform is whatever they are not.
#define CHAT_ONLY "provider NOT IN ('github', 'oidc')"

constexpr Statement kSetCode{
    "INSERT INTO chat_codes (org, owner, hash, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT "
    "(org, owner) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at",
    "set_chat_code"};
constexpr Statement kForgetCodes{"DELETE FROM chat_codes WHERE expires_at <= now()", "old_codes"};
constexpr Statement kFind{
    "SELECT u.org, u.name, u.roles, u.disabled_at IS NOT NULL AS disabled FROM identities i JOIN "
    "users u ON u.org = i.org AND u.name = i.owner WHERE i.provider = $1 AND i.subject = $2 AND "
    "i.org = $3",
    "find_person"};
constexpr Statement kForgetTries{
    "DELETE FROM chat_tries WHERE since <= $1::timestamptz - interval '1 hour'", "old_tries"};
constexpr Statement kTries{
    "SELECT wrong FROM chat_tries WHERE platform = $1 AND person = $2 FOR UPDATE", "chat_tries"};
constexpr Statement kCountTry{
    "INSERT INTO chat_tries (platform, person, wrong, since) VALUES ($1, $2, 1, $3) ON CONFLICT "
    "(platform, person) DO UPDATE SET wrong = chat_tries.wrong + 1",
    "count_try"};
constexpr Statement kNoTries{
    "DELETE FROM chat_tries WHERE platform = $1 AND person = $2", "no_tries"};
constexpr Statement kUseCode{
    "DELETE FROM chat_codes WHERE hash = $1 AND org = $2 AND expires_at > $3 RETURNING owner",
    "use_code"};
constexpr Statement kUser{
    "SELECT roles, disabled_at FROM users WHERE org = $1 AND name = $2 FOR SHARE", "user_of_code"};
constexpr Statement kLinkedTo{
    "SELECT org, owner FROM identities WHERE provider = $1 AND subject = $2 FOR UPDATE",
    "linked_to"};
constexpr Statement kUnlinkChat{
    "DELETE FROM identities WHERE org = $1 AND owner = $2 AND provider = $3", "chat_unlink"};
constexpr Statement kLinkChat{
    "INSERT INTO identities (provider, subject, org, owner, login) VALUES ($1, $2, $3, $4, $5)",
    "chat_link"};
constexpr Statement kListChat{
    "SELECT provider, subject, login, linked_at FROM identities WHERE org = $1 AND owner = $2 "
    "AND " CHAT_ONLY " ORDER BY provider",
    "chat_links"};
constexpr Statement kDropChat{
    "DELETE FROM identities WHERE org = $1 AND owner = $2 AND provider = $3 AND " CHAT_ONLY,
    "drop_chat_link"};

}  // namespace

Result<void> set_chat_code(
    store::Pool& pool,
    const std::string& org,
    const std::string& user,
    const std::string& hash,
    WallTime expires_at
) {
    BERTH_TRY(pool.exec_autocommit(kForgetCodes, {}, OnLoss::kRetry));
    BERTH_TRY(pool.exec_autocommit(kSetCode, {org, user, hash, expires_at}, OnLoss::kRetry));
    return {};
}

Result<std::optional<PersonRow>> find_person(
    store::Pool& pool,
    const std::string& org,
    const std::string& platform,
    const std::string& person_id
) {
    BERTH_ASSIGN(
        const auto rows, pool.exec_autocommit(kFind, {platform, person_id, org}, OnLoss::kRetry)
    );
    if (rows.empty()) return std::optional<PersonRow>();
    return std::optional<PersonRow>(PersonRow{
        std::string(rows[0].text("org")),
        std::string(rows[0].text("name")),
        split_roles(rows[0].text("roles")),
        rows[0].boolean("disabled")});
}

Result<PersonRow> link_person(store::Transaction& tx, const LinkRequest& request, WallTime now) {
    const auto& [org, platform, person, name, hash] = request;
    BERTH_TRY(tx.exec(kForgetTries, {now}));
    BERTH_ASSIGN(const auto tries, tx.exec(kTries, {platform, person}));
    if (!tries.empty() && tries[0].int64("wrong") >= kMaxWrongCodes)
        return limit("too_many_tries", "too many wrong codes; try again in an hour");
    BERTH_ASSIGN(const auto code, tx.exec(kUseCode, {hash, org, now}));
    if (code.empty()) {
        BERTH_TRY(tx.exec(kCountTry, {platform, person, now}));
        return forbidden(
            "bad_code", "this code is wrong, used or too old; 'berth chat pair' gives a new one"
        );
    }
    PersonRow out{org, std::string(code[0].text("owner")), {}, false};
    BERTH_ASSIGN(const auto user, tx.exec(kUser, {org, out.user}));
    if (user.empty() || !user[0].is_null("disabled_at"))
        return conflict("user_disabled", "the user '" + out.user + "' is disabled");
    out.roles = split_roles(user[0].text("roles"));
    BERTH_ASSIGN(const auto linked, tx.exec(kLinkedTo, {platform, person}));
    if (!linked.empty() && (linked[0].text("org") != org || linked[0].text("owner") != out.user))
        return conflict(
            "identity_taken",
            "you are linked to another user already; that one ends it by 'berth chat unlink " +
                platform + "'"
        );
    BERTH_TRY(tx.exec(kUnlinkChat, {org, out.user, platform}));
    BERTH_TRY(tx.exec(kLinkChat, {platform, person, org, out.user, name}));
    BERTH_TRY(tx.exec(kNoTries, {platform, person}));
    return out;
}

Result<std::vector<ChatLinkRow>> list_chat_links(
    store::Pool& pool, const std::string& org, const std::string& user
) {
    BERTH_ASSIGN(const auto rows, pool.exec_autocommit(kListChat, {org, user}, OnLoss::kRetry));
    std::vector<ChatLinkRow> out;
    for (const auto row : rows)
        out.push_back(
            {std::string(row.text("provider")),
             std::string(row.text("subject")),
             std::string(row.text("login")),
             row.time("linked_at")}
        );
    return out;
}

Result<bool> drop_chat_link(
    store::Pool& pool, const std::string& org, const std::string& user, const std::string& platform
) {
    BERTH_ASSIGN(
        const auto rows, pool.exec_autocommit(kDropChat, {org, user, platform}, OnLoss::kRetry)
    );
    return rows.affected() > 0;
}

}  // namespace berth::gateway::repo
