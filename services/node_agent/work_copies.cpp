// SPDX-License-Identifier: Apache-2.0
// rsync from the workspace into a folder of the machine's temporary files.
#include "node_agent/work_copies.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>

#include "core/id.hpp"
#include "log/log.hpp"

namespace berth::node {
namespace {

namespace fs = std::filesystem;

// The machine's temporary files: cleaned with it, and there in every place.
constexpr const char* kInsideWorks = "/tmp/berth-work";
// Ended runs whose copy may still be fetched (results, artifacts).
constexpr std::size_t kKept = 8;
constexpr milliseconds kMovingPause{50};  // a sync is sending; its end has no event here
constexpr std::size_t kMaxWords = 300;
constexpr int kSomeVanished = 24;  // a file went away meanwhile: it was no part of the tree

}  // namespace

WorkCopies::WorkCopies(Loop& loop, const Settings& settings, Place& place, Hooks hooks)
    : loop_(loop), settings_(settings), place_(place), hooks_(std::move(hooks)) {
    ::mkdir((settings_.dir / "node" / "works").c_str(), 0700);
}

WorkCopies::~WorkCopies() {
    for (auto* all : {&tools_, &removals_}) {
        for (auto& [run, tool] : *all) {
            loop_.unwatch(tool.child.pidfd());
            tool.child.kill();
        }
    }
}

std::string WorkCopies::folder(const std::string& run) {
    return std::string(kInsideWorks) + "/" + run;
}

fs::path WorkCopies::record(const std::string& run) const {
    return settings_.dir / "node" / "works" / run;
}

void WorkCopies::make(const std::string& run, Done done) {
    if (tools_.contains(run)) return;
    if (hooks_.moving()) {
        loop_.after(
            kMovingPause,
            [this, run, done = std::move(done), alive = std::weak_ptr(alive_)] {
                if (!alive.expired()) make(run, done);
            }
        );
        return;
    }
    auto rsync = place_.rsync();
    Result<void> started = rsync ? Result<void>() : Result<void>(rsync.error());
    if (rsync) {
        rsync->insert(
            rsync->end(),
            {"-a", "--delete", "--mkpath", std::string(kInsideWorkspace) + "/", folder(run) + "/"}
        );
        started = spawn("make", run, *rsync, kInsideWorkspace, done);
    }
    if (!started) done(started);
}

Result<void> WorkCopies::spawn(
    const std::string& key,
    const std::string& run,
    const std::vector<std::string>& arguments,
    const std::string& cwd,
    Done done
) {
    const Fd words(::open(record(run).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!words) return system_error("cannot write " + record(run).string(), errno);
    process::SpawnSpec spec;
    spec.argv = place_.tool_command(arguments, cwd);
    spec.env = {{"PATH=/usr/bin:/bin", "HOME=/home/berth", "LANG=C.UTF-8"}};
    spec.cwd = "/";
    spec.stdin_fd = spec.stdout_fd = process::kNull;
    spec.stderr_fd = words.get();
    spec.death_signal = SIGKILL;
    spec.no_new_privileges = true;
    spec.new_session = true;
    BERTH_ASSIGN(process::Child child, process::spawn(spec));
    const int pidfd = child.pidfd();
    auto& tools = key == "make" ? tools_ : removals_;
    tools[run] = {std::move(child), std::move(done)};
    loop_.watch(pidfd, EPOLLIN, [this, key, run](std::uint32_t) { on_exit(key, run); });
    return {};
}

void WorkCopies::on_exit(const std::string& key, const std::string& run) {
    auto& tools = key == "make" ? tools_ : removals_;
    const auto found = tools.find(run);
    if (found == tools.end()) return;
    const auto status = found->second.child.poll();
    if (!status) return;
    loop_.unwatch(found->second.child.pidfd());
    const Done done = std::move(found->second.done);
    tools.erase(found);
    if (status->code == 0 || status->code == kSomeVanished) return done({});
    std::string words = read_file(record(run)).value_or("");
    words = words.substr(0, std::min(words.find('\n'), kMaxWords));
    done(unavailable("no_copy", "rsync ended with " + std::to_string(status->code) + ": " + words));
}

void WorkCopies::abandon() {
    auto ended = std::move(tools_);
    tools_.clear();
    for (auto& [run, tool] : ended) {
        loop_.unwatch(tool.child.pidfd());
        tool.child.kill();
        tool.done(conflict("abandoned", "the machine is being cleaned"));
    }
}

void WorkCopies::tidy() {
    std::vector<std::pair<fs::file_time_type, std::string>> ended;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(settings_.dir / "node" / "works", error)) {
        const std::string run = entry.path().filename().string();
        std::error_code ignored;
        if (is_subject_token(run) && !hooks_.live(run) && !removals_.contains(run))
            ended.emplace_back(entry.last_write_time(ignored), run);
    }
    if (ended.size() <= kKept) return;
    std::sort(ended.begin(), ended.end());
    for (std::size_t i = 0; i < ended.size() - kKept; ++i) remove(ended[i].second);
}

void WorkCopies::remove(const std::string& run) {
    auto rsync = place_.rsync();
    if (!rsync) return;  // the next end tries again
    // A name that is not at the source is deleted at the destination, whatever is in it.
    rsync->insert(
        rsync->end(),
        {"-rR", "--force", "--delete-missing-args", "./" + run, std::string(kInsideWorks) + "/"}
    );
    const auto started = spawn("remove", run, *rsync, "/", [this, run](const Result<void>& done) {
        std::error_code ignored;
        if (done) fs::remove(record(run), ignored);
        if (!done)
            log::warning(
                "a run's copy of the workspace is not removed",
                {{"run", run}, {"error", done.error()}}
            );
    });
    if (!started)
        log::warning(
            "a run's copy of the workspace is not removed",
            {{"run", run}, {"error", started.error()}}
        );
}

}  // namespace berth::node
