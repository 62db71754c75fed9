// SPDX-License-Identifier: Apache-2.0
// The handlers of the table, by file. Private to libs/chat.
#pragma once

#include "berth/lease/v1/lease.pb.h"
#include "chat/commands.hpp"
#include "chat/parts.hpp"
#include "chat/people.hpp"
#include "chat/store.hpp"
#include "service/handlers.hpp"

namespace berth::chat {

// verbs_runs.cpp
Result<Answer> say_run(Call& call);
Result<Answer> say_attach(Call& call);
Result<Answer> say_cancel(Call& call);
Result<Answer> say_leases(Call& call);
Result<Answer> say_release(Call& call);
Result<Answer> say_history(Call& call);

// verbs_warden.cpp
Result<Answer> say_approvals(Call& call);
Result<Answer> say_approve(Call& call);
Result<Answer> say_deny(Call& call);
Result<Answer> say_halt(Call& call);
Result<Answer> say_resume(Call& call);
Result<Answer> say_status(Call& call);

// verbs_people.cpp
Result<Answer> say_whoami(Call& call);
Result<Answer> say_pair(Call& call);
Result<Answer> say_help(Call& call);

/// An answer of Markdown.
Answer say(std::string markdown, bool only_for = false);
/// The error that is answered with the verb's usage.
Error bad_usage(std::string why);
/// Text of others inside of Markdown: `code`, whatever it holds.
std::string code(std::string_view text);
/// The same of several lines: a block, with its last line's end.
std::string code_block(std::string_view text);
/// When the words were said; when they came where the platform does not tell.
inline WallTime said_at(const InboundRow& row) {
    return row.inbound.at == WallTime{} ? row.received_at : row.inbound.at;
}
/// Asks `question` as who speaks.
template <typename Reply, typename Message>
Result<Reply> ask_as_speaker(Call& call, const std::string& subject, Message question) {
    *question.mutable_actor() = call.speaker.actor;
    return ask<Reply>(call.parts, subject, question, {});
}
/// The same of a command. Its id is made of the message's and of the subject's verb: a message that
/// is handled again has no second effect.
template <typename Reply, typename Message>
Result<Reply> command_as_speaker(Call& call, const std::string& subject, Message command) {
    *command.mutable_actor() = call.speaker.actor;
    const std::string verb = subject.substr(subject.rfind('.') + 1);
    return ask<Reply>(
        call.parts, subject, command, service::child_command_id(call.row.command_id, verb)
    );
}
Result<lease::v1::ListReply> list_leases(Call& call);
/// Cancels what a card follows, also while it has no run yet.
Result<Answer> cancel_job(Call& call, const std::string& id);
/// What stands behind a token: decides an approval as the speaker. `purpose` makes the command's id
/// from the message's, or from the button's.
struct Decision {
    std::string approval;
    bool approve = false;
    std::string comment;
};
Result<Answer> decide(Call& call, const Decision& decision, const std::string& command_id);

}  // namespace berth::chat
