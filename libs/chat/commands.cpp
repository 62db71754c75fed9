// SPDX-License-Identifier: Apache-2.0
// The table.
#include "chat/commands.hpp"

#include <algorithm>
#include <array>

#include "chat/verbs.hpp"

namespace berth::chat {
namespace {

using Needs = Verb::Needs;

constexpr std::array<Verb, 15> kVerbs{{
    {"run",
     "[--profile NAME] [--lease LEASE] COMMAND...",
     "runs a command on this conversation's machine",
     Needs::kOperator,
     say_run},
    {"attach", "RUN", "follows a run of yours here", Needs::kViewer, say_attach},
    {"cancel",
     "[RUN]",
     "cancels a run; without a name this conversation's newest",
     Needs::kOperator,
     say_cancel},
    {"leases", "", "your machines", Needs::kViewer, say_leases},
    {"release",
     "[LEASE]",
     "gives a machine back; without a name this conversation's",
     Needs::kOperator,
     say_release},
    {"approvals", "", "what waits for a decision", Needs::kViewer, say_approvals},
    {"approve",
     "[APPROVAL] [COMMENT...]",
     "lets a held command run; the only one that waits, or by id",
     Needs::kViewer,
     say_approve},
    {"deny", "[APPROVAL] [COMMENT...]", "refuses a held command", Needs::kViewer, say_deny},
    {"halt",
     "[REASON...]",
     "stops every run of the org now, and lets none begin",
     Needs::kViewer,
     say_halt},
    {"resume",
     "[HALT]",
     "ends a halt; another person than who pressed it",
     Needs::kViewer,
     say_resume},
    {"status", "", "how Berth is", Needs::kViewer, say_status},
    {"history", "[COUNT]", "your last runs", Needs::kViewer, say_history},
    {"whoami", "", "who you are here", Needs::kViewer, say_whoami},
    {"help", "[COMMAND]", "these commands, or one of them", Needs::kNobody, say_help},
    {"pair",
     "CODE",
     "links you to your user; `berth chat pair` gives the code",
     Needs::kNobody,
     say_pair},
}};

bool has(const std::vector<std::string>& roles, std::string_view role) {
    return std::find(roles.begin(), roles.end(), role) != roles.end();
}

}  // namespace

std::span<const Verb> verbs() { return kVerbs; }

const Verb* find_verb(std::string_view name) {
    const auto at = std::find_if(kVerbs.begin(), kVerbs.end(), [&](const Verb& verb) {
        return verb.name == name;
    });
    return at == kVerbs.end() ? nullptr : &*at;
}

std::string usage_of(const Verb& verb, std::string_view prefix) {
    std::string out = "`" + std::string(prefix) + std::string(verb.name);
    if (!verb.usage.empty()) out += " " + std::string(verb.usage);
    return out + "`: " + std::string(verb.summary);
}

std::string help(std::string_view prefix) {
    std::string out = "**Berth** runs commands on machines it leases for you.\n\n";
    for (const Verb& verb : kVerbs) out += "- " + usage_of(verb, prefix) + "\n";
    return out;
}

bool may(const std::vector<std::string>& roles, Verb::Needs needs) {
    const bool operates = has(roles, "operator") || has(roles, "admin");
    switch (needs) {
        case Needs::kNobody: return true;
        case Needs::kViewer: return operates || has(roles, "viewer") || has(roles, "approver");
        default: return operates;
    }
}

Answer say(std::string markdown, bool only_for) {
    Answer out;
    out.content.markdown = std::move(markdown);
    out.only_for = only_for;
    return out;
}

Error bad_usage(std::string why) { return invalid("usage", std::move(why)); }

std::string code(std::string_view text) {
    // A code span cannot hold its own fence or a line's end; what is left is literal.
    std::string out = "`";
    for (const char c : text) out += c == '`' ? '\'' : c == '\n' || c == '\r' ? ' ' : c;
    return out.size() == 1 ? "``" : out + "`";
}

}  // namespace berth::chat
