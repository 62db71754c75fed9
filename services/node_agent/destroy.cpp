// SPDX-License-Identifier: Apache-2.0
// The end of a machine: everything it ran is killed by recorded identity, never by name or bare pid.
#include <csignal>
#include <vector>

#include "core/fd.hpp"
#include "core/text.hpp"
#include "log/log.hpp"
#include "node_agent/node.hpp"
#include "node_agent/run_files.hpp"

namespace berth::node {
namespace {

constexpr milliseconds kAgentGrace{3'000};  // a graceful stop leaves the bus in order
constexpr milliseconds kPatience{5'000};

void kill_recorded(const std::filesystem::path& file, milliseconds grace, std::vector<process::ProcessId>& killed) {
    const auto text = read_file(file);
    if (!text) return;
    for (const std::string_view line : split(*text, '\n')) {
        const auto id = process::ProcessId::parse(line);
        if (!id || *id == process::ProcessId::self()) continue;
        if (grace.count() > 0) id->end(grace);
        else (void)id->signal(SIGKILL);  // gone already is fine
        killed.push_back(*id);
    }
}

}  // namespace

Result<void> destroy_machine(const std::filesystem::path& dir) {
    std::vector<process::ProcessId> killed;
    // The agent first, or it would start or report what is being killed.
    kill_recorded(dir / "node" / "pid", kAgentGrace, killed);
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(dir / "runs", error)) {
        if (const auto text = read_file(entry.path() / "started")) {
            const auto record = StartedRecord::decode(*text);
            if (record) {
                (void)record->supervisor.signal(SIGKILL);
                killed.push_back(record->supervisor);
            }
        }
        kill_recorded(entry.path() / "pids", milliseconds{0}, killed);
    }
    for (const auto& id : killed) {
        if (!id.wait_gone(kPatience)) return unavailable("still_there", "process " + std::to_string(id.pid) + " does not die");
    }
    return Sandbox::destroy(dir);
}

}  // namespace berth::node
