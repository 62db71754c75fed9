// SPDX-License-Identifier: Apache-2.0
// Parses, gathers settings and hands over to the command; all failures leave through here.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <exception>
#include <string>
#include <vector>

#include "cli/args.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"

namespace {

using namespace berth::cli;

int usage_exit(const std::vector<std::string>& words) {
    const bool runs = !words.empty() && (words[0] == "run" || words[0] == "attach");
    return runs ? kExitRunUsage : kExitUsage;
}

// Before anything is parsed; what follows "--" is somebody else's.
bool wants_json(const std::vector<std::string>& words) {
    const auto end = std::find(words.begin(), words.end(), "--");
    return std::find(words.begin(), end, "--json") != end;
}

int refuse(const std::vector<std::string>& words, const berth::Error& error) {
    write_all(STDERR_FILENO, "berth: " + error.message + "\n");
    if (wants_json(words)) write_all(STDOUT_FILENO, error_document(error));
    return usage_exit(words);
}

int run(const std::vector<std::string>& words) {
    const auto arguments = parse_arguments(words);
    if (!arguments) return refuse(words, arguments.error());
    if (arguments->help) {
        const std::string help = command_help(*arguments->command);
        write_all(STDOUT_FILENO, text_document(help, arguments->has("json")));
        return 0;
    }
    auto context = Context::make(*arguments);
    if (!context) return refuse(words, context.error());
    const int code = arguments->command->run(*context, *arguments);
    context->finish(code);
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);  // a reader that leaves is an error of write(2), not our death
    try {
        return run(std::vector<std::string>(argv + 1, argv + argc));
    } catch (const std::exception& error) {
        write_all(
            STDERR_FILENO, std::string("berth: a bug: ") + error.what() + "; please report it\n"
        );
        return kExitLost;
    }
}
