// SPDX-License-Identifier: Apache-2.0
// A terminal as a user's window gives it to a program: with a size, and what the program writes.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/fd.hpp"
#include "support/suite/suite.hpp"

namespace berth::testing {

class Terminal {
public:
    Terminal(unsigned short rows, unsigned short cols) {
        winsize size{rows, cols, 0, 0};
        int master = -1;
        int slave = -1;
        if (::openpty(&master, &slave, nullptr, nullptr, &size) != 0)
            throw std::runtime_error("openpty");
        master_ = Fd(master);
        slave_ = Fd(slave);
        ::fcntl(master, F_SETFD, FD_CLOEXEC);
    }
    /// Starts a program in it, with these variables besides PATH and LANG.
    process::Child start(
        const std::vector<std::string>& argv,
        const std::map<std::string, std::string>& env,
        const std::filesystem::path& cwd
    ) {
        process::SpawnSpec spec;
        spec.argv = argv;
        spec.env = std::vector<std::string>{
            std::string("PATH=") + std::getenv("PATH"), "LANG=C.UTF-8", "TERM=xterm", "HOME=/"};
        for (const auto& [name, value] : env) spec.env->push_back(name + "=" + value);
        spec.cwd = cwd;
        spec.stdin_fd = spec.stdout_fd = spec.stderr_fd = slave_.get();
        spec.new_session = true;
        spec.death_signal = SIGKILL;
        auto child = process::spawn(spec);
        if (!child) throw std::runtime_error(child.error().describe());
        return std::move(*child);
    }
    void resize(unsigned short rows, unsigned short cols) {
        const winsize size{rows, cols, 0, 0};
        if (::ioctl(master_.get(), TIOCSWINSZ, &size) != 0) throw std::runtime_error("TIOCSWINSZ");
    }
    /// Reads until `text` has been written.
    bool wait_for(const std::string& text, milliseconds patience = seconds{60}) {
        const SteadyTime until = std::chrono::steady_clock::now() + patience;
        while (seen_.find(text) == std::string::npos) {
            const auto left =
                std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
            pollfd poll{master_.get(), POLLIN, 0};
            if (left.count() <= 0 || ::poll(&poll, 1, static_cast<int>(left.count())) <= 0)
                return false;
            char buffer[4096];
            const ssize_t got = ::read(master_.get(), buffer, sizeof buffer);
            if (got <= 0) return false;
            seen_.append(buffer, static_cast<std::size_t>(got));
        }
        return true;
    }
    const std::string& seen() const { return seen_; }

private:
    Fd master_;
    Fd slave_;
    std::string seen_;
};

}  // namespace berth::testing
