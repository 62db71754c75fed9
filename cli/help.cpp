// SPDX-License-Identifier: Apache-2.0
// Renders the table of commands: help on a terminal, docs/cli.md, berth(1).
#include <fmt/format.h>

#include <algorithm>

#include "cli/args.hpp"
#include "cli/version.hpp"

namespace berth::cli {
namespace {

std::string flag_usage(const Flag& flag) {
    std::string out = flag.letter == '\0' ? "" : fmt::format("-{}, ", flag.letter);
    out += fmt::format("--{}", flag.name);
    if (!flag.value.empty()) out += fmt::format(" <{}>", flag.value);
    return out;
}

std::string flag_help(const Flag& flag) {
    std::string out(flag.help);
    if (flag.repeated) out += "; may be repeated";
    if (!flag.setting.empty()) out += fmt::format(" (setting: {})", flag.setting);
    return out;
}

std::string usage_line(const Command& command) {
    return fmt::format(
        "berth {} [flags]{}{}", command.name, command.operands.empty() ? "" : " ", command.operands
    );
}

constexpr std::string_view kExitCodes =
    "Exit codes: that of the command for `run`, `shell`, `ssh` and `attach` (128 + n where signal "
    "n ended it);\n"
    "Berth's own failures there are 120 (usage or settings), 121 (gateway not reachable), 122 (no "
    "machine), 123\n"
    "(sync failed), 124 (the run timed out), 125 (the run was lost, or an internal error) and 126 "
    "(refused by\n"
    "policy); with `--fail-on-test-failures` a command that ended well is 1 where tests failed or "
    "their\n"
    "reports cannot be had. Every other command exits 0, 1 for a failure and 2 for wrong usage.\n";

// A text as roff takes it: its own marks lose their meaning.
std::string roff(std::string_view text) {
    std::string out;
    bool line_begins = true;
    for (const char c : text) {
        if (line_begins && (c == '.' || c == '\'')) out += "\\&";
        line_begins = c == '\n';
        if (c == '\\') {
            out += "\\e";
        } else if (c == '-') {
            out += "\\-";
        } else if (c != '`') {  // marks code in Markdown
            out += c;
        }
    }
    return out;
}

std::string roff_flags(const std::vector<Flag>& flags) {
    std::string out;
    for (const Flag& flag : flags)
        out += fmt::format(".TP\n.B {}\n{}.\n", roff(flag_usage(flag)), roff(flag_help(flag)));
    return out;
}

}  // namespace

std::string general_help() {
    std::string out =
        "Berth runs a command of your working tree on a leased machine, as if it ran here.\n\n"
        "usage: berth <command> [flags]\n";
    std::size_t width = 0;
    for (const Command& command : commands()) {
        if (!command.hidden) width = std::max(width, command.name.size());
    }
    for (const Command& command : commands()) {
        if (command.hidden) continue;
        if (!command.group.empty()) out += fmt::format("\n{}:\n", command.group);
        out += fmt::format("  {:<{}}  {}\n", command.name, width, command.summary);
    }
    out +=
        "\n'berth help <command>' tells more about one. Start with 'berth up', then 'berth run -- "
        "<command>'.\n";
    return out;
}

std::string command_help(const Command& command) {
    std::string out = fmt::format("{}\n\nusage: {}\n", command.summary, usage_line(command));
    if (!command.description.empty()) out += fmt::format("\n{}\n", command.description);
    std::size_t width = 0;
    for (const auto* list : {&command.flags, &common_flags()}) {
        for (const Flag& flag : *list) width = std::max(width, flag_usage(flag).size());
    }
    out += "\nflags:\n";
    for (const auto* list : {&command.flags, &common_flags()}) {
        for (const Flag& flag : *list)
            out += fmt::format("  {:<{}}  {}\n", flag_usage(flag), width, flag_help(flag));
    }
    return out;
}

std::string markdown() {
    std::string out =
        "# The command line\n\n"
        "<!-- Written by `berth __docs` from the table in cli/commands.cpp; a test compares. Do "
        "not edit. -->\n\n"
        "State goes to stdout, progress and messages to stderr. `--json` makes stdout one JSON "
        "document;\n"
        "that of a failure is `{\"error\": {\"code\": ..., \"message\": ...}}`. Once `run`, "
        "`shell`, "
        "`warmup` and `ssh` have\n"
        "begun, the same error is in their result as `exit.error`. Events and the audit are a "
        "document per line.\n"
        "Settings are taken from flags, then the environment (`BERTH_<KEY>`, dots as underscores), "
        "then\n"
        "`berth.yaml` at the root of the repository, then `$XDG_CONFIG_HOME/berth/config.yaml`, "
        "then defaults.\n\n";
    out += kExitCodes;
    for (const Command& command : commands()) {
        if (command.hidden) continue;
        out += fmt::format(
            "\n## berth {}\n\n{}.\n\n```\n{}\n```\n",
            command.name,
            command.summary,
            usage_line(command)
        );
        if (!command.description.empty()) out += fmt::format("\n{}\n", command.description);
        if (!command.flags.empty()) out += "\n| flag | meaning |\n|---|---|\n";
        for (const Flag& flag : command.flags) {
            out += fmt::format("| `{}` | {} |\n", flag_usage(flag), flag_help(flag));
        }
    }
    out += "\n## Flags of every command\n\n| flag | meaning |\n|---|---|\n";
    for (const Flag& flag : common_flags())
        out += fmt::format("| `{}` | {} |\n", flag_usage(flag), flag_help(flag));
    return out;
}

std::string manual_page() {
    std::string out = fmt::format(
        ".TH BERTH 1 \"\" \"berth {}\" \"User Commands\"\n.SH NAME\nberth \\- run commands of a "
        "working tree on leased machines\n.SH SYNOPSIS\n.B berth\n.I command\n[flags]\n",
        kVersion
    );
    out +=
        ".SH DESCRIPTION\nState goes to stdout, progress and messages to stderr.\n.SH COMMANDS\n";
    for (const Command& command : commands()) {
        if (command.hidden) continue;
        out += fmt::format(".SS {}\n{}.\n", roff(usage_line(command)), roff(command.summary));
        if (!command.description.empty())
            out += fmt::format(".PP\n{}\n", roff(command.description));
        out += roff_flags(command.flags);
    }
    out += ".SH OPTIONS OF EVERY COMMAND\n" + roff_flags(common_flags());
    out += ".SH EXIT STATUS\n" + roff(kExitCodes);
    out +=
        ".SH FILES\n.TP\n.I berth.yaml\nSettings of a repository, at its root.\n.TP\n.I "
        "$XDG_CONFIG_HOME/berth/config.yaml\nSettings of a user.\n.TP\n.I "
        "$XDG_CONFIG_HOME/berth/tokens/\nA token per gateway.\n.TP\n.I "
        "$XDG_STATE_HOME/berth/results/\nTest reports and artifacts of runs.\n.SH ENVIRONMENT\n"
        ".TP\n.B BERTH_TOKEN\nThe token, before any stored one.\n.TP\n.B BERTH_<KEY>\nAny setting; "
        "dots are underscores.\n.TP\n.B NO_COLOR\nNo colours.\n";
    return out;
}

}  // namespace berth::cli
