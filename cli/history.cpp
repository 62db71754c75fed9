// SPDX-License-Identifier: Apache-2.0
// `berth history`, and finding this tree's runs.
#include "cli/history.hpp"

#include <fmt/format.h>

#include <charconv>
#include <map>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/words.hpp"
#include "core/json.hpp"

namespace berth::cli {
namespace {

constexpr int kHistoryPages =
    10;  // of 100 runs each: history is what one remembers, not an archive

using Names = std::map<std::string, std::string>;

Result<History> gather(Api& api, const std::string& lease, const Names& names, std::size_t limit) {
    History out;
    std::string cursor;
    for (int page = 0; page < kHistoryPages; ++page) {
        BERTH_ASSIGN(const auto reply, api.runs(lease, cursor, "100"));
        for (const auto& run : reply.runs()) {
            const auto name = names.find(run.lease());
            if (name == names.end()) continue;
            if (out.runs.size() == limit) {
                out.complete = false;
                return out;
            }
            out.runs.push_back({run, name->second});
        }
        cursor = reply.next_cursor();
        if (cursor.empty()) return out;
    }
    out.complete = false;
    return out;
}

Result<std::size_t> read_limit(const std::string& text) {
    std::size_t limit = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
    if (error != std::errc() || end != text.data() + text.size() || limit == 0 || limit > 1000)
        return invalid(
            "usage",
            fmt::format("--limit must be 1 to 1000, not '{}'; see 'berth help history'", text)
        );
    return limit;
}

Json json_of(const History& history) {
    Json runs = Json::array();
    for (const auto& entry : history.runs) {
        Json run = Json::parse(to_json(entry.run)).value_or(Json::object());
        run.set("lease_name", entry.lease);
        runs.push(std::move(run));
    }
    return Json::object().set("runs", std::move(runs)).set("complete", history.complete);
}

}  // namespace

Result<History> history_of_tree(const Context& context, Api& api, std::size_t limit) {
    BERTH_ASSIGN(const auto leases, api.leases(true, kHistoryPages));
    Names names;
    for (const auto& lease : leases.leases()) {
        if (lease.label().starts_with(context.tree_label())) names[lease.id()] = lease.slug();
    }
    if (names.empty()) return History{};
    return gather(api, "", names, limit);
}

Result<History> history_of_lease(Api& api, const std::string& lease, std::size_t limit) {
    BERTH_ASSIGN(const auto known, api.lease(lease));
    return gather(api, known.id(), {{known.id(), known.slug()}}, limit);
}

int run_history(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    const auto limit = read_limit(arguments.get("limit", "20"));
    if (!limit) return fail(context, limit.error());
    Api api(context.server(), *token);
    const std::string lease = context.settings().text("lease");
    const auto history = lease.empty() ? history_of_tree(context, api, *limit)
                                       : history_of_lease(api, lease, *limit);
    if (!history) return fail(context, history.error());
    if (context.json()) {
        context.print(json_of(*history).dump() + "\n");
        return 0;
    }
    const WallTime now = Clock::system().now();
    std::vector<std::vector<std::string>> rows = {
        {"RUN", "AGE", "STATE", "EXIT", "TIME", "LEASE", "COMMAND"}};
    for (const auto& [run, name] : history->runs) {
        rows.push_back(
            {run.id(),
             age(run.created_at(), now),
             state_name(run.state()),
             run.has_exit_code() ? std::to_string(run.exit_code()) : "-",
             duration_of(run, now),
             name,
             command_line(run)}
        );
    }
    if (rows.size() == 1) {
        context.progress(
            lease.empty()
                ? "this working tree has no run yet; 'berth run -- <command>' makes one, 'berth "
                  "runs' lists all"
                : "this lease has no run yet"
        );
    } else {
        context.print(table(rows, context.color()));
    }
    if (!history->complete) context.progress("there are older ones; see --limit");
    return 0;
}

}  // namespace berth::cli
