// SPDX-License-Identifier: Apache-2.0
// From what was said to what is done and answered.
#include "chat/desk.hpp"

#include <algorithm>
#include <map>

#include "chat/approvals.hpp"
#include "chat/length.hpp"
#include "chat/markdown.hpp"
#include "chat/verbs.hpp"
#include "chat/words.hpp"
#include "core/text.hpp"
#include "identity/sha256.hpp"
#include "log/log.hpp"
#include "service/request.hpp"

namespace berth::chat {
namespace {

constexpr milliseconds kInboundPoll{1'000};
constexpr milliseconds kOutageWait{500};
constexpr int kAtOnce = 512;
constexpr std::chrono::minutes kQuestionOpen{10};
constexpr std::size_t kMaxComment = 2'000;  // warden's own limit

std::string hash_of(const std::string& token) { return hex(identity::sha256(token)); }

/// What a person says must not call anybody, whoever repeats it.
std::string without_calls(std::string text) {
    static constexpr std::string_view kBreak = "\u200b";
    for (const std::string_view word : {"@everyone", "@here", "@channel", "@all"}) {
        for (auto at = text.find(word); at != std::string::npos;
             at = text.find(word, at + kBreak.size() + 1))
            text.insert(at + 1, kBreak);
    }
    for (auto at = text.find("<!"); at != std::string::npos;
         at = text.find("<!", at + kBreak.size() + 1))
        text.insert(at + 1, kBreak);
    return text;
}

/// Words that are a command where others could be meant, too: nothing follows the verb, or what
/// nobody would say in a sentence.
bool is_surely(const Verb& verb, const std::string& rest) {
    const FirstWord next = first_word(rest);
    if (next.word.empty() || is_id(name_of(next.word))) return true;
    if (!next.rest.empty()) return false;
    const bool number = next.word.find_first_not_of("0123456789") == std::string::npos;
    return (verb.name == "history" && number) ||
           (verb.name == "help" && find_verb(next.word) != nullptr);
}

/// Words that no command begins with, and that may be meant as one all the same: a reason is not to
/// be undone.
bool is_perhaps_command(const Command& said) {
    const std::string bare = name_of(first_word(said.text).word);
    if (find_verb(bare) != nullptr || command_in(bare).called) return true;
    const auto names = names_in(said.text);
    return std::any_of(names.begin(), names.end(), [](const std::string& name) {
        return name == "@berth" || name == "approve" || is_id(name, kApprovalId);
    });
}

/// False where it is over, and for whom warden refuses whatever they say: nobody is asked why for
/// nothing.
bool may_perhaps_decide(const ApprovalRow& row, const common::v1::Actor& actor) {
    warden::v1::Approval approval;
    return !row.ended && service::may_decide(actor) &&
           !(approval.ParseFromString(row.body) && approval.origin().user() == actor.user());
}

Answer told(const Error& error) {
    return say(error.message.empty() ? error.code : error.message, true);
}

}  // namespace

Desk::Desk(Parts& parts, People& people, Refusals& refusals, const Traits& traits)
    : parts_(parts),
      people_(people),
      refusals_(refusals),
      traits_(traits),
      crew_([this](const Batch& batch) { work(batch); }) {}

void Desk::start() {
    crew_.start(kWorkers, parts_.inbound, [this] {
        choose();
        return kInboundPoll;
    });
}

void Desk::stop() { crew_.stop(); }

void Desk::choose() {
    std::vector<std::string> busy;
    {
        const std::lock_guard lock(mutex_);
        busy.assign(busy_.begin(), busy_.end());
    }
    auto rows = repo::waiting_inbound(parts_.pool(), busy, kAtOnce);
    if (!rows) return;
    std::map<std::string, Batch> batches;
    for (auto& row : *rows) {
        Batch& batch = batches[row.conversation];
        batch.push_back(std::move(row));
    }
    for (auto& [conversation, batch] : batches) {
        {
            const std::lock_guard lock(mutex_);
            busy_.insert(conversation);
        }
        (void)crew_.give(std::move(batch));
    }
}

void Desk::work(const Batch& batch) {
    if (crew_.stopping()) return;
    for (const auto& row : batch) {
        if (!take(row)) break;
    }
    {
        const std::lock_guard lock(mutex_);
        busy_.erase(batch.front().conversation);
    }
    parts_.inbound.ring();
}

bool Desk::take(const InboundRow& row) {
    Answer answer;
    auto speaker = people_.who(row.inbound);
    Result<Answer> done = speaker ? carry_out(row, *speaker) : Result<Answer>(speaker.error());
    if (done) {
        answer = std::move(*done);
    } else if (!is_outage(done.error())) {
        answer = told(done.error());
    } else if (parts_.now() - row.received_at > kGiveUp) {
        answer = say("Berth could not do that: it is not reachable. Say it again later.", true);
    } else {
        log::info("a message waits until the outage ends", {{"error", done.error()}});
        (void)crew_.rest(kOutageWait);
        return false;
    }
    auto stored = store(row, answer);
    if (!stored) {
        log::warning("an answer cannot be stored", {{"error", stored.error()}});
        (void)crew_.rest(kOutageWait);
        return false;
    }
    if (*stored) {
        parts_.metrics.handled.add();
        parts_.metrics.reply_seconds.observe(
            std::chrono::duration<double>(parts_.now() - row.received_at)
        );
        parts_.outbound.ring();
        parts_.jobs.ring();
    }
    return true;
}

Result<Answer> Desk::carry_out(const InboundRow& row, const Speaker& speaker) {
    const Inbound& said = row.inbound;
    if (speaker.standing == Speaker::Standing::kElsewhere) {
        parts_.metrics.ignored.add();
        log::info(
            "something was said in a chat that is not in the settings",
            {{"chat", said.conversation.chat}}
        );
        Answer unsaid;
        unsaid.store = [this, &row](store::Transaction& tx) {
            return refusals_.person(tx, row, {}, "a chat that is not in the settings");
        };
        return unsaid;
    }
    if (speaker.standing == Speaker::Standing::kStranger) return refusal(row, speaker);
    if (said.kind == InboundKind::kClick) {
        if (speaker.standing != Speaker::Standing::kKnown) return refusal(row, speaker);
        return click(
            row, speaker, hash_of(said.token), said.comment, traits_.modals || !said.comment.empty()
        );
    }
    if (said.kind == InboundKind::kMessage && speaker.standing == Speaker::Standing::kKnown &&
        !is_late(row, kQuestionOpen)) {
        BERTH_ASSIGN(
            const auto asked,
            repo::open_question(
                parts_.pool(), row.conversation, said.person.id, row.received_at - kQuestionOpen
            )
        );
        if (asked) return reason(row, speaker, *asked);
    }
    return command(row, speaker, command_in(said.text).text);
}

/// Whoever is asked why answers with the next message: with the reason, or with a command after
/// all. Where it could be either nothing is done, and either can be said so that it is plain.
Result<Answer> Desk::reason(
    const InboundRow& row, const Speaker& speaker, const std::string& hash
) {
    const std::string& text = row.inbound.text;
    const Command said = command_in(text);
    const FirstWord first = first_word(said.text);
    const Verb* verb = find_verb(first.word);
    BERTH_ASSIGN(const auto button, repo::find_button(parts_.pool(), hash));
    const std::string follows = button ? button->follows : std::string();
    const std::string approval = follows.substr(follows.find('/') + 1);
    Result<Answer> answer = Answer{};
    if (said.called || (verb != nullptr && is_surely(*verb, first.rest))) {
        answer = command(row, speaker, said.text);
        if (!answer && is_outage(answer.error())) return answer;
        if (!answer) answer = told(answer.error());
        if (!is_over(approval, speaker)) {
            if (!answer->content.is_card && !answer->content.markdown.empty())
                answer->content.markdown +=
                    "\n\nWhy you deny is still asked for: say it in your next message here.";
            return answer;
        }
    } else if (is_perhaps_command(said)) {
        answer =
            say("That may be a command or why you deny, so nothing was done. As a command say it "
                "again; to deny with it say " +
                    code(traits_.command_prefix + "deny " + approval + " WHY") + ".",
                true);
    } else {
        if (!row.begun) BERTH_TRY(repo::begin_inbound(parts_.pool(), row.id));
        answer = click(row, speaker, hash, text, true);
        if (!answer && is_outage(answer.error())) return answer;
        if (!answer)
            answer =
                say(answer.error().message +
                        ". Nothing was done with what you said, and no reason "
                        "is asked for any more.",
                    true);
    }
    answer->store = [inner = std::move(answer->store),
                     &row](store::Transaction& tx) -> Result<void> {
        BERTH_TRY(repo::forget_question(tx, row.conversation, row.inbound.person.id));
        return inner ? inner(tx) : Result<void>{};
    };
    return answer;
}

/// By warden's word: the event that tells the same may still be on its way.
bool Desk::is_over(const std::string& approval, const Speaker& speaker) {
    warden::v1::GetApproval query;
    *query.mutable_actor() = speaker.actor;
    query.set_approval(approval);
    const auto newest = ask<warden::v1::Approval>(parts_, "berth.qry.warden.approval", query, {});
    return newest && newest->state() != warden::v1::APPROVAL_STATE_PENDING;
}

bool Desk::is_late(const InboundRow& row, milliseconds limit) const {
    return !row.begun && parts_.now() - said_at(row) > limit;
}

Result<Answer> Desk::command(
    const InboundRow& row, const Speaker& speaker, const std::string& text
) {
    const FirstWord first = first_word(text);
    const Verb* verb = find_verb(first.word.empty() ? "help" : first.word);
    if (speaker.standing != Speaker::Standing::kKnown &&
        (verb == nullptr || verb->needs != Verb::Needs::kNobody))
        return refusal(row, speaker);
    if (verb == nullptr) {
        return say(
            "There is no command " + code(without_calls(clipped(first.word, 64))) + ". " +
                usage_of(*find_verb("help"), traits_.command_prefix),
            true
        );
    }
    auto answer = carry_out(row, speaker, *verb, first.rest);
    if (!answer && answer.error().code == "usage")
        answer =
            say(answer.error().message + ". Usage: " + usage_of(*verb, traits_.command_prefix),
                true);
    if (speaker.standing == Speaker::Standing::kKnown || (!answer && is_outage(answer.error())) ||
        (answer && answer->links))
        return answer;
    return hourly(
        row,
        speaker,
        std::string(verb->name) + "/" + row.inbound.person.id,
        answer ? answer->content.markdown : answer.error().message
    );
}

Result<Answer> Desk::carry_out(
    const InboundRow& row, const Speaker& speaker, const Verb& verb, const std::string& rest
) {
    Result<std::vector<std::string>> words = std::vector<std::string>{};
    if (verb.takes != Verb::Takes::kText) words = split_words(rest);
    if (!words) return bad_usage(words.error().message);
    if (verb.takes == Verb::Takes::kNothing && !words->empty())
        return bad_usage(code(verb.name) + " takes nothing behind it");
    if (verb.takes == Verb::Takes::kWord && words->size() > 1)
        return bad_usage(code(verb.name) + " takes one word");
    const std::vector<std::string> roles(
        speaker.actor.roles().begin(), speaker.actor.roles().end()
    );
    if (!may(roles, verb.needs))
        return say(
            code(verb.name) +
                " needs the role operator, which you do not have. An admin of your org gives it.",
            true
        );
    if (verb.good_for.count() > 0 && !row.begun) {
        if (is_late(row, verb.good_for))
            return say(
                "You said " + code(verb.name) + " at " + spoken(said_at(row)) +
                    ", too long ago: nothing was done. Say it again if it is still meant.",
                true
            );
        BERTH_TRY(repo::begin_inbound(parts_.pool(), row.id));
    }
    Call call{parts_, people_, row, speaker, std::move(*words), rest, traits_.command_prefix};
    return verb.handler(call);
}

/// What a button means stands in the database; its text proves only who was shown it.
Result<Answer> Desk::click(
    const InboundRow& row,
    const Speaker& speaker,
    const std::string& hash,
    const std::string& comment,
    bool commented
) {
    BERTH_ASSIGN(const auto button, repo::find_button(parts_.pool(), hash));
    if (!button) return say("That button is no longer good.", true);
    const auto slash = button->follows.find('/');
    const std::string subject = button->follows.substr(slash + 1);
    Call call{parts_, people_, row, speaker, {}, {}, traits_.command_prefix};
    Result<Answer> answer = Answer{};
    bool asks = button->action == kDenyWithComment && !commented;
    if (asks) {
        BERTH_ASSIGN(const auto approval, repo::find_approval(parts_.pool(), subject));
        asks = !approval || may_perhaps_decide(*approval, speaker.actor);
    }
    if (asks) {
        // In a group a bot may hear nothing but what answers it (Telegram).
        answer =
            say(row.inbound.direct ? "Say why in your next message here."
                                   : "Say why: your next message here, in answer to this card.",
                true);
        answer->store = [&row, hash, now = parts_.now()](store::Transaction& tx) {
            return repo::ask_comment(tx, row.conversation, row.inbound.person.id, hash, now);
        };
    } else if (button->action == kCancel) {
        const std::vector<std::string> roles(
            speaker.actor.roles().begin(), speaker.actor.roles().end()
        );
        if (!may(roles, Verb::Needs::kOperator))
            return say("Canceling needs the role operator.", true);
        answer = cancel_job(call, subject);
    } else {
        Decision decision;
        decision.approval = subject;
        decision.approve = button->action == kApprove;
        decision.comment = comment.substr(0, fitting(comment, kMaxComment / 4, Unit::kCodePoints));
        // The same for each click of one person on one button: the answer of a repeated one is the
        // first one's.
        answer = decide(
            call,
            decision,
            service::child_command_id(
                "click/" + hash,
                speaker.actor.org() + "/" + speaker.actor.user() + "/" + decision.comment
            )
        );
    }
    if (!answer || row.inbound.kind != InboundKind::kClick || row.inbound.message.empty())
        return answer;
    // Of a card that may have gone out before a crash: now it is known that it did, and where.
    answer->store = [inner = std::move(answer->store),
                     card = button->card,
                     &row](store::Transaction& tx) -> Result<void> {
        BERTH_TRY(repo::adopt_message(tx, card, row.inbound.message));
        return inner ? inner(tx) : Result<void>{};
    };
    return answer;
}

Answer Desk::refusal(const InboundRow& row, const Speaker& speaker) {
    parts_.metrics.refused.add();
    const std::string words =
        speaker.standing == Speaker::Standing::kStranger
            ? "You may not use Berth here. Ask whoever runs it to put " +
                  code(row.inbound.person.id) + " on the list of people."
        : speaker.standing == Speaker::Standing::kDisabled
            ? "Your user of Berth is disabled. An admin of your org can enable it."
            : "You are not linked to a user of Berth. Run `berth chat pair` on your computer, and "
              "say " +
                  code(traits_.command_prefix + "pair CODE") + " here.";
    return hourly(row, speaker, row.inbound.person.id, words);
}

/// For the person alone: who floods the bridge does not flood the chat.
Answer Desk::hourly(
    const InboundRow& row, const Speaker& speaker, const std::string& what, const std::string& words
) {
    const char* reason =
        speaker.standing == Speaker::Standing::kStranger   ? "not on the list of people"
        : speaker.standing == Speaker::Standing::kDisabled ? "linked to a user who is disabled"
                                                           : "not linked to a user";
    Answer answer;
    answer.store = [this, &row, what, words, reason, org = speaker.org->org](store::Transaction& tx
                   ) -> Result<void> {
        BERTH_TRY(refusals_.person(tx, row, org, reason));
        const WallTime now = parts_.now();
        BERTH_ASSIGN(const bool allowed, repo::may_refuse(tx, what, now, now - kRefusalEvery));
        if (!allowed) return {};
        Content content;
        content.markdown = words;
        for (const auto& reply : replies(row, content, true))
            BERTH_TRY(repo::insert_outbound(tx, reply, now));
        return {};
    };
    return answer;
}

std::vector<OutboundRow> Desk::replies(
    const InboundRow& row, const Content& content, bool only_for
) {
    std::vector<OutboundRow> out;
    std::vector<std::string> pieces{content.markdown};
    if (!content.is_card && content.file_name.empty())
        pieces = split_markdown(
            content.markdown,
            std::max(traits_.max_text, kMinChunk),
            traits_.counts_utf16 ? Unit::kUtf16 : Unit::kCodePoints
        );
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        OutboundRow reply;
        reply.key = service::child_command_id(row.command_id, "reply/" + std::to_string(i));
        reply.outgoing.conversation = row.inbound.conversation;
        reply.outgoing.content = content;
        reply.outgoing.content.markdown = without_calls(pieces[i]);
        // A conversation of two needs no whisper.
        if (only_for && !row.inbound.direct) reply.outgoing.only_for = row.inbound.person.id;
        reply.outgoing.handle = row.inbound.handle;
        reply.expires_at = parts_.now() + kReplyTtl;
        out.push_back(std::move(reply));
    }
    return out;
}

Result<bool> Desk::store(const InboundRow& row, const Answer& answer) {
    const Content& content = answer.content;
    const bool speaks = content.is_card || !content.markdown.empty() || !content.file_name.empty();
    const auto messages =
        speaks ? replies(row, content, answer.only_for) : std::vector<OutboundRow>{};
    return parts_.pool().transact([&](store::Transaction& tx) -> Result<bool> {
        BERTH_ASSIGN(const bool first, repo::finish_inbound(tx, row.id));
        if (!first) return false;
        const WallTime now = parts_.now();
        for (const auto& message : messages) BERTH_TRY(repo::insert_outbound(tx, message, now));
        if (answer.store) BERTH_TRY(answer.store(tx));
        return true;
    });
}

}  // namespace berth::chat
