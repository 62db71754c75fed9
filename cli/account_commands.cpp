// SPDX-License-Identifier: Apache-2.0
// `berth whoami`, `events`, `config`, `version`, `help` and the hidden writer of
// docs/cli.md.
#include <fmt/format.h>
#include <unistd.h>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/paths.hpp"
#include "cli/version.hpp"
#include "core/json.hpp"
#include "net/http_types.hpp"

namespace berth::cli {
namespace {

int fail(const Context& context, const Error& error) {
    context.complain(error);
    return error.code == "usage" ? kExitUsage : 1;
}

// The data of each event of a Server-Sent Events stream, one a line.
struct EventLines {
    std::string pending;
    bool take(std::string_view chunk) {
        pending += chunk;
        std::string out;
        std::size_t begin = 0;
        for (std::size_t end = pending.find('\n'); end != std::string::npos;
             end = pending.find('\n', begin)) {
            std::string_view line(pending.data() + begin, end - begin);
            if (line.ends_with('\r')) line.remove_suffix(1);
            begin = end + 1;
            if (!line.starts_with("data:")) continue;
            line.remove_prefix(5);
            if (line.starts_with(' ')) line.remove_prefix(1);
            out += std::string(line) + "\n";
        }
        pending.erase(0, begin);
        return write_all(STDOUT_FILENO, out);
    }
};

}  // namespace

int run_whoami(Context& context, const Arguments&) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    const auto who = api.whoami();
    if (!who) return fail(context, who.error());
    std::string roles;
    for (const auto& role : who->roles()) roles += (roles.empty() ? "" : ",") + role;
    context.print(
        context.json() ? to_json(*who) + "\n"
                       : fmt::format("{} of {} ({})\n", who->user(), who->org(), roles)
    );
    return 0;
}

int run_events(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    std::string path = "/v1/events";
    char separator = '?';
    for (const char* name : {"subject", "from"}) {
        if (!arguments.has(name)) continue;
        path += fmt::format("{}{}={}", separator, name, net::percent_encode(arguments.get(name)));
        separator = '&';
    }
    EventLines lines;
    const auto done = api.stream(path, [&](std::string_view chunk) { return lines.take(chunk); });
    return done ? 0 : fail(context, done.error());
}

int run_config(Context& context, const Arguments&) {
    std::vector<std::vector<std::string>> rows = {{"SETTING", "VALUE", "FROM"}};
    Json all = Json::object();
    for (const auto& key : context.settings().keys()) {
        const auto& value = context.settings().get(key);
        std::string text;
        for (const auto& each : value.values) text += (text.empty() ? "" : ",") + each;
        const std::string from = std::string(to_string(value.origin)) +
                                 (value.where.empty() ? "" : " (" + value.where + ")");
        rows.push_back({key, text, from});
        all.set(
            key,
            Json::object()
                .set("value", text)
                .set("origin", to_string(value.origin))
                .set("where", value.where)
        );
    }
    context.print(context.json() ? all.dump() + "\n" : table(rows, context.color()));
    return 0;
}

int run_version(Context& context, const Arguments&) {
    if (context.json()) {
        context.print(Json::object().set("version", kVersion).dump() + "\n");
    } else {
        context.print(fmt::format("berth {}\n", kVersion));
    }
    return 0;
}

int run_help(Context& context, const Arguments& arguments) {
    if (arguments.operands.empty()) {
        context.print(general_help());
        return 0;
    }
    const auto of_command = parse_arguments({arguments.operands[0], "--help"});
    if (!of_command) return fail(context, of_command.error());
    context.print(command_help(*of_command->command));
    return 0;
}

int run_man(Context& context, const Arguments&) {
    context.print(manual_page());
    return 0;
}

int run_docs(Context& context, const Arguments&) {
    context.print(markdown());
    return 0;
}

}  // namespace berth::cli
