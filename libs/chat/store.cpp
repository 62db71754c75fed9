// SPDX-License-Identifier: Apache-2.0
// Messages in and out.
#include "chat/store.hpp"

#include "chat/wire.hpp"
#include "service/handlers.hpp"

namespace berth::chat {

using store::OnLoss;
using store::Param;
using store::Row;
using store::Rows;
using store::Statement;

namespace {

#define OUTBOUND_COLUMNS                                                                           \
    "o.id, o.key, o.kind, o.chat, o.thread, o.follows, o.content, o.file, o.answers, o.only_for, " \
    "o.handle, o.revision, o.message, o.plain, o.attempts, o.doubts, o.state = 'expired', "        \
    "o.expires_at, coalesce(o.edit_since, now()), o.edit_doubts, o.created_at, o.said, "           \
    "o.otherwise = o.revision"

constexpr Statement kInsertInbound{
    "INSERT INTO inbound (event_id, command_id, conversation, body) "
    "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) "
    "ON CONFLICT (event_id) DO NOTHING",
    "insert_inbound"};
constexpr Statement kWaitingInbound{
    "SELECT id, command_id, conversation, received_at, body, begun FROM inbound WHERE NOT done AND "
    "NOT "
    "conversation = ANY($1::text[]) ORDER BY id LIMIT $2::bigint",
    "waiting_inbound"};
constexpr Statement kBeginInbound{"UPDATE inbound SET begun = true WHERE id = $1", "begin_inbound"};
constexpr Statement kFinishInbound{
    "UPDATE inbound SET done = true WHERE id = $1 AND NOT done", "finish_inbound"};
constexpr Statement kCountWaiting{"SELECT count(*) FROM inbound WHERE NOT done", "count_waiting"};

constexpr Statement kLastHeard{
    "WITH latest AS (SELECT max(id) AS id, max(id) FILTER (WHERE body::json->>'kind' = '0') AS "
    "said FROM inbound WHERE received_at >= $1 GROUP BY conversation ORDER BY 1 DESC LIMIT "
    "$2::bigint) SELECT i.body, coalesce(s.event_id, '') FROM latest l JOIN inbound i ON i.id = "
    "l.id LEFT JOIN inbound s ON s.id = l.said ORDER BY l.id DESC",
    "last_heard"};

constexpr Statement kWriteNote{
    "INSERT INTO note (body) VALUES ($1) ON CONFLICT (one) DO UPDATE SET body = excluded.body",
    "write_note"};
constexpr Statement kReadNote{"SELECT body FROM note", "read_note"};

constexpr Statement kInsertOutbound{
    "INSERT INTO outbound (key, kind, chat, thread, conversation, follows, content, file, answers, "
    "only_for, handle, created_at, due_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, "
    "$10, $11, $12, $12, $13) ON CONFLICT DO NOTHING",
    "insert_outbound"};
// The first of each conversation only, and none while one of it is being sent or in doubt: order is
// kept also where one waits.
constexpr Statement kClaimOutbound{
    "WITH heads AS (SELECT DISTINCT ON (p.conversation) p.id, p.due_at, p.chat FROM outbound p "
    "WHERE p.state = 'pending' AND NOT EXISTS (SELECT FROM outbound s WHERE s.state = 'sending' "
    "AND "
    "s.conversation = p.conversation) ORDER BY p.conversation, p.id), "
    "due AS (SELECT id FROM heads WHERE due_at <= now() AND NOT chat = ANY($1::text[]) ORDER BY id "
    "LIMIT $2::bigint) "
    "UPDATE outbound o SET attempts = attempts + 1, state = CASE WHEN expires_at <= now() THEN "
    "'expired' ELSE 'sending' END FROM due WHERE o.id = due.id AND o.state = 'pending' "
    "RETURNING " OUTBOUND_COLUMNS,
    "claim_outbound"};
constexpr Statement kDoubtful{
    "SELECT " OUTBOUND_COLUMNS
    " FROM outbound o WHERE state = 'sending' AND NOT id = ANY($1::bigint[]) ORDER BY id LIMIT "
    "$2::bigint",
    "doubtful_outbound"};
constexpr Statement kChanged{
    "SELECT " OUTBOUND_COLUMNS
    " FROM outbound o WHERE state = 'sent' AND shown < revision AND edit_due_at <= now() AND NOT "
    "id = ANY($1::bigint[]) AND NOT chat = ANY($2::text[]) AND (kind = 3 OR NOT chat = "
    "ANY($3::text[])) ORDER BY kind DESC, "
    "id "
    "LIMIT $4::bigint",
    "changed_outbound"};
constexpr Statement kMarkSent{
    "UPDATE outbound SET state = 'sent', message = $2, shown = $3, file = ''::bytea WHERE id = $1 "
    "AND state = 'sending'",
    "mark_sent"};
constexpr Statement kMarkShown{
    "UPDATE outbound SET shown = greatest(shown, $2::bigint), edit_since = NULL, edit_due_at = "
    "'-infinity', edit_doubts = 0, said = coalesce(nullif($3::text, ''), said) WHERE id = $1",
    "mark_shown"};
constexpr Statement kMarkEdit{
    "UPDATE outbound SET edit_since = $2, edit_due_at = $3, edit_doubts = $4 WHERE id = $1",
    "mark_edit"};
constexpr Statement kMarkPending{
    "UPDATE outbound SET state = 'pending', due_at = $2, plain = $3, doubts = $4 WHERE id = $1 AND "
    "state = 'sending'",
    "mark_pending"};
constexpr Statement kMarkFailed{
    "UPDATE outbound SET state = 'failed', reason = $2, file = ''::bytea WHERE id = $1",
    "mark_failed"};
constexpr Statement kSentOrGoing{
    "SELECT " OUTBOUND_COLUMNS
    " FROM outbound o WHERE (state = 'sent' AND message = $1 AND message <> '') OR (said = $1 AND "
    "said <> '') OR (chat = $2 AND (state = 'sending' OR (state = 'sent' AND shown < revision AND "
    "edit_doubts > 0)))",
    "sent_or_going"};
constexpr Statement kPostOtherwise{
    "UPDATE outbound SET state = 'pending', message = '', otherwise = revision, due_at = $2 WHERE "
    "id = $1 AND state = 'sent' AND message = $3",
    "post_otherwise"};
constexpr Statement kSayOtherwise{
    "UPDATE outbound SET shown = 0, said = '', otherwise = revision, edit_since = NULL, "
    "edit_due_at = $2, edit_doubts = 0 WHERE id = $1 AND said = $3",
    "say_otherwise"};
constexpr Statement kForgetSaid{"UPDATE outbound SET said = '' WHERE id = $1", "forget_said"};
constexpr Statement kDropPending{
    "UPDATE outbound SET state = 'dropped' WHERE follows = $1 AND state = 'pending'",
    "drop_pending"};
constexpr Statement kChangeContent{
    "UPDATE outbound SET content = $2, revision = revision + 1 WHERE follows = $1 AND content <> "
    "$2 "
    "AND state IN ('pending', 'sending', 'sent', 'failed')",
    "change_content"};
constexpr Statement kAdopt{
    "UPDATE outbound SET message = $2, state = 'sent' WHERE key = $1 AND message = '' AND state IN "
    "('failed', 'dropped')",
    "adopt_message"};
constexpr Statement kBacklog{
    "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)) * 1000, 0)::bigint FROM "
    "outbound WHERE state IN ('pending', 'sending')",
    "outbound_backlog"};
constexpr Statement kPurgeInbound{
    "DELETE FROM inbound WHERE done AND received_at < $1", "purge_inbound"};
constexpr Statement kPurgeOutbound{
    "DELETE FROM outbound WHERE created_at < $1 AND state NOT IN ('pending', 'sending') AND NOT "
    "EXISTS (SELECT FROM jobs WHERE jobs.card = outbound.key AND jobs.state <> 4) AND NOT EXISTS "
    "(SELECT FROM approvals a WHERE outbound.follows = 'approval/' || a.id AND NOT a.ended)",
    "purge_outbound"};
constexpr Statement kPurgeJobs{
    "DELETE FROM jobs WHERE state = 4 AND created_at < $1", "purge_jobs"};
constexpr Statement kPurgeApprovals{
    "DELETE FROM approvals WHERE ended AND heard_at < $1", "purge_approvals"};
constexpr Statement kPurgeRefusals{"DELETE FROM refusals WHERE at < $1", "purge_refusals"};

constexpr Statement kInsertButtons{
    "INSERT INTO buttons (token_hash, card, action) SELECT u.hash, $1, u.action FROM "
    "unnest($2::text[], $3::text[]) AS u (hash, action)",
    "insert_buttons"};
constexpr Statement kFindButton{
    "SELECT b.card, b.action, o.follows FROM buttons b JOIN outbound o ON o.key = b.card WHERE "
    "b.token_hash = $1",
    "find_button"};
constexpr Statement kAskComment{
    "INSERT INTO questions (conversation, person, token_hash, asked_at) VALUES ($1, $2, $3, $4) ON "
    "CONFLICT (conversation, person) DO UPDATE SET token_hash = $3, asked_at = $4",
    "ask_comment"};
constexpr Statement kOpenQuestion{
    "SELECT token_hash FROM questions WHERE conversation = $1 AND person = $2 AND asked_at >= $3",
    "open_question"};
constexpr Statement kForgetQuestion{
    "DELETE FROM questions WHERE conversation = $1 AND person = $2", "forget_question"};
constexpr Statement kMayRefuse{
    "INSERT INTO refusals (person, at) VALUES ($1, $2) ON CONFLICT (person) DO UPDATE SET at = $2 "
    "WHERE refusals.at <= $3",
    "may_refuse"};

Result<std::vector<OutboundRow>> to_outbound(Result<Rows> rows) {
    if (!rows) return std::move(rows).error();
    std::vector<OutboundRow> out;
    for (const Row row : *rows) {
        OutboundRow one;
        one.id = row.int64(0);
        one.key = row.text(1);
        one.kind = static_cast<OutboundKind>(row.int64(2));
        one.follows = row.text(5);
        one.revision = row.int64(11);
        one.message = row.text(12);
        one.attempts = static_cast<int>(row.int64(14));
        one.doubts = static_cast<int>(row.int64(15));
        one.expired = row.boolean(16);
        one.expires_at = row.time(17);
        one.edit_since = row.time(18);
        one.edit_doubts = static_cast<int>(row.int64(19));
        BERTH_ASSIGN(one.outgoing.content, content_from_json(row.text(6)));
        one.outgoing.content.file_bytes = row.bytes(7);
        one.outgoing.key = one.key;
        one.outgoing.conversation = {std::string(row.text(3)), std::string(row.text(4))};
        one.outgoing.answers = row.text(8);
        one.outgoing.only_for = row.text(9);
        one.outgoing.handle = row.text(10);
        one.outgoing.plain = row.boolean(13);
        one.outgoing.since = row.time(20);
        one.said = row.text(21);
        one.outgoing.otherwise = row.boolean(22);
        out.push_back(std::move(one));
    }
    return out;
}

}  // namespace

std::string conversation_key(const Conversation& conversation) {
    return conversation.chat + "\x1f" + conversation.thread;
}

namespace repo {

Result<std::int64_t> insert_inbound(
    store::Pool& pool, const std::string& token, const std::vector<Inbound>& events
) {
    std::vector<std::string> ids;
    std::vector<std::string> commands;
    std::vector<std::string> conversations;
    std::vector<std::string> bodies;
    for (const auto& event : events) {
        ids.push_back(event.event_id);
        commands.push_back(service::child_command_id("chat/" + token, event.event_id));
        conversations.push_back(conversation_key(event.conversation));
        bodies.push_back(to_json(event));
    }
    // On loss once more: who was stored is known by its event's id.
    BERTH_ASSIGN(
        const Rows rows,
        pool.exec_autocommit(
            kInsertInbound,
            {Param::text_array(ids),
             Param::text_array(commands),
             Param::text_array(conversations),
             Param::text_array(bodies)},
            OnLoss::kRetry
        )
    );
    return rows.affected();
}

Result<std::vector<InboundRow>> waiting_inbound(
    store::Pool& pool, const std::vector<std::string>& busy, int limit
) {
    BERTH_ASSIGN(
        const Rows rows,
        pool.exec_autocommit(kWaitingInbound, {Param::text_array(busy), limit}, OnLoss::kRetry)
    );
    std::vector<InboundRow> out;
    for (const Row row : rows) {
        InboundRow one;
        one.id = row.int64(0);
        one.command_id = row.text(1);
        one.conversation = row.text(2);
        one.received_at = row.time(3);
        BERTH_ASSIGN(one.inbound, inbound_from_json(row.text(4)));
        one.begun = row.boolean(5);
        out.push_back(std::move(one));
    }
    return out;
}

Result<void> begin_inbound(store::Pool& pool, std::int64_t id) {
    BERTH_TRY(pool.exec_autocommit(kBeginInbound, {id}, OnLoss::kRetry));
    return {};
}

Result<bool> finish_inbound(store::Transaction& tx, std::int64_t id) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kFinishInbound, {id}));
    return rows.affected() == 1;
}

