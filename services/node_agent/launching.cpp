// SPDX-License-Identifier: Apache-2.0
// The memfd for berth-init, the holder's namespaces, and SIGSTOP for a whole tree.
#include "node_agent/launching.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "node_agent/init_protocol.hpp"

namespace berth::node {

Result<Fd> write_init_launch(const Launch& launch, std::uint32_t guard) {
    const InitLaunch head{
        launch.tty,
        launch.rows,
        launch.cols,
        static_cast<std::uint32_t>(launch.argv.size()),
        static_cast<std::uint32_t>(launch.env.size()),
        static_cast<std::uint32_t>(launch.env_drop.size()),
        static_cast<std::uint32_t>(launch.env_keep.size()),
        guard};
    std::string bytes(reinterpret_cast<const char*>(&head), sizeof head);
    const auto put = [&bytes](const std::string& text) {
        bytes.append(text.c_str(), text.size() + 1);
    };
    put(launch.cwd);
    for (const auto* list : {&launch.argv, &launch.env, &launch.env_drop, &launch.env_keep})
        for (const auto& word : *list) put(word);
    Fd fd(::memfd_create("berth-launch", MFD_CLOEXEC));
    if (!fd ||
        ::write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
        return system_error("cannot hand the command over", errno);
    }
    return fd;
}

Result<std::vector<Fd>> holder_namespaces(const Launch& launch) {
    std::vector<Fd> spaces;
    if (launch.holder.empty()) return spaces;
    BERTH_ASSIGN(const process::ProcessId holder, process::ProcessId::parse(launch.holder));
    for (const char* kind : {"user", "net"}) {
        const std::string path = "/proc/" + std::to_string(holder.pid) + "/ns/" + kind;
        Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (!fd) return system_error("the machine's namespaces are gone", errno);
        spaces.push_back(std::move(fd));
    }
    // Looked at after opening: were the pid another's by now, its identity would differ.
    if (!holder.alive())
        return unavailable("no_holder", "the machine's namespaces are gone; start the run again");
    return spaces;
}

std::size_t stop_processes(const process::ProcessId& init) {
    constexpr int kMostLooks = 50;
    std::size_t before = 0;
    for (int look = 0; look < kMostLooks && init.pid != 0; ++look) {
        const std::size_t found = process::signal_tree(init, SIGSTOP);
        if (found == before) break;
        before = found;
    }
    return before;
}

}  // namespace berth::node
