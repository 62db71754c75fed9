// SPDX-License-Identifier: Apache-2.0
// The server and lease reach the transport as variables, the token as a descriptor.
#include "cli/rsync.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "cli/context.hpp"
#include "cli/paths.hpp"
#include "core/fd.hpp"

namespace berth::cli {
namespace {

constexpr std::chrono::hours kRsyncPatience{6};  // a first sync of a huge tree over a slow line
constexpr int kTokenFd = 9;                      // of the transport; rsync passes it on

// The token travels in memory: a file would outlive us, an argument or a variable can be read by
// others.
Result<Fd> token_in_memory(const Secret& token) {
    Fd fd(::memfd_create("berth-token", MFD_CLOEXEC));
    if (!fd) return system_error("cannot pass the token on", errno);
    if (!write_all(fd.get(), token.reveal()))
        return system_error("cannot pass the token on", errno);
    ::lseek(fd.get(), 0, SEEK_SET);
    return fd;
}

}  // namespace

Result<Captured> run_rsync(
    const RsyncPeer& peer, std::vector<std::string> arguments, std::string_view input
) {
    BERTH_ASSIGN(const Fd secret, token_in_memory(peer.token));
    process::SpawnSpec spec;
    spec.argv = {
        "rsync", "--blocking-io", "-e", fmt::format("'{}' __rsync-transport", own_path().string())};
    for (std::string& word : arguments) spec.argv.push_back(std::move(word));
    spec.env = environment_without({"RSYNC_", "BERTH_TRANSPORT_", "BERTH_TOKEN="});
    spec.env->push_back("BERTH_TRANSPORT_SERVER=" + peer.server);
    spec.env->push_back("BERTH_TRANSPORT_LEASE=" + peer.lease);
    spec.env->push_back(fmt::format("BERTH_TRANSPORT_FETCH={}", peer.fetch ? 1 : 0));
    spec.env->push_back("BERTH_TRANSPORT_TOKEN_FD=" + std::to_string(kTokenFd));
    spec.fds = {{secret.get(), kTokenFd}};
    spec.death_signal = SIGTERM;  // an interrupted berth leaves no transfer behind
    auto result = capture(std::move(spec), kRsyncPatience, input);
    if (!result && result.error().code == "not_found") {
        return unavailable(
            "rsync_missing",
            "rsync is needed to move files to and from a machine; install it, or use --no-sync"
        );
    }
    return result;
}

}  // namespace berth::cli