Result<std::int64_t> count_waiting(store::Pool& pool) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kCountWaiting, {}, OnLoss::kRetry));
    return rows[0].int64(0);
}

Result<std::vector<LastHeard>> last_heard(store::Pool& pool, WallTime since, std::int64_t most) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kLastHeard, {since, most}, OnLoss::kRetry));
    std::vector<LastHeard> out;
    for (const Row row : rows) {
        BERTH_ASSIGN(const Inbound last, inbound_from_json(row.text(0)));
        out.push_back({last.conversation, last.direct, std::string(row.text(1))});
    }
    return out;
}

Result<void> write_note(store::Pool& pool, const std::string& note) {
    const auto done = pool.exec_autocommit(kWriteNote, {note}, OnLoss::kRetry);
    return done ? Result<void>() : done.error();
}

Result<std::string> read_note(store::Pool& pool) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kReadNote, {}, OnLoss::kRetry));
    return rows.empty() ? std::string() : std::string(rows[0].text(0));
}

Result<bool> insert_outbound(store::Transaction& tx, const OutboundRow& row, WallTime now) {
    const Outgoing& out = row.outgoing;
    BERTH_ASSIGN(
        const Rows rows,
        tx.exec(
            kInsertOutbound,
            {row.key,
             static_cast<int>(row.kind),
             out.conversation.chat,
             out.conversation.thread,
             conversation_key(out.conversation),
             row.follows,
             to_json(out.content),
             Param::bytes(out.content.file_bytes),
             out.answers,
             out.only_for,
             out.handle,
             now,
             row.expires_at}
        )
    );
    return rows.affected() == 1;
}

