// SPDX-License-Identifier: Apache-2.0
// `berth results`: what a run's tests said, and its artifacts.
#include <fmt/format.h>

#include <algorithm>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/history.hpp"
#include "cli/results.hpp"
#include "cli/words.hpp"
#include "core/text.hpp"

namespace berth::cli {
namespace {

namespace fs = std::filesystem;

// Of a failed case's text on a terminal; --json has all that is kept.
constexpr std::size_t kShownLines = 12;

Result<run::v1::Run> chosen_run(const Context& context, Api& api, const Arguments& arguments) {
    if (!arguments.operands.empty()) return api.run(arguments.operands[0]);
    BERTH_ASSIGN(const History history, history_of_tree(context, api, 1));
    if (history.runs.empty())
        return not_found("no_run", "this working tree has no run yet; 'berth runs' lists all");
    return history.runs.front().run;
}

Result<Results> results_of(
    const Context& context, const Secret& token, Api& api, const run::v1::Run& run, bool again
) {
    if (!again) {
        if (auto kept = kept_results(run.id())) return std::move(*kept);
    }
    const Wanted wanted = wanted_results(context.settings());
    if (!wanted.any())
        return invalid(
            "usage",
            "nothing is kept of this run and nothing says where its results are; name them with "
            "--junit and --artifact, or as results.junit and results.artifacts in berth.yaml"
        );
    BERTH_ASSIGN(const auto lease, api.lease(run.lease()));
    if (lease.state() != lease::v1::LEASE_STATE_ACTIVE)
        return not_found(
            "results_gone",
            fmt::format(
                "the machine of {} is gone and its results with it; with results.junit in "
                "berth.yaml 'berth run' fetches them before it gives the machine back",
                run.id()
            )
        );
    return collect_results(context, token, run, wanted);
}

void show_case(const Context& context, const FailedCase& failed) {
    const std::string mark = context.color() ? "\x1b[31m" : "";
    const std::string end = context.color() ? "\x1b[0m" : "";
    context.print(fmt::format(
        "\n{}{}{} {}{}{}{}\n",
        mark,
        failed.kind == "error" ? "ERROR" : "FAILED",
        end,
        printable(failed.suite),
        failed.suite.empty() ? "" : " > ",
        printable(failed.name),
        failed.file.empty() ? "" : fmt::format(" ({})", printable(failed.file))
    ));
    if (!failed.message.empty()) context.print("  " + printable(failed.message) + "\n");
    std::size_t shown = 0;
    for (auto line : split(failed.text, '\n')) {
        while (line.ends_with('\r') || line.ends_with(' ')) line.remove_suffix(1);
        if (line.empty() || line == failed.message) continue;
        if (++shown > kShownLines) {
            context.print("    ...\n");
            break;
        }
        context.print("    " + printable(line) + "\n");
    }
}

// Copies the artifacts as they lie in the tree; files that are there already are replaced.
Result<void> download(const Results& results, const fs::path& folder) {
    for (const std::string& path : results.artifacts) {
        std::error_code error;
        fs::create_directories((folder / path).parent_path(), error);
        fs::copy_file(
            results.folder / path, folder / path, fs::copy_options::overwrite_existing, error
        );
        if (error) return system_error("cannot write " + (folder / path).string(), error.value());
    }
    return {};
}

}  // namespace

int run_results(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    const auto run = chosen_run(context, api, arguments);
    if (!run) return fail(context, run.error());
    const auto results = results_of(context, *token, api, *run, arguments.has("fetch"));
    if (!results) return fail(context, results.error());
    const std::string folder = arguments.get("download");
    if (!folder.empty()) {
        if (const auto done = download(*results, folder); !done) return fail(context, done.error());
    }
    if (context.json()) {
        context.print(to_json(*results).dump() + "\n");
        return 0;
    }
    context.print(fmt::format("{} {}\n", run->id(), summary_line(*results)));
    for (const auto& failed : results->failed) show_case(context, failed);
    if (!results->artifacts.empty()) context.print("\n");
    for (const auto& path : results->artifacts) context.print(printable(path) + "\n");
    tell_skipped(context, *results);
    if (!folder.empty())
        context.progress(fmt::format("copied {} artifacts to {}", results->artifacts.size(), folder)
        );
    return 0;
}

}  // namespace berth::cli
