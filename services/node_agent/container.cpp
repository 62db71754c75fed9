// SPDX-License-Identifier: Apache-2.0
// Handing commands to the door of a container.
#include "node_agent/container.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <thread>

#include "core/fd.hpp"
#include "core/time.hpp"
#include "node_agent/init_protocol.hpp"

namespace berth::node {

Result<Container> Container::prepare(ContainerSettings settings) {
    for (const char* name : {"node", "runs"}) {
        const auto path = settings.dir / name;
        if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
            return system_error("cannot create " + path.string(), errno);
    }
    return Container(std::move(settings));
}

namespace {

constexpr milliseconds kEndPatience{5'000};

/// A connection to the door of a machine's folder, or none.
Fd connect_to_door(const std::filesystem::path& dir) {
    // Through the folder's descriptor, because a socket's path may have 107 bytes only.
    const Fd folder(::open((dir / "door").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!folder || !fd) return {};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(
        address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", folder.get(), kDoorSocket
    );
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return {};
    return fd;
}

}  // namespace

Result<std::string> Container::ensure() {
    if (connect_to_door(settings_.dir)) return std::string();
    return unavailable(
        kPlaceComing, "the machine's container does not answer; it is being started again"
    );
}

Result<void> Container::end(const std::filesystem::path& dir) {
    const Fd door = connect_to_door(dir);
    if (!door) return {};
    const InitMessage message{kDoorEnd, 0};
    (void)!::send(door.get(), &message, sizeof message, MSG_NOSIGNAL);
    // With its first process everything of the container dies, this connection's other end too.
    const auto until = std::chrono::steady_clock::now() + kEndPatience;
    while (connect_to_door(dir)) {
        if (std::chrono::steady_clock::now() > until)
            return unavailable("still_there", "the machine's container does not end");
        std::this_thread::sleep_for(milliseconds{5});
    }
    return {};
}

std::vector<std::string> Container::run_command() const {
    return {settings_.init.string(), "enter", (settings_.dir / "door").string(), "run"};
}

std::vector<std::string> Container::tool_command(
    const std::vector<std::string>& program, const std::string& cwd
) const {
    std::vector<std::string> argv{
        settings_.init.string(), "enter", (settings_.dir / "door").string(), "tool", cwd};
    argv.insert(argv.end(), program.begin(), program.end());
    return argv;
}

Result<std::vector<std::string>> Container::rsync() {
    BERTH_TRY(ensure());
    // Ours, with its own loader and libraries: an image need not have one.
    const std::string tools = kInsideTools;
    return std::vector<std::string>{
        tools + "/ld.so", "--library-path", tools + "/lib", tools + "/bin/rsync"};
}

std::map<std::string, std::string> Container::environment() const {
    return {{"HOME", "/home/berth"}, {"USER", "berth"}, {"LOGNAME", "berth"}};
}

}  // namespace berth::node
