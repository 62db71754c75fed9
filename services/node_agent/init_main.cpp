// SPDX-License-Identifier: Apache-2.0
// berth-init: the first process of a sandbox. Static and libc only, because it runs from a bare
// file system.
//   berth-init run    pid 1 of one run: starts the command, reaps, forwards signals, tells the
//                     exact status, and exits: the kernel then kills whatever is left in the pid
//                     namespace.
//   berth-init hold   owns a machine's user and network namespace until it is killed.
//   berth-init door   pid 1 of a container: starts commands for the node agent outside.
//   berth-init enter  hands a command to a door and lives as long as it.
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "node_agent/init_run.hpp"

namespace {

using namespace berth::node;
using berth::node::init::die;

// ---- hold
// ------------------------------------------------------------------------------------------------

void write_text(const char* path, const char* text) {
    const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::write(fd, text, std::strlen(text)) < 0) die(path);
    ::close(fd);
}

void raise_loopback() {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (fd < 0 || ::ioctl(fd, SIOCSIFFLAGS, &request) != 0)
        die("cannot raise the loopback interface");
    ::close(fd);
}

int hold() {
    const uid_t uid = ::getuid();
    const gid_t gid = ::getgid();
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        die("cannot make a user and a network namespace");
    char map[64];
    // Mapped as root, so that nft and bwrap, which are exec'd in here, keep the namespace's own
    // capabilities.
    write_text("/proc/self/setgroups", "deny");
    std::snprintf(map, sizeof map, "0 %u 1", uid);
    write_text("/proc/self/uid_map", map);
    std::snprintf(map, sizeof map, "0 %u 1", gid);
    write_text("/proc/self/gid_map", map);
    raise_loopback();
    if (::chdir("/") != 0) die("chdir");
    ::prctl(PR_SET_NAME, "berth-hold");
    if (::write(kHoldReadyFd, "R", 1) != 1) die("nobody waits for the namespaces");
    // The answer comes when this process is on record. A node agent that dies before leaves no
    // orphan.
    char recorded = 0;
    if (::read(0, &recorded, 1) != 1) ::_exit(0);
    ::syscall(SYS_close_range, 0U, ~0U, 0U);
    for (;;) ::pause();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], "run") == 0) return init::run({});
    if (argc == 2 && std::strcmp(argv[1], "hold") == 0) return hold();
    if (argc >= 4 && std::strcmp(argv[1], "door") == 0) return init::door(argc, argv);
    if (argc >= 4 && std::strcmp(argv[1], "enter") == 0) return init::enter(argc, argv);
    ::dprintf(2, "berth-init is started by Berth; it takes no orders from people\n");
    return 2;
}
