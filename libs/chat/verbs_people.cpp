// SPDX-License-Identifier: Apache-2.0
// Who somebody is, and what can be said.
#include "chat/parts.hpp"
#include "chat/people.hpp"
#include "chat/store.hpp"
#include "chat/verbs.hpp"
#include "chat/words.hpp"

namespace berth::chat {

Result<Answer> say_whoami(Call& call) {
    const common::v1::Actor& actor = call.speaker.actor;
    std::string roles;
    for (const auto& role : actor.roles()) roles += (roles.empty() ? "" : ", ") + role;
    return say(
        "You are " + code(actor.user()) + " of " + code(actor.org()) + " (" + roles +
            "), known here as " + code(call.row.inbound.person.id) + ".",
        true
    );
}

Result<Answer> say_pair(Call& call) {
    if (call.words.empty()) return bad_usage("pair takes the code that `berth chat pair` gave you");
    BERTH_ASSIGN(
        const auto actor,
        call.people.pair(call.row.inbound, call.speaker, call.words[0], call.row.command_id)
    );
    Answer answer =
        say("You are linked: here you are " + code(actor.user()) + " of " + code(actor.org()) + ".",
            true);
    answer.links = true;
    return answer;
}

Result<Answer> say_help(Call& call) {
    const std::string& prefix = call.prefix;
    if (call.words.empty()) return say(help(prefix), true);
    const Verb* verb = find_verb(first_word(call.words[0]).word);
    if (verb == nullptr) return say(help(prefix), true);
    return say(usage_of(*verb, prefix), true);
}

}  // namespace berth::chat
