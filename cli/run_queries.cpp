// SPDX-License-Identifier: Apache-2.0
// `berth runs`, `logs` and `cancel`.
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>

#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/lease_choice.hpp"
#include "cli/words.hpp"
#include "net/http_types.hpp"

namespace berth::cli {
int run_runs(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    const auto reply =
        api.runs(arguments.get("lease"), arguments.get("cursor"), arguments.get("limit", "20"));
    if (!reply) return fail(context, reply.error());
    if (context.json()) {
        context.print(to_json(*reply) + "\n");
        return 0;
    }
    std::vector<std::vector<std::string>> rows = {{"ID", "STATE", "EXIT", "COMMAND"}};
    for (const auto& run : reply->runs()) {
        rows.push_back(
            {run.id(),
             state_name(run.state()),
             run.has_exit_code() ? std::to_string(run.exit_code()) : "-",
             command_line(run)}
        );
    }
    if (rows.size() > 1) context.print(table(rows, context.color()));
    if (rows.size() == 1) context.progress("there are no runs; 'berth run -- <command>' makes one");
    tell_more(context, reply->next_cursor());
    return 0;
}

int run_logs(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    if (context.json()) {
        return fail(
            context,
            invalid(
                "usage",
                "an output is printed as it is, which is not JSON: leave --json out, or see "
                "'berth runs --json'"
            )
        );
    }
    const std::string stream = arguments.get("stream", "all");
    if (stream != "all" && stream != "stdout" && stream != "stderr") {
        return fail(
            context,
            invalid(
                "usage",
                fmt::format(
                    "--stream must be stdout, stderr or all, not '{}'; see 'berth help logs'",
                    stream
                )
            )
        );
    }
    Api api(context.server(), *token);
    const std::string path = fmt::format(
        "/v1/runs/{}/output?offset={}&follow={}{}",
        net::percent_encode(arguments.operands[0]),
        net::percent_encode(arguments.get("offset", "0")),
        arguments.has("follow"),
        stream == "all" ? "" : "&stream=" + stream
    );
    bool any = false;
    const auto done = api.stream(path, [&any](std::string_view bytes) {
        any = true;
        return write_all(STDOUT_FILENO, bytes);
    });
    if (done) return 0;
    Error error = done.error();
    // How the gateway says that not all of an output is there, too; or that it is ours no more.
    if (error.code == "connection_lost") {
        const auto run = api.run(arguments.operands[0]);
        if (!run && run.error().fault != Fault::kUnavailable) return fail(context, run.error());
    }
    if (error.code == "connection_lost")
        error.message = fmt::format(
            "the output is {}; 'berth attach {}' tells more",
            any ? "incomplete: it was cut off here" : "not there",
            arguments.operands[0]
        );
    return fail(context, error);
}

int run_cancel(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    const auto run = api.cancel(arguments.operands[0], arguments.get("grace"));
    if (!run) return fail(context, run.error());
    context.print(
        context.json() ? to_json(*run) + "\n"
                       : fmt::format("{} {}\n", run->id(), state_name(run->state()))
    );
    return 0;
}

}  // namespace berth::cli
