// SPDX-License-Identifier: Apache-2.0
// The command line as data: one table gives parsing, help, suggestions and docs/cli.md, so they
// cannot differ.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace berth::cli {

class Context;
struct Arguments;

/// One flag of a command. A flag with a `value` takes one ("--ttl 2h" or "--ttl=2h"), else it is a
/// switch.
struct Flag {
    std::string_view name;          ///< without dashes
    std::string_view value;         ///< what the value is called in help; empty for a switch
    std::string_view help;          ///< one sentence without a final dot
    char letter = '\0';             ///< a short form, or none
    bool repeated = false;          ///< may be given several times
    std::string_view setting = {};  ///< the setting of berth.yaml it overrides, or none
};

/// One command. `run` returns the process's exit code.
struct Command {
    std::string_view name;
    std::string_view operands;     ///< as help shows them: "<run>", "-- <command>..."
    std::string_view summary;      ///< one line
    std::string_view description;  ///< paragraphs, wrapped by hand at 90 columns
    std::vector<Flag> flags;
    std::size_t least = 0;  ///< operands needed
    std::size_t most = 0;   ///< operands taken
    bool hidden = false;    ///< started by Berth itself; not in help
    int (*run)(Context& context, const Arguments& arguments) = nullptr;
    std::string_view group = {};  ///< the heading under which help lists it; the first of a group

    /// What follows the first operand is somebody else's command line, flags and all.
    bool takes_command() const { return operands.find("<command>...") != std::string_view::npos; }
};

/// Every command, in the order of help. cli/commands.cpp.
const std::vector<Command>& commands();
/// Flags every command takes: --help, --json and the like.
const std::vector<Flag>& common_flags();

/// What the user asked for.
struct Arguments {
    const Command* command = nullptr;
    bool help = false;
    std::map<std::string, std::vector<std::string>, std::less<>> flags;
    std::vector<std::string> operands;
    bool dashed = false;  ///< all operands came after "--"

    bool has(std::string_view flag) const { return flags.find(flag) != flags.end(); }
    /// The last value given, or `fallback`.
    std::string get(std::string_view flag, std::string_view fallback = {}) const;
    std::vector<std::string> all(std::string_view flag) const;
};

/// Everything after "--", and everything from the first operand of a command whose operands begin
/// with "--", is taken as it is. Errors (code "usage") say what is wrong, the nearest word and how
/// to get help.
Result<Arguments> parse_arguments(const std::vector<std::string>& words);

/// Text of `berth help` and of `berth help <command>`.
std::string general_help();
std::string command_help(const Command& command);
/// docs/cli.md as a whole.
std::string markdown();
/// The manual page berth(1), in the man macros of roff.
std::string manual_page();

/// The nearest of `known` to a mistyped word, or "" where none is near.
std::string nearest(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace berth::cli
