// SPDX-License-Identifier: Apache-2.0
// What a bridge keeps: messages on their way in and out, buttons, and what cards follow. Every
// statement of libs/chat stands in store*.cpp.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "chat/platform.hpp"
#include "store/migrations.hpp"
#include "store/postgres.hpp"

namespace berth::chat {

std::span<const store::Migration> migrations();

/// One text for a conversation: what order is kept within.
std::string conversation_key(const Conversation& conversation);

/// A message that came in and is not done.
struct InboundRow {
    std::int64_t id = 0;
    std::string command_id;  ///< derived from the event's id: what its effects are derived from
    std::string conversation;
    WallTime received_at{};
    bool begun = false;  ///< it may have taken effect: it is carried out, however late
    Inbound inbound;
};

/// What a message is, which decides what becomes of it when it is not known whether it went out.
enum class OutboundKind {
    kReply,     ///< once more, where the platform cannot be asked
    kFile,      ///< likewise
    kRun,       ///< a card that follows a run; likewise
    kApproval,  ///< never again: a doubled card would be decided twice
};

/// A message on its way out, or one that went out and may change.
struct OutboundRow {
    std::int64_t id = 0;
    std::string key;
    OutboundKind kind = OutboundKind::kReply;
    std::string follows;  ///< "approval/<id>", "job/<id>" or empty
    std::int64_t revision = 1;
    std::string message;  ///< the platform's id, once posted
    int doubts = 0;       ///< how often it was not known whether it went out
    int attempts = 0;
    bool expired = false;
    WallTime expires_at{};
    WallTime edit_since{};  ///< since when it cannot be changed
    int edit_doubts = 0;    ///< how often it was not known whether the change was made
    std::string said;       ///< the platform's id of the message that a change was (Traits::edits)
    Outgoing outgoing;      ///< a card's buttons bear their action where the token will be
};

/// What a button does to what.
struct ButtonRow {
    std::string card;     ///< key of the message that bears it
    std::string action;   ///< "approve", "deny", "comment", "cancel"
    std::string follows;  ///< of that message
};

/// An approval as it was last heard of: berth.warden.v1.Approval.
struct ApprovalRow {
    std::string id;
    std::string org;
    std::string run;
    std::string body;
    std::int64_t revision = 0;
    bool ended = false;
};

/// A run that somebody in a chat asked for, from the machine it needs to its last line.
struct JobRow {
    /// kWaiting: for a lease; kStarting: the lease is there; kFollowing: it has a run; kFinishing:
    /// the run ended and its card does not say so yet.
    enum class State { kWaiting, kStarting, kFollowing, kFinishing, kDone };
    std::string id;
    std::string org;
    std::string card;  ///< key of the message that follows it
    Conversation conversation;
    State state = State::kWaiting;
    std::string actor;    ///< berth.common.v1.Actor
    std::string command;  ///< berth.run.v1.Start
    std::string profile;
    std::string label;  ///< of the lease to be acquired; empty: `lease` is given
    std::string lease;
    std::string slug;  ///< the lease's name for people
    std::string run;
    std::string body;  ///< berth.run.v1.Run as last heard of
    std::int64_t revision = 0;
    bool canceled = false;
    WallTime created_at{};
};

/// Stateless; the transaction's thread rules hold.
namespace repo {

// ---- Inbound
/// Stores what is not known; how many were new.
Result<std::int64_t> insert_inbound(
    store::Pool& pool, const std::string& token, const std::vector<Inbound>& events
);
/// The oldest of conversations that are not `busy`, by id.
Result<std::vector<InboundRow>> waiting_inbound(
    store::Pool& pool, const std::vector<std::string>& busy, int limit
);
/// Its first command may go out from now on.
Result<void> begin_inbound(store::Pool& pool, std::int64_t id);
/// False where it was done already.
Result<bool> finish_inbound(store::Transaction& tx, std::int64_t id);
Result<std::int64_t> count_waiting(store::Pool& pool);

/// Sink::last_heard, of what came after `since`.
Result<std::vector<LastHeard>> last_heard(store::Pool& pool, WallTime since, std::int64_t most);

/// What the platform wants to find again (Sink::remember).
Result<void> write_note(store::Pool& pool, const std::string& note);
Result<std::string> read_note(store::Pool& pool);

// ---- Outbound
/// A message with this key, or one that follows the same thing in the same conversation, is left as
/// it is; false then.
Result<bool> insert_outbound(store::Transaction& tx, const OutboundRow& row, WallTime now);
/// Marks the first pending message of each conversation as being sent, or as expired where its time
/// is over. Left out are conversations one of whose messages is being sent, and the chats `held`.
Result<std::vector<OutboundRow>> claim_outbound(
    store::Pool& pool, const std::vector<std::string>& held, std::size_t limit
);
/// Messages being sent by nobody: a crash came between.
Result<std::vector<OutboundRow>> doubtful_outbound(
    store::Pool& pool, const std::vector<std::int64_t>& under_way, int limit
);
/// Messages whose content is newer than what they show and whose change is due; those of approvals
/// first. `held` are chats that are left out, `low` chats where nothing but approvals is changed.
Result<std::vector<OutboundRow>> changed_outbound(
    store::Pool& pool,
    const std::vector<std::int64_t>& under_way,
    const std::vector<std::string>& held,
    const std::vector<std::string>& low,
    std::size_t limit
);
Result<void> mark_sent(
    store::Pool& pool, std::int64_t id, const std::string& message, std::int64_t shown
);
Result<void> mark_shown(
    store::Pool& pool, std::int64_t id, std::int64_t shown, const std::string& said = {}
);
Result<void> mark_shown(store::Transaction& tx, std::int64_t id, std::int64_t shown);
/// A change waits until `due`, and may have been made `doubts` times.
Result<void> mark_edit(store::Pool& pool, const OutboundRow& row, WallTime due, int doubts);
/// Back in line, not before `due`.
Result<void> mark_pending(store::Pool& pool, std::int64_t id, WallTime due, bool plain, int doubts);
Result<void> mark_failed(store::Transaction& tx, std::int64_t id, const std::string& reason);
/// The message that the platform knows as `message`, and those of the chat which are going out, so
/// that their ids are not known yet.
Result<std::vector<OutboundRow>> sent_or_going(
    store::Pool& pool, const std::string& message, const std::string& chat
);
/// A message that did not arrive goes out once more, otherwise; its last change alone where that is
/// `said`.
Result<void> mark_otherwise(store::Pool& pool, const OutboundRow& row, bool said, WallTime now);
/// The message that a change was did not arrive.
Result<void> forget_said(store::Transaction& tx, std::int64_t id);
/// The new content of every message that follows `follows`; those that were not posted yet are
/// dropped where `only_posted`.
Result<void> change_content(
    store::Transaction& tx, const std::string& follows, const Content& content, bool only_posted
);
/// The platform's id of a message, learned from a click on it.
Result<void> adopt_message(
    store::Transaction& tx, const std::string& key, const std::string& message
);
struct Backlog {
    std::int64_t rows = 0;
    milliseconds oldest{0};
};
Result<Backlog> backlog(store::Pool& pool);
/// Rows that nothing can refer to any more.
Result<void> purge(store::Pool& pool, WallTime inbound_before, WallTime outbound_before);

// ---- Buttons
Result<void> insert_buttons(
    store::Pool& pool,
    const std::string& card,
    const std::vector<std::pair<std::string, std::string>>& hash_and_action
);
Result<std::optional<ButtonRow>> find_button(store::Pool& pool, const std::string& hash);

// ---- Questions: a comment is asked for in the conversation
Result<void> ask_comment(
    store::Transaction& tx,
    const std::string& conversation,
    const std::string& person,
    const std::string& hash,
    WallTime now
);
/// The button whose comment this is, forgotten with it. Not older than `since`.
Result<std::optional<std::string>> open_question(
    store::Pool& pool, const std::string& conversation, const std::string& person, WallTime since
);
Result<void> forget_question(
    store::Transaction& tx, const std::string& conversation, const std::string& person
);

/// True where the person has not been refused since `before`; it is from now on.
Result<bool> may_refuse(
    store::Transaction& tx, const std::string& person, WallTime now, WallTime before
);

// ---- What cards follow (store_cards.cpp)
/// One after the other for one run: whoever follows it and whoever waits in it find each other.
Result<void> lock_run(store::Transaction& tx, const std::string& run);
/// False where a newer revision is known.
Result<bool> put_approval(store::Transaction& tx, const ApprovalRow& row, WallTime now);
Result<std::optional<ApprovalRow>> find_approval(store::Pool& pool, const std::string& id);
Result<std::vector<ApprovalRow>> waiting_approvals(store::Transaction& tx, const std::string& run);

Result<void> insert_job(store::Transaction& tx, const JobRow& job);
Result<void> update_job(store::Transaction& tx, const JobRow& job, WallTime due);
Result<std::optional<JobRow>> lock_job(store::Transaction& tx, const std::string& id);
Result<std::optional<JobRow>> find_job(store::Pool& pool, const std::string& id);
/// Those that want a look now and are not `under_way`.
Result<std::vector<JobRow>> due_jobs(
    store::Pool& pool, const std::vector<std::string>& under_way, WallTime now, int limit
);
/// Jobs that follow a run.
Result<std::vector<JobRow>> jobs_of_run(store::Transaction& tx, const std::string& run);
/// The conversation's jobs that have not ended, the newest first.
Result<std::vector<JobRow>> live_jobs(store::Pool& pool, const std::string& conversation);
/// A job that follows this run in this conversation.
Result<std::optional<JobRow>> job_here(
    store::Pool& pool, const std::string& run, const std::string& conversation
);
/// A run's newer state, told by an event; how many jobs it concerned.
Result<std::int64_t> hear_run(
    store::Transaction& tx,
    const std::string& run,
    const std::string& body,
    std::int64_t revision,
    bool ended,
    WallTime now
);

}  // namespace repo
}  // namespace berth::chat
