// SPDX-License-Identifier: Apache-2.0
// The processes of one machine of the local driver, found by what names the machine and nothing
// else.
#pragma once

#include <signal.h>

#include <fstream>
#include <vector>

#include "support/suite/suite.hpp"

namespace berth::testing {

struct MachineProcesses {
    std::filesystem::path folder;

    MachineProcesses(Suite& suite, const std::string& machine)
        : folder(suite.data() / "machines" / machine) {}

    /// Its node agent, when it runs.
    std::optional<process::ProcessId> node() const { return recorded(folder / "node" / "pid"); }

    /// Everything that names the machine's folder in its command line, and the holder of its
    /// namespaces. Each run's processes live below these and die with them.
    std::vector<process::ProcessId> all() const {
        std::vector<process::ProcessId> found;
        std::error_code error;
        for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
            const auto command = read_file(entry.path() / "cmdline");
            if (!command || command->find(folder.string()) == std::string::npos) continue;
            const auto id = process::ProcessId::of(std::atoi(entry.path().filename().c_str()));
            if (id && id->pid != ::getpid()) found.push_back(*id);
        }
        if (const auto holder = recorded(folder / "node" / "holder")) found.push_back(*holder);
        return found;
    }

    /// Kills all of it, for good: what would start a node agent here again finds settings that it
    /// cannot read.
    void die_for_good() const {
        std::ofstream(folder / "node" / "node.yaml", std::ios::trunc) << "gone: [\n";
        for (int i = 0; i < 100; ++i) {
            const auto rest = all();
            if (rest.empty()) return;
            for (const auto& id : rest) (void)id.signal(SIGKILL);
            for (const auto& id : rest) (void)id.wait_gone(seconds{5});
        }
    }

private:
    static std::optional<process::ProcessId> recorded(const std::filesystem::path& file) {
        const auto text = read_file(file);
        if (!text) return std::nullopt;
        const auto id = process::ProcessId::parse(text->substr(0, text->find('\n')));
        return id && id->alive() ? std::optional(*id) : std::nullopt;
    }
};

/// How many children of a process have ended and were not waited for.
inline int zombies_of(pid_t parent) {
    int count = 0;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
        const auto stat = read_file(entry.path() / "stat");
        if (!stat) continue;
        const auto end = stat->rfind(')');  // a name may hold anything
        char state = '?';
        int of = 0;
        if (end != std::string::npos &&
            std::sscanf(stat->c_str() + end + 1, " %c %d", &state, &of) == 2 && state == 'Z' &&
            of == parent)
            ++count;
    }
    return count;
}

}  // namespace berth::testing
