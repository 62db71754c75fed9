// SPDX-License-Identifier: Apache-2.0
// `berth status`: every part of the deployment as it is now, also when it is down.
#include <fmt/format.h>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/paths.hpp"
#include "cli/up/deployment.hpp"
#include "cli/up/services.hpp"
#include "core/fd.hpp"
#include "core/json.hpp"
#include "process/file_lock.hpp"

namespace berth::cli {
namespace {

namespace fs = std::filesystem;

struct Row {
    std::string name;
    std::string state;
    std::int64_t pid = 0;
    std::int64_t restarts = 0;
    std::string reason;
};

std::vector<Row> rows_of(const Json& status) {
    std::vector<Row> rows;
    const Json* parts = status.find("parts");
    if (parts == nullptr || parts->as_array() == nullptr) return rows;
    for (const Json& part : *parts->as_array()) {
        rows.push_back(
            {part.string_or("name", ""),
             part.string_or("state", ""),
             part.int_or("pid", 0),
             part.int_or("restarts", 0),
             part.string_or("reason", "")}
        );
    }
    return rows;
}

// The supervisor looks once a second; the user gets the answer of this moment.
void ask_now(const up::Layout& layout, std::vector<Row>& rows) {
    for (Row& row : rows) {
        if (row.state != "ready" || row.name == "postgres" || row.name == "nats") continue;
        row.reason = up::ask_ready(layout.run() / (row.name + ".addr"));
        if (!row.reason.empty()) row.state = "not ready";
    }
}

int show(
    const Context& context,
    const up::Layout& layout,
    const std::string& state,
    const std::string& url,
    const std::vector<Row>& rows
) {
    const bool up = state == "ready";
    if (context.json()) {
        Json parts = Json::array();
        for (const Row& row : rows) {
            Json one = Json::object();
            one.set("name", row.name)
                .set("state", row.state)
                .set("ready", row.state == "ready")
                .set("pid", row.pid);
            one.set("restarts", row.restarts).set("reason", row.reason);
            parts.push(std::move(one));
        }
        Json out = Json::object();
        out.set("state", state)
            .set("data", layout.data.string())
            .set("url", url)
            .set("parts", std::move(parts));
        context.print(out.dump() + "\n");
        return up ? 0 : 1;
    }
    context.print(
        fmt::format("{} ({}){}\n", state, layout.data.string(), url.empty() ? "" : " " + url)
    );
    std::vector<std::vector<std::string>> table_rows = {
        {"PART", "STATE", "PID", "RESTARTS", "REASON"}};
    for (const Row& row : rows) {
        table_rows.push_back(
            {row.name,
             row.state,
             row.pid == 0 ? "-" : std::to_string(row.pid),
             std::to_string(row.restarts),
             row.reason}
        );
    }
    if (!rows.empty()) context.print(table(table_rows, context.color()));
    if (state == "down")
        context.progress(fmt::format("start it with '{}'", up::command_for(layout, "up")));
    return up ? 0 : 1;
}

int show_remote(const Context& context) {
    auto token = context.token();
    if (!token) {
        context.complain(token.error());
        return 1;
    }
    Api api(context.server(), *token);
    const auto status = api.status();
    if (!status) {
        context.complain(status.error());
        return 1;
    }
    bool ready = true;
    std::vector<std::vector<std::string>> rows = {
        {"SERVICE", "INSTANCE", "STATE", "GUARD", "REASON"}};
    for (const auto& service : status->services()) {
        ready = ready && service.ready();
        rows.push_back(
            {service.name(),
             service.instance(),
             service.ready() ? "ready" : "not ready",
             service.guard().empty() ? "-" : service.guard(),
             service.reason()}
        );
    }
    context.print(context.json() ? to_json(*status) + "\n" : table(rows, context.color()));
    return ready ? 0 : 1;
}

}  // namespace

int run_status(Context& context, const Arguments& arguments) {
    std::error_code ignored;
    const std::string data = arguments.get("data");
    const up::Layout layout{
        data.empty() ? default_data_folder() : fs::absolute(data, ignored).lexically_normal()};
    const bool held = process::FileLock::is_held(layout.lock());
    // Somebody else's gateway was named, and no deployment of this machine was.
    const bool named = context.settings().get("server").origin != config::Origin::kDefault;
    if (named && !held && data.empty()) return show_remote(context);
    std::string state = "down";
    std::string url;
    std::vector<Row> rows;
    if (held) {
        state = "starting";
        const auto text = read_file(layout.status_file(), 1U << 20U);
        const auto json = text ? Json::parse(*text) : Result<Json>(Json());
        if (json) {
            state = json->string_or("state", state);
            url = json->string_or("url", "");
            rows = rows_of(*json);
        }
        ask_now(layout, rows);
        for (const Row& row : rows) {
            if (state == "ready" && row.state != "ready") state = "degraded";
        }
    }
    return show(context, layout, state, url, rows);
}

}  // namespace berth::cli
