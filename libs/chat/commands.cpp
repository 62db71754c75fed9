// SPDX-License-Identifier: Apache-2.0
// The table.
#include "chat/commands.hpp"

#include <algorithm>
#include <array>

#include "chat/fence.hpp"
#include "chat/verbs.hpp"
#include "core/text.hpp"

namespace berth::chat {
namespace {

using Needs = Verb::Needs;

using Takes = Verb::Takes;

/// Of what changes something.
constexpr std::chrono::minutes kActs{10};
/// A halt is better late than never, but not days after.
constexpr std::chrono::minutes kHalts{60};

constexpr std::array<Verb, 15> kVerbs{{
    {"run",
     "[--profile NAME] [--lease LEASE] COMMAND...",
     "runs a command on this conversation's machine",
     Needs::kOperator,
     say_run,
     Takes::kWords,
     kActs},
    {"attach", "RUN", "follows a run of yours here", Needs::kViewer, say_attach, Takes::kWord},
    {"cancel",
     "[RUN]",
     "cancels a run; without a name your newest in this conversation",
     Needs::kOperator,
     say_cancel,
     Takes::kWord,
     kActs},
    {"leases", "", "your machines", Needs::kViewer, say_leases},
    {"release",
     "[LEASE]",
     "gives a machine back; without a name this conversation's",
     Needs::kOperator,
     say_release,
     Takes::kWord,
     kActs},
    {"approvals", "", "what waits for a decision", Needs::kViewer, say_approvals},
    {"approve",
     "[APPROVAL [COMMENT...]]",
     "lets a held command run; without an id the only one that waits",
     Needs::kViewer,
     say_approve,
     Takes::kText,
     kActs},
    {"deny",
     "[APPROVAL [COMMENT...]]",
     "refuses a held command; without an id the only one that waits",
     Needs::kViewer,
     say_deny,
     Takes::kText,
     kActs},
    {"halt",
     "[REASON...]",
     "stops every run of the org now, and lets none begin",
     Needs::kViewer,
     say_halt,
     Takes::kText,
     kHalts},
    {"resume",
     "[HALT]",
     "ends a halt; another person than who pressed it",
     Needs::kViewer,
     say_resume,
     Takes::kWord,
     kActs},
    {"status", "", "how Berth is", Needs::kViewer, say_status},
    {"history", "[COUNT]", "your last runs", Needs::kViewer, say_history, Takes::kWord},
    {"whoami", "", "who you are here", Needs::kViewer, say_whoami},
    {"help", "[COMMAND]", "these commands, or one of them", Needs::kNobody, say_help, Takes::kWord},
    {"pair",
     "CODE",
     "links you to your user; `berth chat pair` gives the code",
     Needs::kNobody,
     say_pair,
     Takes::kWord},
}};

constexpr std::size_t kMostTicks = 30;  // markdown.hpp reads a fence of one more
constexpr std::string_view kLineEnd = "\u23ce";

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
    // A fence of more back-ticks than are in it; a line's end cannot stand in it, and is shown.
    std::size_t longest = 0;
    std::size_t run = 0;
    std::string inside;
    for (const char c : text) {
        run = c == '`' ? run + 1 : 0;
        if (run > kMostTicks) {
            inside += '\'';
            run = 0;
        } else if (c == '\n') {
            inside += kLineEnd;
        } else if (c != '\r') {
            inside += c;
        }
        longest = std::max(longest, run);
    }
    if (inside.empty()) return "``";
    const bool ticked = inside.front() == '`' || inside.back() == '`';
    const bool blank = inside.front() == ' ' && inside.back() == ' ' &&
                       inside.find_first_not_of(' ') != std::string::npos;
    if (ticked || blank) inside = " " + inside + " ";
    const std::string fence(longest + 1, '`');
    return fence + inside + fence;
}

std::string code_block(std::string_view text) {
    for (const char mark : {'`', '~'}) {
        Fence fence;
        fence.mark = mark;
        for (fence.count = 3; fence.count <= Fence::kMaxCount; ++fence.count) {
            const auto lines = split(text, '\n');
            if (std::any_of(lines.begin(), lines.end(), [&](std::string_view line) {
                    return closes(line, fence);
                }))
                continue;
            const std::string line(fence.count, mark);
            return line + "\n" + std::string(text) + "\n" + line + "\n";
        }
    }
    return code(text) + "\n";
}

}  // namespace berth::chat
