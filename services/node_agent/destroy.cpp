// SPDX-License-Identifier: Apache-2.0
// The end of a machine: everything it ran is killed by recorded identity, never by name or bare
// pid.
#include <csignal>
#include <optional>
#include <thread>
#include <vector>

#include "core/fd.hpp"
#include "core/text.hpp"
#include "log/log.hpp"
#include "node_agent/container.hpp"
#include "node_agent/node.hpp"
#include "node_agent/run_files.hpp"
#include "node_agent/sandbox.hpp"
#include "process/file_lock.hpp"

namespace berth::node {
namespace {

constexpr milliseconds kAgentGrace{3'000};  // a graceful stop leaves the bus in order
constexpr milliseconds kPatience{5'000};

void kill_recorded(
    const std::filesystem::path& file, milliseconds grace, std::vector<process::ProcessId>& killed
) {
    const auto text = read_file(file);
    if (!text) return;
    for (const std::string_view line : split(*text, '\n')) {
        const auto id = process::ProcessId::parse(line);
        if (!id || *id == process::ProcessId::self()) continue;
        if (grace.count() > 0)
            id->end(grace);
        else
            (void)id->signal(SIGKILL);  // gone already is fine
        killed.push_back(*id);
    }
}

/// The run's supervisor, if it ever began. A run that has not begun is made to look begun, so that
/// a supervisor that is just starting refuses it.
std::optional<process::ProcessId> supervisor_of(const std::filesystem::path& run) {
    if (create_durable(run / "started", "destroyed=1\n")) return std::nullopt;
    const auto until = std::chrono::steady_clock::now() + kPatience;
    do {
        const auto text = read_file(run / "started");
        const auto record =
            text ? StartedRecord::decode(*text) : Result<StartedRecord>(text.error());
        if (record) return record->supervisor;
        // It is written in one piece right after it is created.
        std::this_thread::sleep_for(milliseconds{2});
    } while (process::FileLock::is_held(run / "lock") && std::chrono::steady_clock::now() < until);
    return std::nullopt;
}

}  // namespace

Result<void> destroy_machine(const std::filesystem::path& dir) {
    std::vector<process::ProcessId> killed;
    // The agent first, or it would start or report what is being killed.
    const auto until = std::chrono::steady_clock::now() + kPatience;
    do {
        kill_recorded(dir / "node" / "pid", kAgentGrace, killed);
        // One that has just begun holds the lock and writes its pid next.
        if (!process::FileLock::is_held(dir / "node" / "lock")) break;
        std::this_thread::sleep_for(milliseconds{5});
    } while (std::chrono::steady_clock::now() < until);
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(dir / "runs", error)) {
        if (const auto supervisor = supervisor_of(entry.path())) {
            (void)supervisor->signal(SIGKILL);  // gone already is fine
            killed.push_back(*supervisor);
        }
        kill_recorded(entry.path() / "pids", milliseconds{0}, killed);
    }
    for (const auto& id : killed) {
        if (!id.wait_gone(kPatience))
            return unavailable(
                "still_there", "process " + std::to_string(id.pid) + " does not die"
            );
    }
    BERTH_TRY(Container::end(dir));
    return Sandbox::destroy(dir);
}

}  // namespace berth::node
