// SPDX-License-Identifier: Apache-2.0
// Feeds and drains a child's three pipes with one poll loop, so that none can fill up and block it.
#include "cli/capture.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

extern char** environ;

namespace berth::cli {
namespace {

constexpr std::size_t kMaxOutput = 256U << 20U;
constexpr std::size_t kKeptErrors = 4096;

// Reads what is there; false at the end.
bool drain(int fd, std::string& out) {
    std::array<char, 65536> buffer;
    const auto count = ::read(fd, buffer.data(), buffer.size());
    if (count > 0) out.append(buffer.data(), static_cast<std::size_t>(count));
    return count > 0 || (count < 0 && (errno == EINTR || errno == EAGAIN));
}

void feed(Fd& fd, std::string_view& input) {
    const auto count = input.empty() ? 0 : ::write(fd.get(), input.data(), input.size());
    if (count > 0) input.remove_prefix(static_cast<std::size_t>(count));
    if (input.empty() || (count < 0 && errno != EAGAIN && errno != EINTR)) fd.reset();
}

}  // namespace

Result<Captured> capture(process::SpawnSpec spec, milliseconds patience, std::string_view input) {
    BERTH_ASSIGN(process::Pipe in, process::make_pipe());
    BERTH_ASSIGN(process::Pipe out, process::make_pipe());
    BERTH_ASSIGN(process::Pipe err, process::make_pipe());
    spec.stdin_fd = in.read.get();
    spec.stdout_fd = out.write.get();
    spec.stderr_fd = err.write.get();
    BERTH_ASSIGN(process::Child child, process::spawn(spec));
    in.read.reset();
    out.write.reset();
    err.write.reset();
    ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
    if (input.empty()) in.write.reset();
    Captured result;
    const auto end = std::chrono::steady_clock::now() + patience;
    while (out.read || err.read) {
        std::array<pollfd, 3> polled{
            {{out.read.get(), POLLIN, 0},
             {err.read.get(), POLLIN, 0},
             {in.write.get(), POLLOUT, 0}}};
        const auto left =
            std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now())
                .count();
        if (left <= 0 || result.out.size() > kMaxOutput) {
            child.kill();
            if (left > 0)
                return Error{
                    Fault::kTooLarge, "too_large", spec.argv.front() + " printed too much", {}};
            return deadline("timeout", spec.argv.front() + " did not end in time");
        }
        if (::poll(polled.data(), polled.size(), static_cast<int>(left)) <= 0) continue;
        if (polled[0].revents != 0 && !drain(out.read.get(), result.out)) out.read.reset();
        if (polled[1].revents != 0 && !drain(err.read.get(), result.err)) err.read.reset();
        if (polled[2].revents != 0) feed(in.write, input);
        if (result.err.size() > 2 * kKeptErrors)
            result.err.erase(0, result.err.size() - kKeptErrors);
    }
    const auto left =
        std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now());
    auto status = child.wait(std::max(left, milliseconds{100}));
    if (!status) {
        child.kill();
        return std::move(status).error();
    }
    result.code = status->code;
    return result;
}

std::vector<std::string> environment_without(const std::vector<std::string_view>& without) {
    std::vector<std::string> out;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string_view text = *entry;
        bool keep = true;
        for (const auto prefix : without) keep = keep && !text.starts_with(prefix);
        if (keep) out.emplace_back(text);
    }
    return out;
}

}  // namespace berth::cli
