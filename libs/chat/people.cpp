// SPDX-License-Identifier: Apache-2.0
// The gateway knows who is linked to whom; asked anew each second at most.
#include "chat/people.hpp"

#include "berth/gateway/v1/chat.pb.h"

namespace berth::chat {
namespace {

constexpr std::size_t kMaxKnown = 10'000;

}  // namespace

Result<Speaker> People::look_up(const OrgSettings& org, const std::string& person) {
    const auto key = std::pair(org.org, person);
    const SteadyTime now = std::chrono::steady_clock::now();
    {
        const std::lock_guard lock(mutex_);
        const auto known = known_.find(key);
        if (known != known_.end() && known->second.first > now) return known->second.second;
    }
    gateway::v1::PersonAsked question;
    question.set_org(org.org);
    question.set_platform(parts_.token());
    question.set_person_id(person);
    BERTH_ASSIGN(
        const auto reply,
        ask<gateway::v1::PersonReply>(parts_, "berth.qry.gateway.person", question, {})
    );
    Speaker out;
    out.org = &org;
    out.standing = reply.disabled() ? Speaker::Standing::kDisabled : Speaker::Standing::kUnlinked;
    if (reply.known() && reply.actor().org() == org.org) {
        out.standing = Speaker::Standing::kKnown;
        out.actor = reply.actor();
    }
    const std::lock_guard lock(mutex_);
    if (known_.size() >= kMaxKnown) known_.clear();
    known_[key] = {now + kPersonFor, out};
    return out;
}

Result<Speaker> People::who(const Inbound& inbound) {
    Speaker out;
    if (!inbound.direct) {
        const OrgSettings* org = parts_.settings.of_chat(inbound.conversation.chat);
        if (org == nullptr) return out;
        if (may_speak(*org, inbound.person.id)) return look_up(*org, inbound.person.id);
        out.standing = Speaker::Standing::kStranger;
        out.org = org;
        return out;
    }
    // A private chat is the person's own: the first org that knows them, or would have them.
    for (const auto& org : parts_.settings.orgs) {
        if (!may_speak(org, inbound.person.id)) {
            if (out.org == nullptr) {
                out.org = &org;
                out.standing = Speaker::Standing::kStranger;
            }
            continue;
        }
        BERTH_ASSIGN(Speaker found, look_up(org, inbound.person.id));
        if (found.standing == Speaker::Standing::kKnown) return found;
        if (out.standing != Speaker::Standing::kUnlinked ||
            found.standing == Speaker::Standing::kDisabled)
            out = std::move(found);
    }
    return out;
}

Result<common::v1::Actor> People::pair(
    const Inbound& inbound,
    const Speaker& speaker,
    const std::string& code,
    const std::string& command_id
) {
    std::optional<Error> refusal;
    for (const auto& org : parts_.settings.orgs) {
        // In a chat its org; in private every org that would have the person.
        if (inbound.direct ? !may_speak(org, inbound.person.id) : &org != speaker.org) continue;
        gateway::v1::LinkPerson command;
        command.set_org(org.org);
        command.set_platform(parts_.token());
        command.set_person_id(inbound.person.id);
        command.set_person_name(inbound.person.name);
        command.set_code(code);
        auto reply = ask<gateway::v1::PersonReply>(
            parts_,
            "berth.cmd.gateway.link_person",
            command,
            service::child_command_id(command_id, "pair/" + org.org)
        );
        if (reply) {
            const std::lock_guard lock(mutex_);
            known_.erase({org.org, inbound.person.id});
            return reply->actor();
        }
        if (is_outage(reply.error())) return reply.error();
        refusal = reply.error();
    }
    return refusal.value_or(forbidden("stranger", "you may not be linked here"));
}

}  // namespace berth::chat
