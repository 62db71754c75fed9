// SPDX-License-Identifier: Apache-2.0
// The server and lease reach the transport as variables, the token as a descriptor.
#include "cli/rsync.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <optional>

#include "cli/api.hpp"
#include "cli/context.hpp"
#include "cli/paths.hpp"
#include "core/fd.hpp"

namespace berth::cli {
namespace {

constexpr std::chrono::hours kRsyncPatience{6};  // a first sync of a huge tree over a slow line
// Of the transport; rsync passes them on.
constexpr int kTokenFd = 9;
constexpr int kRefusalFd = 8;
constexpr std::size_t kRefusalBytes = 64U << 10U;

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

/// What the gateway said where it refused the transport's channel: the status, a line end, the
/// body.
std::optional<Error> refusal_in(const Fd& memory) {
    std::string text(kRefusalBytes, '\0');
    const auto got = ::pread(memory.get(), text.data(), text.size(), 0);
    if (got <= 0) return std::nullopt;
    text.resize(static_cast<std::size_t>(got));
    const std::size_t line = text.find('\n');
    int status = 0;
    std::from_chars(text.data(), text.data() + std::min(line, text.size()), status);
    if (line == std::string::npos || status == 0) return std::nullopt;
    return Api::problem(status, std::string_view(text).substr(line + 1));
}

}  // namespace

Result<Captured> run_rsync(
    const RsyncPeer& peer, std::vector<std::string> arguments, std::string_view input
) {
    BERTH_ASSIGN(const Fd secret, token_in_memory(peer.token));
    const Fd refusal(::memfd_create("berth-refusal", MFD_CLOEXEC));
    if (!refusal) return system_error("cannot start rsync", errno);
    process::SpawnSpec spec;
    spec.argv = {
        "rsync", "--blocking-io", "-e", fmt::format("'{}' __rsync-transport", own_path().string())};
    for (std::string& word : arguments) spec.argv.push_back(std::move(word));
    spec.env = environment_without({"RSYNC_", "BERTH_TRANSPORT_", "BERTH_TOKEN="});
    spec.env->push_back("BERTH_TRANSPORT_SERVER=" + peer.server);
    spec.env->push_back("BERTH_TRANSPORT_LEASE=" + peer.lease);
    spec.env->push_back("BERTH_TRANSPORT_QUERY=" + peer.query);
    spec.env->push_back("BERTH_TRANSPORT_REFUSAL_FD=" + std::to_string(kRefusalFd));
    spec.env->push_back("BERTH_TRANSPORT_TOKEN_FD=" + std::to_string(kTokenFd));
    spec.fds = {{secret.get(), kTokenFd}, {refusal.get(), kRefusalFd}};
    spec.death_signal = SIGTERM;  // an interrupted berth leaves no transfer behind
    auto result = capture(std::move(spec), kRsyncPatience, input);
    if (!result && result.error().code == "not_found") {
        return unavailable(
            "rsync_missing",
            "rsync is needed to move files to and from a machine; install it, or use --no-sync"
        );
    }
    if (result && result->code != 0) {
        if (auto refused = refusal_in(refusal)) return std::move(*refused);
    }
    return result;
}

Error rsync_failure(std::string code, std::string_view trouble, const Captured& result) {
    std::string_view words = result.err;
    while (words.ends_with('\n')) words.remove_suffix(1);
    return unavailable(
        std::move(code), fmt::format("{} (rsync ended with {}): {}", trouble, result.code, words)
    );
}

}  // namespace berth::cli
