// SPDX-License-Identifier: Apache-2.0
// Hands the list of files to rsync. Deletions are named one by one from the list of the last sync,
// so that files ignored here are never deleted there.
#include "cli/sync.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <thread>

#include "cli/paths.hpp"
#include "cli/rsync.hpp"
#include "cli/words.hpp"
#include "core/fd.hpp"
#include "core/id.hpp"
#include "core/random.hpp"
#include "process/file_lock.hpp"

namespace berth::cli {
namespace fs = std::filesystem;
namespace {

constexpr seconds kLockPatience{120};  // another berth of this user is syncing to the same machine
// Enough to recognise what happened to the tree.
constexpr milliseconds kSyncPause{500};  // another client is sending; nothing tells of its end
constexpr std::size_t kNamedDeletions = 3;

SyncRules rules_of(const config::Layers& settings) {
    return {
        settings.list("sync.include"), settings.list("sync.exclude"), settings.boolean("sync.git")};
}

SyncLimits limits_of(const config::Layers& settings) {
    return {
        static_cast<std::uint64_t>(std::max<std::int64_t>(0, settings.integer("sync.max_files"))),
        settings.bytes("sync.max_bytes"),
        static_cast<std::uint64_t>(
            std::clamp<std::int64_t>(settings.integer("sync.max_delete_percent"), 0, 100)
        )};
}

bool is_own(const std::string& path) { return !path.starts_with(".git/") && path != ".git"; }
std::size_t count_own(const PathList& paths) {
    return static_cast<std::size_t>(std::count_if(paths.begin(), paths.end(), &is_own));
}
PathList own(const PathList& paths) {
    PathList out;
    std::copy_if(paths.begin(), paths.end(), std::back_inserter(out), &is_own);
    return out;
}

bool ask(const std::string& question) {
    const Fd terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC));
    if (!terminal) return false;
    write_all(terminal.get(), "berth: " + question + " Send it anyway? [y/N] ");
    std::array<char, 64> answer{};
    const auto count = ::read(terminal.get(), answer.data(), answer.size());
    return count > 0 && (answer[0] == 'y' || answer[0] == 'Y');
}

// Where a guard found something: asks on a terminal, refuses elsewhere.
Result<void> permit(const std::string& trouble, std::string_view remedy) {
    if (trouble.empty()) return {};
    const bool person = ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1;
    if (person && ask(trouble)) return {};
    return invalid("sync_refused", fmt::format("{} {}, or use --force-sync", trouble, remedy));
}

std::string joined(const PathList& a, const PathList& b) {
    std::string out;
    for (const auto* list : {&a, &b}) {
        for (const auto& path : *list) {
            out += path;
            out += '\0';
        }
    }
    return out;
}

/// Every file of the workspace, sorted, as rsync lists them.
Result<PathList> list_workspace(
    const Context& context, const Secret& token, const SyncTarget& target
) {
    BERTH_ASSIGN(
        const Captured result,
        run_rsync(
            {context.server(), token, target.lease, "fetch=1"}, {"-rt", "-8", "--no-h", "berth:."}
        )
    );
    if (result.code != 0)
        return rsync_failure("sync_failed", "the machine's files could not be listed", result);
    return parse_listing(result.out);
}

Result<int> send(
    const Context& context,
    const Secret& token,
    const SyncTarget& target,
    const std::string& query,
    std::string_view input
) {
    std::vector<std::string> arguments = rsync_arguments();
    arguments.push_back(context.root().string() + "/");
    arguments.push_back("berth:.");
    BERTH_ASSIGN(
        const Captured result,
        run_rsync({context.server(), token, target.lease, query}, std::move(arguments), input)
    );
    constexpr int kSomeVanished = 24;  // files were deleted while it ran: the next sync tells
    if (result.code != 0 && result.code != kSomeVanished)
        return rsync_failure("sync_failed", "the working tree could not be sent", result);
    return result.code;
}

