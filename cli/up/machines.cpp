// SPDX-License-Identifier: Apache-2.0
// Starts one `berth-node --destroy` per machine, all at once, and waits for them.
#include "cli/up/machines.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "cli/paths.hpp"
#include "core/id.hpp"
#include "core/time.hpp"
#include "process/file_lock.hpp"
#include "process/process_id.hpp"
#include "process/spawn.hpp"

namespace berth::cli::up {
namespace fs = std::filesystem;
namespace {

constexpr seconds kEndPatience{15};  // the program's own steps add up to less

std::size_t live_runs(const fs::path& machine) {
    std::error_code error;
    std::size_t count = 0;
    for (fs::directory_iterator it(machine / "runs", error), end; !error && it != end;
         it.increment(error))
        ++count;
    return count;
}

// Its node agent, or the process that holds its namespaces.
bool runs(const fs::path& machine) {
    if (process::FileLock::is_held(machine / "node" / "lock")) return true;
    const auto text = read_file(machine / "node" / "holder", 256);
    const auto holder = text ? process::ProcessId::parse(text->substr(0, text->find('\n')))
                             : Result<process::ProcessId>(text.error());
    return holder && holder->alive();
}

Result<process::Child> start_ending(const fs::path& machine) {
    process::SpawnSpec spec;
    spec.argv = {
        (own_path().parent_path() / "berth-node").string(), "--destroy", "--dir", machine.string()};
    spec.stdin_fd = process::kNull;
    spec.cwd = "/";
    struct stat owner {};
    if (::geteuid() == 0 && ::stat(machine.c_str(), &owner) == 0 && owner.st_uid != 0)
        spec.user = process::SpawnSpec::User{owner.st_uid, owner.st_gid};
    return process::spawn(spec);
}

/// Of the local driver, and of the docker driver, which has its own below.
std::vector<fs::path> machine_folders(const Layout& layout) {
    std::vector<fs::path> found;
    for (const fs::path& folder : {layout.machines(), layout.machines() / "docker"}) {
        std::error_code error;
        for (fs::directory_iterator it(folder, error), end; !error && it != end;
             it.increment(error)) {
            if (is_id("m", it->path().filename().string())) found.push_back(it->path());
        }
    }
    return found;
}

}  // namespace

std::vector<LeftMachine> end_machines(const Layout& layout, bool all) {
    std::vector<LeftMachine> left;
    std::vector<std::pair<fs::path, process::Child>> ending;
    for (const fs::path& machine : machine_folders(layout)) {
        if (!runs(machine)) continue;
        const std::string name = machine.filename().string();
        const std::size_t count = live_runs(machine);
        if (count > 0 && !all) {
            left.push_back({name, count, {}});
            continue;
        }
        auto child = start_ending(machine);
        if (child)
            ending.emplace_back(machine, std::move(*child));
        else
            left.push_back({name, count, child.error().message});
    }
    for (auto& [machine, child] : ending) {
        const auto status = child.wait(kEndPatience);
        if (!status) child.kill();
        if (!status || status->code != 0)
            left.push_back(
                {machine.filename().string(),
                 live_runs(machine),
                 "its processes could not be ended"}
            );
    }
    return left;
}

}  // namespace berth::cli::up
