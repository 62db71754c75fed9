// SPDX-License-Identifier: Apache-2.0
// Fetches into a folder of the run below the user's state folder, then reads what came.
#include "cli/results.hpp"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <ctime>

#include "cli/paths.hpp"
#include "cli/rsync.hpp"
#include "cli/sync_list.hpp"
#include "cli/words.hpp"
#include "core/fd.hpp"
#include "core/text.hpp"

namespace berth::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kMaxReport = 64U << 20U;
// One file of a run; larger ones are left there, since nobody asked for a disk image by a glob.
constexpr const char* kMaxArtifact = "1G";
constexpr std::size_t kKeptRuns = 100;
constexpr const char* kRecord = "results.json";

fs::path folder_of(const std::string& run) { return state_folder() / "results" / run; }

std::string stripped(std::string_view pattern) {
    while (pattern.starts_with("./")) pattern.remove_prefix(2);
    while (pattern.ends_with('/')) pattern.remove_suffix(1);
    return std::string(pattern);
}

Result<void> check_pattern(const std::string& pattern) {
    bool inside = !pattern.empty() && !pattern.starts_with('/');
    for (const auto part : split(pattern, '/')) inside = inside && part != ".." && !part.empty();
    if (inside) return {};
    return invalid(
        "bad_pattern",
        fmt::format("'{}' must be a path inside the working tree, like reports/*.xml", pattern)
    );
}

// Regular files below `folder`, as paths from it, sorted.
std::vector<std::string> files_in(const fs::path& folder) {
    std::vector<std::string> out;
    std::error_code error;
    for (auto it = fs::recursive_directory_iterator(folder, error);
         !error && it != fs::recursive_directory_iterator();
         it.increment(error)) {
        if (it->symlink_status(error).type() == fs::file_type::regular)
            out.push_back(it->path().lexically_relative(folder).string());
    }
    std::sort(out.begin(), out.end());
    return out;
}

bool any_matches(const std::vector<std::string>& patterns, const std::string& path) {
    return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
        return matches(stripped(pattern), path);
    });
}

bool older_than_run(const fs::path& file, const run::v1::Run& run) {
    if (!run.has_started_at()) return false;
    std::error_code error;
    const auto written = fs::last_write_time(file, error);
    if (error) return false;
    const auto seconds_of_file =
        std::chrono::time_point_cast<seconds>(std::chrono::file_clock::to_sys(written))
            .time_since_epoch()
            .count();
    return seconds_of_file < run.started_at().seconds();  // both by the machine's clock
}

/// A report that says nothing: there is no success then.
void skip_report(Results& out, const std::string& path, const std::string& why) {
    out.complete = false;
    out.skipped.push_back(path + ": " + why);
}

void read_report(Results& out, const std::string& path, const run::v1::Run& run) {
    const fs::path file = out.folder / path;
    if (older_than_run(file, run)) {
        out.skipped.push_back(path + ": it is older than the run");
        return;
    }
    const auto text = read_file(file, kMaxReport);
    auto report = text ? parse_junit(*text) : Result<TestReport>(text.error());
    if (!report) return skip_report(out, path, report.error().message);
    out.reports.push_back(path);
    out.totals.tests += report->totals.tests;
    out.totals.failed += report->totals.failed;
    out.totals.errors += report->totals.errors;
    out.totals.skipped += report->totals.skipped;
    out.totals.seconds += report->totals.seconds;
    std::move(report->failed.begin(), report->failed.end(), std::back_inserter(out.failed));
}

struct Fetched {
    bool all = true;  ///< false: some cannot be read; which, the machine's rsync tells there only
    PathList
        not_files;  ///< symlinks, pipes and the like: they have the wanted names and stay there
};

Result<Fetched> fetch(
    const Context& context,
    const Secret& token,
    const run::v1::Run& run,
    const std::vector<std::string>& patterns,
    const fs::path& folder
) {
    BERTH_ASSIGN(const std::vector<std::string> filter, filter_arguments(patterns));
    // The node starts its side for exactly these; see rsync_sender_arguments() there.
    std::vector<std::string> arguments = {
        "-rt", "--prune-empty-dirs", std::string("--max-size=") + kMaxArtifact};
    arguments.insert(arguments.end(), filter.begin(), filter.end());
    arguments.push_back("berth:.");
    arguments.push_back(folder.string() + "/");
    BERTH_ASSIGN(
        const Captured result,
        run_rsync(
            {context.server(), token, run.lease(), "fetch=1&run=" + run.id()}, std::move(arguments)
        )
    );
    constexpr int kPartial = 23;
    constexpr int kVanished = 24;
    if (result.code == 0 || result.code == kPartial || result.code == kVanished)
        return Fetched{result.code != kPartial, parse_not_files(result.out)};
    return rsync_failure("fetch_failed", "the results could not be fetched", result);
}