/// Until the runs that are using the workspace now have ended.
Result<void> wait_for_runs(const Context& context, const Secret& token, const SyncTarget& target) {
    Api api(context.server(), token);
    api.set_reached();
    BERTH_ASSIGN(const auto list, api.runs(target.lease, "", "100"));
    for (const auto& run : list.runs()) {
        if (!run.has_ended_at()) BERTH_TRY(api.wait_ended(run.id()));
    }
    return {};
}

Result<SyncReport> sync_locked(
    const Context& context,
    const Secret& token,
    const SyncTarget& target,
    const SyncOptions& options,
    const fs::path& record_path,
    const std::string& sync
) {
    const auto begin = std::chrono::steady_clock::now();
    const SyncRules rules = rules_of(context.settings());
    // Before the list: that of a whole file system takes minutes.
    if (!options.force) {
        BERTH_TRY(permit(
            check_root(context.root(), home_folder()),
            "Go to the folder of a project, use --no-sync"
        ));
    }
    BERTH_ASSIGN(const PathList listed, list_files(context.root(), rules));
    BERTH_ASSIGN(Scan now, scan(context.root(), listed, rules));
    const auto text = read_file(record_path, 512U << 20U);
    SyncRecord before = text ? parse_record_head(*text) : SyncRecord{};
    SyncReport report;
    report.files = now.paths.size();
    report.bytes = now.bytes;
    const bool unchanged = !options.force && before.fingerprint == now.fingerprint &&
                           before.root == context.root().string();
    Api api(context.server(), token);
    api.set_reached();
    std::string held = before.tree;
    if (!unchanged || options.verify) {
        BERTH_ASSIGN(held, api.tree(target.lease));
    }
    if (unchanged && held == before.tree) {
        report.tree = held;
        report.skipped = true;
        report.took =
            std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin);
        return report;
    }
    if (text) before.paths = parse_record(*text).paths;
    PathList all = now.paths;
    if (rules.git) {
        const PathList git = list_git_folder(context.root());
        all.insert(all.end(), git.begin(), git.end());
        std::sort(all.begin(), all.end());
    }
    if (held.empty()) {
        before.paths.clear();
    } else if (held != before.tree) {
        // Somebody else's tree, or one whose record is lost: nothing of it may stay.
        BERTH_ASSIGN(before.paths, list_workspace(context, token, target));
    }
    const PathList gone = vanished_paths(context.root(), before.paths, all);
    PathList gone_files;
    std::set_intersection(
        gone.begin(),
        gone.end(),
        before.paths.begin(),
        before.paths.end(),
        std::back_inserter(gone_files)
    );
    const PathList gone_own = own(gone_files);
    report.deleted = gone_own.size();
    if (!options.force) {
        BERTH_TRY(permit(
            check_limits(now, count_own(before.paths), gone_own, limits_of(context.settings())),
            "Leave files out in .berthignore, raise the limit in berth.yaml (sync.*)"
        ));
    }
    report.tree = "tr_" + make_ulid(Clock::system().now(), Random::system());
    const std::string query = fmt::format(
        "delete=1&sync={}&tree={}&had={}{}",
        sync,
        report.tree,
        held,
        options.beside_runs ? "&beside_runs=1" : ""
    );
    BERTH_ASSIGN(const int code, send(context, token, target, query, joined(all, gone)));
    // rsync calls the folders we told it to delete vanished; look whether something really did.
    bool same = code == 0;
    if (!same) {
        BERTH_ASSIGN(const Scan again, scan(context.root(), listed, rules));
        same = again.fingerprint == now.fingerprint;
    }
    const SyncRecord record{
        same ? now.fingerprint : "", context.root().string(), report.tree, std::move(all)};
    BERTH_TRY(write_file_atomic(record_path, format_record(record), 0600));
    report.took =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin);
    return report;
}

}  // namespace

