// SPDX-License-Identifier: Apache-2.0
// The part of the table of commands about what may run: the policy.
#include "cli/args.hpp"
#include "cli/commands.hpp"

namespace berth::cli {
namespace {

constexpr std::size_t kMostArguments =
    100000;  // of a command that is tried out; the kernel's own limit is below it

}  // namespace

std::vector<Command> policy_group() {
    return {
        {"policy",
         "lint|test|explain|diff|init|apply|show|history|rollback [<file>...]",
         "Write, check, try out and apply the rules of what may run",
         "    berth policy init --template strict policy.yaml     strict, developer or "
         "observe-only\n"
         "    berth policy lint policy.yaml                       every mistake with line and "
         "column\n"
         "    berth policy test policy.yaml -- git push -f        which rule decides, and why\n"
         "    berth policy explain @current -- git push -f        every rule that is looked at\n"
         "    berth policy diff policy.yaml                       what applying it would change\n"
         "    berth policy diff @3 @5\n"
         "    berth policy apply policy.yaml                      puts it in force (admins)\n"
         "    berth policy show [@3]\n"
         "    berth policy history\n"
         "    berth policy rollback 3                             version 3's text as a new "
         "version\n"
         "\n"
         "Where a file is taken, @current is the policy in force and @3 its version 3. test and\n"
         "explain judge as a machine would; --exec is the program's path there, found on this "
         "host\n"
         "where it is left out. Which script an interpreter is given they take from the arguments, "
         "as\n"
         "if it were there; --script says another. docs/policy.md describes the file.",
         {{"template",
           "strict|developer|observe-only",
           "init: what to start from (default: developer)"},
          {"exec", "path", "test: the program's resolved path"},
          {"cwd", "path", "test: the folder (default: /workspace)"},
          {"script",
           "path",
           "test: the script that the program was given (default: by its arguments)"},
          {"env", "name=value", "test: a variable that the command sets anew", '\0', true},
          {"user", "user", "test: who asks"},
          {"org", "org", "test: of which org (default: default)"},
          {"profile", "name", "test: the machine's profile (default: default)"},
          {"agent", "agent", "test: the agent that asks (default: a person asks)"},
          {"level", "none|observe|shim|enforce", "test: how the machine guards (default: enforce)"},
          {"at", "time", "test: when, like 2026-01-31T09:05:00Z (default: now)"},
          {"expect", "allow|deny|ask", "test: exit with 1 where the answer is another"},
          {"comment", "text", "apply: why, for the history", 'm'},
          {"expect-version", "number", "apply: only where this version is in force"}},
         1,
         kMostArguments,
         false,
         &run_policy,
         "policy"},
        {"harden",
         "<image>",
         "Make a container image whose tools ask before they run",
         "Builds <image> anew with Berth's shim in the tools' places: each is moved aside, and "
         "stays there\n"
         "over upgrades of packages (apt, apk and dnf). Then tries to get past the shim inside, "
         "prints\n"
         "what was tried, and gives the image its name only where nothing led past it. For "
         "machines that\n"
         "guard at level shim; docs/hardened-images.md tells what that level does not see.",
         {{"tools", "names", "Names or absolute paths, separated by commas", '\0', true},
          {"policy",
           "file",
           "The tools that the rules of this policy name; @current is the one in force"},
          {"tag", "name", "What to call it (default: <image>-hardened)", 't'},
          {"recipe", "dir", "Write the build's files to this folder and build nothing"},
          {"user", "user", "With --recipe: whom the image runs as (default: root)"},
          {"shim", "file", "The shim (default: berth-shim beside this program)"},
          {"engine",
           "socket",
           "The container engine (default: $DOCKER_HOST, /var/run/docker.sock)"}},
         1,
         1,
         false,
         &run_harden},
    };
}

}  // namespace berth::cli