Result<std::vector<OutboundRow>> claim_outbound(
    store::Pool& pool, const std::vector<std::string>& held, std::size_t limit
) {
    return to_outbound(pool.exec_autocommit(kClaimOutbound, {Param::text_array(held), limit}));
}

Result<std::vector<OutboundRow>> doubtful_outbound(
    store::Pool& pool, const std::vector<std::int64_t>& under_way, int limit
) {
    return to_outbound(
        pool.exec_autocommit(kDoubtful, {Param::int64_array(under_way), limit}, OnLoss::kRetry)
    );
}

Result<std::vector<OutboundRow>> changed_outbound(
    store::Pool& pool,
    const std::vector<std::int64_t>& under_way,
    const std::vector<std::string>& held,
    const std::vector<std::string>& low,
    std::size_t limit
) {
    return to_outbound(pool.exec_autocommit(
        kChanged,
        {Param::int64_array(under_way), Param::text_array(held), Param::text_array(low), limit},
        OnLoss::kRetry
    ));
}

Result<void> mark_sent(
    store::Pool& pool, std::int64_t id, const std::string& message, std::int64_t shown
) {
    BERTH_TRY(pool.exec_autocommit(kMarkSent, {id, message, shown}, OnLoss::kRetry));
    return {};
}

Result<void> mark_shown(
    store::Pool& pool, std::int64_t id, std::int64_t shown, const std::string& said
) {
    BERTH_TRY(pool.exec_autocommit(kMarkShown, {id, shown, said}, OnLoss::kRetry));
    return {};
}