// What the receiving side is started with is fixed by the node agent and must agree with these: the
// options decide the form of rsync's protocol.
std::vector<std::string> rsync_arguments() {
    return {"-a", "--files-from=-", "--from0", "--delete-missing-args", "--modify-window=-1"};
}

std::string check_root(const fs::path& root, const fs::path& home) {
    std::error_code ignored;
    const fs::path folder = fs::weakly_canonical(root, ignored);
    const fs::path own_home = fs::weakly_canonical(home, ignored);
    if (folder == folder.root_path()) return "The working tree is the whole file system (/).";
    if (own_home.empty()) return {};
    if (folder == own_home)
        return fmt::format("The working tree is your home folder ({}).", folder.string());
    const auto [in_folder, in_home] =
        std::mismatch(folder.begin(), folder.end(), own_home.begin(), own_home.end());
    if (in_folder == folder.end())
        return fmt::format("The working tree ({}) holds your whole home folder.", folder.string());
    return {};
}

std::string check_limits(
    const Scan& scan, std::size_t before, const PathList& gone, const SyncLimits& limits
) {
    const std::size_t deleted = gone.size();
    if (scan.paths.size() > limits.max_files) {
        return fmt::format(
            "The working tree has {} files, more than sync.max_files ({}).",
            scan.paths.size(),
            limits.max_files
        );
    }
    if (scan.bytes > limits.max_bytes) {
        return fmt::format(
            "The working tree has {} MiB, more than sync.max_bytes ({} MiB).",
            scan.bytes >> 20U,
            limits.max_bytes >> 20U
        );
    }
    if (deleted >= kHarmlessDeletions && deleted * 100 > before * limits.max_delete_percent) {
        std::string some;
        for (std::size_t i = 0; i < std::min(deleted, kNamedDeletions); ++i)
            some += (i == 0 ? "" : ", ") + printable(gone[i]);
        return fmt::format(
            "{} of the {} files on the machine would be deleted ({}{}), more than "
            "sync.max_delete_percent ({} %).",
            deleted,
            before,
            some,
            deleted > kNamedDeletions ? ", ..." : "",
            limits.max_delete_percent
        );
    }
    return {};
}

Result<SyncReport> sync_tree(
    const Context& context,
    const Secret& token,
    const SyncTarget& target,
    const SyncOptions& options
) {
    const fs::path folder = cache_folder() / "sync";
    BERTH_TRY(make_private_folder(folder));
    const auto clock = [] { return std::chrono::steady_clock::now(); };
    SyncOptions now = options;
    SteadyTime until = clock() + kLockPatience;
    std::optional<SteadyTime> away_until;
    const std::string sync = "sy_" + make_ulid(Clock::system().now(), Random::system());
    for (bool told = false;; told = true) {
        auto lock = process::FileLock::acquire(folder / (target.lease + ".lock"), kLockPatience);
        if (!lock)
            return conflict(
                "sync_busy",
                "another berth is still syncing to this machine; try again when it is done"
            );
        auto report =
            sync_locked(context, token, target, now, folder / (target.lease + ".list"), sync);
        if (report) return report;
        const Error& refused = report.error();
        lock->release();  // while it waits, another may sync
        if (is_gateway_away(refused)) {
            if (!away_until) {
                context.progress("the gateway was lost during the sync; it begins again");
                away_until = clock() + kGatewayPatience;
                until = clock() + kLockPatience;  // others may have begun meanwhile
                now.verify = true;                // nothing has told how far it came
            }
            if (clock() > *away_until) return report;
            std::this_thread::sleep_for(kSyncPause);
            continue;
        }
        if (refused.fault != Fault::kConflict) return report;
        if (refused.code == "workspace_busy") {
            if (!told) context.progress("waiting: " + refused.message);
            BERTH_TRY(wait_for_runs(context, token, target));
        } else if (refused.code == "sync_busy" || refused.code == "tree_changed") {
            if (clock() > until) return report;
            std::this_thread::sleep_for(kSyncPause);
        } else {
            return report;
        }
    }
}

}  // namespace berth::cli
