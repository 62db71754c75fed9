// SPDX-License-Identifier: Apache-2.0
// A real PostgreSQL for one test: started on a unix socket in a temporary folder, killable, gone
// with the test.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace berth::testing {

/// Owns a cluster and its postmaster. The superuser is "postgres", authentication is trust, the
/// transport a unix socket only. As root the server runs as the system user "postgres". The
/// postmaster dies with this process (PR_SET_PDEATHSIG of the thread that started it: call start()
/// and restart() from a thread that lives as long as the test, main as a rule). One thread at a
/// time.
class PostgresServer {
public:
    struct Options {
        bool fsync = false;  ///< true for benchmarks that must pay for durability
        int max_connections = 100;
    };
    PostgresServer();
    explicit PostgresServer(Options options);
    /// Stops the server and removes the folder.
    ~PostgresServer();
    PostgresServer(const PostgresServer&) = delete;
    PostgresServer& operator=(const PostgresServer&) = delete;

    /// initdb and start; ready for connections when it returns.
    Result<void> start();
    /// libpq keyword form over the unix socket.
    std::string conninfo(std::string_view user = "postgres", std::string_view database = "postgres")
        const;
    /// SIGKILL to the postmaster and every backend, as a power cut would; the data folder stays.
    void kill9();
    /// Starts again on the same folder (after kill9 or stop).
    Result<void> restart();
    /// Fast shutdown; kills after 10 s.
    void stop();
    bool running() const { return pid_ > 0; }
    const std::filesystem::path& folder() const { return folder_; }

private:
    Result<void> run_initdb();
    Result<void> launch();
    Result<void> wait_ready();

    Options options_;
    std::filesystem::path folder_;
    pid_t pid_ = -1;
};

}  // namespace berth::testing
