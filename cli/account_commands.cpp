// SPDX-License-Identifier: Apache-2.0
// `berth whoami`, `config`, `version`, `help` and the hidden writer of
// docs/cli.md.
#include <fmt/format.h>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/paths.hpp"
#include "cli/version.hpp"
#include "core/json.hpp"

namespace berth::cli {
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
        context.print_text(general_help());
        return 0;
    }
    const auto of_command = parse_arguments({arguments.operands[0], "--help"});
    if (!of_command) return fail(context, of_command.error());
    context.print_text(command_help(*of_command->command));
    return 0;
}

int run_man(Context& context, const Arguments&) {
    context.print_text(manual_page());
    return 0;
}

int run_docs(Context& context, const Arguments&) {
    context.print_text(markdown());
    return 0;
}

}  // namespace berth::cli
