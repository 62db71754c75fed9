// SPDX-License-Identifier: Apache-2.0
// The part of the table of commands about what people decide: approvals, grants, halts, the audit.
#include "cli/args.hpp"
#include "cli/commands.hpp"

namespace berth::cli {
namespace {

constexpr std::size_t kMostArguments =
    100000;  // of an edited command; the kernel's own limit is below it

Flag comment_flag() { return {"comment", "text", "Goes back to whoever asked", 'm'}; }

}  // namespace

std::vector<Command> guard_group() {
    return {
        {"approvals",
         "[<approval>]",
         "Show commands that wait for a person, or one in full",
         "Those pending; with --all the decided ones too. For approvers the org's, else your own.\n"
         "With --watch each change is printed as it comes, until Ctrl-C.",
         {{"all", "", "Those that are decided too", 'a'},
          {"state", "state", "Only these: pending, approved, denied, expired, revoked, abandoned"},
          {"limit", "number", "At most this many, 1 to 100 (default 50)"},
          {"cursor", "text", "Continue where the last page ended"},
          {"watch", "", "Follow every change", 'w'}},
         0,
         1,
         false,
         &run_approvals,
         "decide"},
        {"approve",
         "<approval> [-- <argument>...]",
         "Let a waiting command run, once or for longer",
         "The first decision stands; a later one is told who decided. Nobody approves what he "
         "asked for.\n"
         "What follows '--' is run instead of what was asked: the same program with these "
         "arguments.\n"
         "With --session, --times or --until the same command needs no approval for that long; "
         "with\n"
         "--pattern, once for each argument, so do all that match it.",
         {comment_flag(),
          {"session", "", "Also allow it until the lease ends"},
          {"times", "number", "Also allow it this many times"},
          {"until", "time", "Also allow it until then: 2h, or 2026-01-31T09:00:00Z"},
          {"pattern", "pattern", "Of an argument, with * and ?; once for each", '\0', true},
          {"revision", "number", "Only if it is still as it was shown"}},
         1,
         kMostArguments,
         false,
         &run_approve},
        {"deny",
         "<approval>",
         "Refuse a waiting command",
         "It ends with 126, and the comment as its reason.",
         {comment_flag(), {"revision", "number", "Only if it is still as it was shown"}},
         1,
         1,
         false,
         &run_deny},
        {"grants",
         "",
         "Show approvals that are remembered, or take one back",
         "For approvers the org's, else your own.",
         {{"all", "", "Those that have ended too", 'a'},
          {"limit", "number", "At most this many, 1 to 100 (default 50)"},
          {"cursor", "text", "Continue where the last page ended"},
          {"revoke", "grant", "Take this one back"}},
         0,
         0,
         false,
         &run_grants},
        {"halt",
         "",
         "Stop everything at once: freeze, end, refuse",
         "Of the whole org, or of one owner, agent or machine. What runs is frozen and ended, what "
         "waits\n"
         "is revoked, what was remembered is void, and nothing new starts until somebody else "
         "resumes\n"
         "it ('berth resume <halt>'). Lists the machines that have not confirmed; exits with 1 "
         "then,\n"
         "and where nothing of that owner or agent ran. A machine that is not known is refused.\n"
         "For approvers and admins.",
         {{"owner", "user", "Only what this user runs"},
          {"agent", "agent", "Only what this agent runs"},
          {"machine", "machine", "Only this machine, by its id or the lease that holds it"},
          {"reason", "text", "Why, in one line", 'm'},
          {"wait", "duration", "Wait that long for every machine to confirm (default 5s)", 'w'},
          {"list", "", "Show the halts in force instead", 'l'},
          {"all", "", "With --list: the ended ones too", 'a'}},
         0,
         0,
         false,
         &run_halt},
        {"audit",
         "query|verify|export",
         "Read who did what, check that nothing was changed, or take all of it along",
         "'verify' checks the whole chain and names the first record that is missing or not as it "
         "was\n"
         "written; it exits with 1 then. 'export' prints one JSON object a line, oldest first.\n"
         "For approvers and admins.",
         {{"user", "user", "query: of this user"},
          {"run", "run", "query: of this run"},
          {"fact", "fact", "query: such as exec_denied, approval_decided, halted"},
          {"since", "time", "query: not before, like 2h or 2026-01-31T09:00:00Z"},
          {"until", "time", "query: before, likewise"},
          {"limit", "number", "query: at most this many, 1 to 100 (default 50)"},
          {"cursor", "text", "query: continue where the last page ended"},
          {"from", "number", "export: begin at this record"}},
         1,
         1,
         false,
         &run_audit},
    };
}

}  // namespace berth::cli