Result<void> fetch_all(
    const Context& context,
    const Secret& token,
    const run::v1::Run& run,
    const Wanted& wanted,
    Results& out
) {
    std::vector<std::string> patterns = wanted.junit;
    patterns.insert(patterns.end(), wanted.artifacts.begin(), wanted.artifacts.end());
    BERTH_ASSIGN(const Fetched fetched, fetch(context, token, run, patterns, out.folder));
    for (const std::string& path : fetched.not_files) {
        if (any_matches(wanted.junit, path)) skip_report(out, path, "it is no regular file");
    }
    if (fetched.all) return {};
    context.complain("some of the wanted files cannot be read on the machine; they are left out");
    // Is a report among them? What is here is not sent again.
    if (wanted.junit.empty()) return {};
    BERTH_ASSIGN(const Fetched reports, fetch(context, token, run, wanted.junit, out.folder));
    out.complete = out.complete && reports.all;
    return {};
}

std::vector<std::string> strings_of(const Json& json, std::string_view key) {
    std::vector<std::string> out;
    const Json* list = json.find(key);
    if (list == nullptr || list->as_array() == nullptr) return out;
    for (const Json& item : *list->as_array()) {
        if (item.as_string() != nullptr) out.push_back(*item.as_string());
    }
    return out;
}

std::uint64_t count_of(const Json& json, std::string_view key) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(0, json.int_or(key, 0)));
}

}  // namespace

Wanted wanted_results(const config::Layers& settings) {
    return {settings.list("results.junit"), settings.list("results.artifacts")};
}

bool matches(std::string_view pattern, std::string_view path) {
    // The components of both, one by one; "**" takes any number of them.
    const auto step = [](const auto& self, auto p, auto p_end, auto n, auto n_end) -> bool {
        if (p == p_end) return true;  // what it names, or something in the folder that it names
        if (*p == "**") {
            for (auto rest = n; rest != n_end; ++rest) {
                if (self(self, std::next(p), p_end, rest, n_end)) return true;
            }
            return false;
        }
        if (n == n_end) return false;
        const int found = ::fnmatch(std::string(*p).c_str(), std::string(*n).c_str(), FNM_NOESCAPE);
        return found == 0 && self(self, std::next(p), p_end, std::next(n), n_end);
    };
    const auto pattern_parts = split(pattern, '/');
    const auto path_parts = split(path, '/');
    return step(
        step, pattern_parts.begin(), pattern_parts.end(), path_parts.begin(), path_parts.end()
    );
}

Result<std::vector<std::string>> filter_arguments(const std::vector<std::string>& patterns) {
    std::vector<std::string> out = {"--exclude=/.git"};
    const auto include = [&out](const std::string& pattern) {
        const std::string word = "--include=" + pattern;
        if (std::find(out.begin(), out.end(), word) == out.end()) out.push_back(word);
    };
    for (const std::string& each : patterns) {
        const std::string pattern = stripped(each);
        BERTH_TRY(check_pattern(pattern));
        std::string folder;
        for (const auto part : split(pattern, '/')) {
            if (part == "**") {  // from here on any folder may hold a match
                include(folder + "/**/");
                break;
            }
            folder += "/" + std::string(part);
            include(folder + "/");
        }
        include("/" + pattern);
        include("/" + pattern + "/**");
        // rsync's "**/" wants at least one folder, ours none.
        std::string without = "/" + pattern;
        for (std::size_t at = 0; (at = without.find("/**/", at)) != std::string::npos;)
            without.erase(at, 3);
        include(without);
        include(without + "/**");
    }
    out.emplace_back("--exclude=*");
    return out;
}

Result<Results> collect_results(
    const Context& context, const Secret& token, const run::v1::Run& run, const Wanted& wanted
) {
    Results out;
    out.run = run.id();
    const fs::path folder = folder_of(run.id());
    out.folder = folder / "files";
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    BERTH_TRY(make_private_folder(out.folder));
    BERTH_TRY(fetch_all(context, token, run, wanted, out));
    for (const std::string& path : files_in(out.folder)) {
        if (any_matches(wanted.junit, path)) read_report(out, path, run);
        if (any_matches(wanted.artifacts, path)) out.artifacts.push_back(path);
    }
    BERTH_TRY(write_file_atomic(folder / kRecord, to_json(out).dump() + "\n", 0600));
    forget_results(run.id());
    return out;
}