Result<void> mark_shown(store::Transaction& tx, std::int64_t id, std::int64_t shown) {
    BERTH_TRY(tx.exec(kMarkShown, {id, shown, ""}));
    return {};
}

Result<void> mark_edit(store::Pool& pool, const OutboundRow& row, WallTime due, int doubts) {
    BERTH_TRY(pool.exec_autocommit(kMarkEdit, {row.id, row.edit_since, due, doubts}, OnLoss::kRetry)
    );
    return {};
}

Result<void> mark_pending(
    store::Pool& pool, std::int64_t id, WallTime due, bool plain, int doubts
) {
    BERTH_TRY(pool.exec_autocommit(kMarkPending, {id, due, plain, doubts}, OnLoss::kRetry));
    return {};
}

Result<void> mark_failed(store::Transaction& tx, std::int64_t id, const std::string& reason) {
    BERTH_TRY(tx.exec(kMarkFailed, {id, reason}));
    return {};
}

Result<std::vector<OutboundRow>> sent_or_going(
    store::Pool& pool, const std::string& message, const std::string& chat
) {
    return to_outbound(pool.exec_autocommit(kSentOrGoing, {message, chat}, OnLoss::kRetry));
}

Result<void> mark_otherwise(store::Pool& pool, const OutboundRow& row, bool said, WallTime now) {
    BERTH_TRY(pool.exec_autocommit(
        said ? kSayOtherwise : kPostOtherwise,
        {row.id, now, said ? row.said : row.message},
        OnLoss::kRetry
    ));
    return {};
}

