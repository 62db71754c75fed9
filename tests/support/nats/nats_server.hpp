// SPDX-License-Identifier: Apache-2.0
// Starts a real nats-server for one test: a random port, a temporary folder, and no orphan when the
// test dies.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace berth::testing {

struct NatsServerOptions {
    /// Empty: no authentication, JetStream on. Else a configuration file given with -c; its listen
    /// address and ports file are overridden from the command line, the rest is obeyed.
    std::filesystem::path conf;
    /// Empty: a temporary folder of this server's own, removed with it. Else kept.
    std::filesystem::path folder;
    /// 0: a free port, kept over restart(). Else this one.
    int port = 0;
    /// Further arguments, as given to nats-server ("-D").
    std::vector<std::string> arguments;
    /// How long the server may take until it greets a client.
    std::chrono::milliseconds patience{10000};
};

/// A running nats-server. Movable, not copyable; one thread at a time. The kernel kills the server
/// when the thread that started it ends (PR_SET_PDEATHSIG), so start and restart from a thread that
/// lives as long as the test. Failures throw std::runtime_error with the server's log: in a test
/// that is the report wanted.
class NatsServer {
public:
    static NatsServer start(NatsServerOptions options = {});

    NatsServer(NatsServer&& other) noexcept;
    NatsServer& operator=(NatsServer&& other) noexcept;
    NatsServer(const NatsServer&) = delete;
    NatsServer& operator=(const NatsServer&) = delete;
    /// Kills the server and, when the folder is its own, removes it.
    ~NatsServer();

    /// "nats://127.0.0.1:<port>"
    std::string url() const;
    int port() const { return port_; }
    /// 0 when it does not run.
    pid_t pid() const { return pid_; }
    const std::filesystem::path& folder() const { return folder_; }
    /// What the server has logged so far, of all its lives.
    std::string log() const;

    /// SIGKILL, and wait: what a crash looks like.
    void kill9();
    /// SIGTERM, and wait; SIGKILL after 10 s.
    void stop();
    /// Stops the server if it runs and starts it again with the same port and store.
    void restart();
    /// SIGSTOP and SIGCONT: a server that hangs but keeps its sockets.
    void pause();
    void resume();
    /// SIGHUP: reads its configuration again.
    void reload();

private:
    NatsServer() = default;
    void launch();
    void await_ready(std::chrono::steady_clock::time_point until);
    void dispose() noexcept;

    NatsServerOptions options_;
    std::filesystem::path folder_;
    bool own_folder_ = false;
    int port_ = 0;
    pid_t pid_ = 0;
};

}  // namespace berth::testing
