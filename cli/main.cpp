// SPDX-License-Identifier: Apache-2.0
// Parses, gathers settings and hands over to the command; all failures leave through here.
#include <unistd.h>

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

int run(const std::vector<std::string>& words) {
    const auto arguments = parse_arguments(words);
    if (!arguments) {
        write_all(STDERR_FILENO, "berth: " + arguments.error().message + "\n");
        return usage_exit(words);
    }
    if (arguments->help) {
        write_all(STDOUT_FILENO, command_help(*arguments->command));
        return 0;
    }
    auto context = Context::make(*arguments);
    if (!context) {
        write_all(STDERR_FILENO, "berth: " + context.error().message + "\n");
        return usage_exit(words);
    }
    return arguments->command->run(*context, *arguments);
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