Result<void> forget_said(store::Transaction& tx, std::int64_t id) {
    BERTH_TRY(tx.exec(kForgetSaid, {id}));
    return {};
}

Result<void> change_content(
    store::Transaction& tx, const std::string& follows, const Content& content, bool only_posted
) {
    if (only_posted) BERTH_TRY(tx.exec(kDropPending, {follows}));
    BERTH_TRY(tx.exec(kChangeContent, {follows, to_json(content)}));
    return {};
}

Result<void> adopt_message(
    store::Transaction& tx, const std::string& key, const std::string& message
) {
    BERTH_TRY(tx.exec(kAdopt, {key, message}));
    return {};
}

Result<Backlog> backlog(store::Pool& pool) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kBacklog, {}, OnLoss::kRetry));
    return Backlog{rows[0].int64(0), milliseconds{rows[0].int64(1)}};
}

Result<void> purge(store::Pool& pool, WallTime inbound_before, WallTime outbound_before) {
    BERTH_TRY(pool.exec_autocommit(kPurgeInbound, {inbound_before}, OnLoss::kRetry));
    BERTH_TRY(pool.exec_autocommit(kPurgeJobs, {outbound_before}, OnLoss::kRetry));
    BERTH_TRY(pool.exec_autocommit(kPurgeOutbound, {outbound_before}, OnLoss::kRetry));
    BERTH_TRY(pool.exec_autocommit(kPurgeApprovals, {outbound_before}, OnLoss::kRetry));
    BERTH_TRY(pool.exec_autocommit(kPurgeRefusals, {inbound_before}, OnLoss::kRetry));
    return {};
}

Result<void> insert_buttons(
    store::Pool& pool,
    const std::string& card,
    const std::vector<std::pair<std::string, std::string>>& hash_and_action
) {
    std::vector<std::string> hashes;
    std::vector<std::string> actions;
    for (const auto& [hash, action] : hash_and_action) {
        hashes.push_back(hash);
        actions.push_back(action);
    }
    BERTH_TRY(pool.exec_autocommit(
        kInsertButtons, {card, Param::text_array(hashes), Param::text_array(actions)}
    ));
    return {};
}

Result<std::optional<ButtonRow>> find_button(store::Pool& pool, const std::string& hash) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kFindButton, {hash}, OnLoss::kRetry));
    if (rows.empty()) return std::optional<ButtonRow>{};
    const Row row = rows[0];
    return std::optional<ButtonRow>(
        {std::string(row.text(0)), std::string(row.text(1)), std::string(row.text(2))}
    );
}

Result<void> ask_comment(
    store::Transaction& tx,
    const std::string& conversation,
    const std::string& person,
    const std::string& hash,
    WallTime now
) {
    BERTH_TRY(tx.exec(kAskComment, {conversation, person, hash, now}));
    return {};
}

Result<std::optional<std::string>> open_question(
    store::Pool& pool, const std::string& conversation, const std::string& person, WallTime since
) {
    BERTH_ASSIGN(
        const Rows rows,
        pool.exec_autocommit(kOpenQuestion, {conversation, person, since}, OnLoss::kRetry)
    );
    if (rows.empty()) return std::optional<std::string>{};
    return std::optional<std::string>(rows[0].text(0));
}

Result<void> forget_question(
    store::Transaction& tx, const std::string& conversation, const std::string& person
) {
    BERTH_TRY(tx.exec(kForgetQuestion, {conversation, person}));
    return {};
}

Result<bool> may_refuse(
    store::Transaction& tx, const std::string& person, WallTime now, WallTime before
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kMayRefuse, {person, now, before}));
    return rows.affected() == 1;
}

}  // namespace repo
}  // namespace berth::chat