void forget_results(const std::string& newest) {
    // A folder's time is that of its record.
    std::vector<std::pair<fs::file_time_type, fs::path>> others;
    std::error_code error;
    for (auto it = fs::directory_iterator(state_folder() / "results", error);
         !error && it != fs::directory_iterator();
         it.increment(error)) {
        const auto written = fs::last_write_time(it->path(), error);
        if (!error && it->path().filename() != newest) others.emplace_back(written, it->path());
        error.clear();  // another berth removed it
    }
    std::sort(others.begin(), others.end());
    for (std::size_t i = 0; i + kKeptRuns <= others.size(); ++i)
        fs::remove_all(others[i].second, error);
}

std::optional<Results> kept_results(const std::string& run) {
    const fs::path folder = folder_of(run);
    const auto text = read_file(folder / kRecord);
    const auto json = text ? Json::parse(*text, Json::Limits{kMaxReport, 16}) : Json();
    if (!json || !json->is_object()) return std::nullopt;
    Results out;
    out.run = run;
    out.folder = folder / "files";
    out.reports = strings_of(*json, "reports");
    out.artifacts = strings_of(*json, "artifacts");
    out.skipped = strings_of(*json, "skipped_reports");
    out.complete = json->bool_or("reports_complete", true);
    if (const Json* tests = json->find("tests"); tests != nullptr) {
        out.totals.tests = count_of(*tests, "total");
        out.totals.failed = count_of(*tests, "failed");
        out.totals.errors = count_of(*tests, "errors");
        out.totals.skipped = count_of(*tests, "skipped");
        if (const Json* time = tests->find("seconds"); time != nullptr) {
            if (time->as_double() != nullptr) out.totals.seconds = *time->as_double();
            if (time->as_int() != nullptr)
                out.totals.seconds = static_cast<double>(*time->as_int());
        }
    }
    const Json* failed = json->find("failed_cases");
    if (failed == nullptr || failed->as_array() == nullptr) return out;
    for (const Json& each : *failed->as_array()) {
        out.failed.push_back(
            {each.string_or("suite", ""),
             each.string_or("name", ""),
             each.string_or("file", ""),
             each.string_or("kind", ""),
             each.string_or("message", ""),
             each.string_or("text", "")}
        );
    }
    return out;
}

void tell_skipped(const Context& context, const Results& results) {
    for (const auto& why : results.skipped) context.progress("not counted: " + printable(why));
    if (!results.complete) context.progress("not every report could be fetched and read");
}

std::string summary_line(const Results& results) {
    const TestTotals& totals = results.totals;
    std::string out;
    const auto count = [](std::uint64_t number, const char* word) {
        return fmt::format("{} {}{}", number, word, number == 1 ? "" : "s");
    };
    if (!results.reports.empty()) {
        out = fmt::format("{}: {} passed", count(totals.tests, "test"), totals.passed());
        if (totals.failed > 0) out += fmt::format(", {} failed", totals.failed);
        if (totals.errors > 0) out += fmt::format(", {}", count(totals.errors, "error"));
        if (totals.skipped > 0) out += fmt::format(", {} skipped", totals.skipped);
        out += " in " + format_duration(milliseconds(static_cast<long long>(totals.seconds * 1e3)));
    }
    if (!results.artifacts.empty()) {
        out += fmt::format(
            "{}{} in {}",
            out.empty() ? "" : "; ",
            count(results.artifacts.size(), "artifact"),
            results.folder.string()
        );
    }
    return out.empty() ? "no report and no artifact was found" : out;
}

Json to_json(const Results& results) {
    const auto number = [](std::uint64_t value) { return static_cast<std::int64_t>(value); };
    Json tests = Json::object();
    tests.set("total", number(results.totals.tests))
        .set("passed", number(results.totals.passed()))
        .set("failed", number(results.totals.failed))
        .set("errors", number(results.totals.errors))
        .set("skipped", number(results.totals.skipped))
        .set("seconds", results.totals.seconds);
    Json failed = Json::array();
    for (const FailedCase& each : results.failed) {
        failed.push(Json::object()
                        .set("suite", each.suite)
                        .set("name", each.name)
                        .set("file", each.file)
                        .set("kind", each.kind)
                        .set("message", each.message)
                        .set("text", each.text));
    }
    return Json::object()
        .set("run", results.run)
        .set("tests", std::move(tests))
        .set("failed_cases", std::move(failed))
        .set("reports", Json::strings(results.reports))
        .set("skipped_reports", Json::strings(results.skipped))
        .set("reports_complete", results.complete)
        .set("artifacts", Json::strings(results.artifacts))
        .set("folder", results.folder.string());
}

}  // namespace berth::cli
