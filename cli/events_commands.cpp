// SPDX-License-Identifier: Apache-2.0
// `berth events`: following and replaying them, and credentials for programs that read the bus.
#include <fmt/format.h>
#include <unistd.h>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/words.hpp"
#include "core/fd.hpp"
#include "core/json.hpp"
#include "net/http_types.hpp"

namespace berth::cli {
namespace {

Error usage_of_events(const std::string& what) {
    return invalid("usage", what + "; see 'berth help events'");
}

// The data of each event of a Server-Sent Events stream, one a line. Berth's own events have dots
// in their names: "error" is why the stream ends.
struct EventLines {
    std::string pending;
    bool is_error = false;
    std::string error;
    bool take(std::string_view chunk) {
        pending += chunk;
        std::string out;
        std::size_t begin = 0;
        for (std::size_t end = pending.find('\n'); end != std::string::npos;
             end = pending.find('\n', begin)) {
            std::string_view line(pending.data() + begin, end - begin);
            if (line.ends_with('\r')) line.remove_suffix(1);
            begin = end + 1;
            if (line.starts_with("event:")) is_error = line == "event: error";
            if (!line.starts_with("data:")) continue;
            line.remove_prefix(5);
            if (line.starts_with(' ')) line.remove_prefix(1);
            (is_error ? error : out) += std::string(line) + "\n";
        }
        pending.erase(0, begin);
        return write_all(STDOUT_FILENO, out);
    }
};

Result<void> follow(Api& api, const Arguments& arguments, bool stored_only) {
    std::string path = stored_only ? "/v1/events?follow=false" : "/v1/events?follow=true";
    if (arguments.has("subject"))
        path += "&subject=" + net::percent_encode(arguments.get("subject"));
    if (stored_only || arguments.has("from"))
        path += "&from=" + net::percent_encode(arguments.get("from", "1"));
    EventLines lines;
    BERTH_TRY(api.stream(path, [&](std::string_view chunk) { return lines.take(chunk); }));
    if (lines.error.empty()) return {};
    const auto problem = Json::parse(lines.error);
    const auto status = problem ? problem->int_or("status", 0) : 0;
    return Api::problem(static_cast<int>(status), lines.error);
}

Result<void> make_credential(const Context& context, Api& api, const Arguments& arguments) {
    if (arguments.get("name").empty())
        return usage_of_events("say whose the credential is: --name");
    if (arguments.has("org")) {
        BERTH_ASSIGN(const auto who, api.whoami());
        if (who.org() != arguments.get("org"))
            return usage_of_events(
                fmt::format("your token is of org {}, not of {}", who.org(), arguments.get("org"))
            );
    }
    Json body = Json::object().set("name", arguments.get("name"));
    if (arguments.has("life")) body.set("life", arguments.get("life"));
    BERTH_ASSIGN(
        auto reader, api.ask<gateway::v1::EventReader>("POST", "/v1/event_readers", body.dump())
    );
    if (arguments.has("output")) {
        BERTH_TRY(write_file_atomic(arguments.get("output"), reader.creds(), 0600));
        reader.clear_creds();
    }
    if (context.json()) {
        context.print(to_json(reader) + "\n");
        return {};
    }
    context.progress(fmt::format(
        "reader {} of {} until {}; durable {} of stream {}, inbox prefix {}, subject {}",
        reader.name(),
        reader.nats_url(),
        when(reader.expires_at()),
        reader.durable(),
        reader.stream(),
        reader.inbox_prefix(),
        reader.subject()
    ));
    context.print(reader.creds());
    return {};
}

Result<void> list_readers(const Context& context, Api& api) {
    BERTH_ASSIGN(
        const auto all, api.ask<gateway::v1::EventReaders>("GET", "/v1/event_readers?limit=100")
    );
    if (context.json()) {
        context.print(to_json(all) + "\n");
        return {};
    }
    const WallTime now = Clock::system().now();
    std::vector<std::vector<std::string>> rows = {{"READER", "DURABLE", "BY", "ENDS"}};
    for (const auto& reader : all.readers())
        rows.push_back(
            {reader.name(), reader.durable(), reader.created_by(), age(reader.expires_at(), now)}
        );
    context.print(table(rows, context.color()));
    return {};
}

}  // namespace

int run_events(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    const auto& words = arguments.operands;
    const std::string action = words.empty() ? "tail" : words[0];
    Result<void> done;
    if (action == "revoke" && words.size() == 2) {
        const auto gone = api.text("DELETE", path_of("event_readers", words[1]));
        done = gone ? Result<void>() : Result<void>(gone.error());
        if (gone) context.progress("dropped " + words[1]);
    } else if (words.size() > 1) {
        done = usage_of_events(fmt::format("berth events {} takes nothing more", action));
    } else if (action == "tail" || action == "replay") {
        done = follow(api, arguments, action == "replay");
    } else if (action == "credentials") {
        done = make_credential(context, api, arguments);
    } else if (action == "readers") {
        done = list_readers(context, api);
    } else {
        done = usage_of_events(fmt::format("berth events does not know '{}'", action));
    }
    return done ? 0 : fail(context, done.error());
}

}  // namespace berth::cli
