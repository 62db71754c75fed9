// SPDX-License-Identifier: Apache-2.0
// The handlers of the table, by file. Private to libs/chat.
#pragma once

#include "chat/commands.hpp"

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
