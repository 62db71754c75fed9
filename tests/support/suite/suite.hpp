// SPDX-License-Identifier: Apache-2.0
// The whole suite as a user has it: `berth up` on a fresh data folder, the CLI as a process, the
// API by libcurl.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/json.hpp"
#include "core/time.hpp"
#include "http/client.hpp"
#include "process/spawn.hpp"
#include "support/free_port.hpp"

namespace berth::testing {

/// What a command said and how it ended.
struct Said {
    int exit_code = -1;  ///< -1: it had to be killed at the deadline
    std::string out;
    std::string err;
};

/// A command under way.
class Running {
public:
    Running(process::Child child, Fd in, Fd out, Fd err);
    ~Running();
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

    pid_t pid() const { return child_.pid(); }
    void signal(int number) { (void)child_.signal(number); }
    /// Waits until stdout (so far) holds `text`.
    bool wait_out(const std::string& text, milliseconds patience = seconds{30});
    /// The same of stderr.
    bool wait_err(const std::string& text, milliseconds patience = seconds{30});
    void write_in(std::string_view bytes);
    void close_in() { in_.reset(); }
    Said finish(milliseconds patience = seconds{60});
    std::string out();

private:
    struct State;
    process::Child child_;
    Fd in_;
    std::shared_ptr<State> state_;
    std::vector<std::thread> readers_;
};

struct SuiteOptions {
    std::string settings;  ///< data/etc/berth.yaml; "{port}" in it is the gateway's
};

/// Starts everything and takes it down when destroyed. Failures throw with what the suite's logs
/// say last.
class Suite {
public:
    explicit Suite(const SuiteOptions& options = {});
    ~Suite();
    Suite(const Suite&) = delete;
    Suite& operator=(const Suite&) = delete;

    struct CommandOptions {
        std::filesystem::path cwd;
        std::map<std::string, std::string> env;
        std::string input;     ///< given on stdin, then closed
        bool no_input = true;  ///< stdin is /dev/null
        milliseconds patience = seconds{60};
    };
    Said berth(const std::vector<std::string>& arguments, const CommandOptions& options);
    Said berth(const std::vector<std::string>& arguments) { return berth(arguments, {}); }
    std::unique_ptr<Running> start(
        const std::vector<std::string>& arguments, const CommandOptions& options
    );

    /// An API call with the admin's token; `body` is JSON.
    http::Response api(
        const std::string& method,
        const std::string& path,
        const std::string& body = {},
        const std::vector<std::pair<std::string, std::string>>& headers = {}
    );
    /// The same at another gateway of this deployment.
    http::Response api_at(
        const std::string& url,
        const std::string& method,
        const std::string& path,
        const std::string& body = {},
        const std::vector<std::pair<std::string, std::string>>& headers = {}
    );
    /// Repeats a GET until `good`; every wait for convergence in the tests goes through here. The
    /// API's long-polls do the waiting where a path offers one.
    bool eventually(const std::function<bool()>& good, milliseconds patience = seconds{60});

    Json status();
    pid_t pid(const std::string& part);
    void kill9(const std::string& part);
    /// Every part is ready again.
    bool wait_ready(milliseconds patience = seconds{60});
    /// With no run left alive; a test that wants some left says `berth down` itself.
    void down();

    const std::filesystem::path& folder() const { return folder_; }
    std::filesystem::path data() const { return folder_ / "data"; }
    const std::string& url() const { return url_; }
    const std::string& token() const { return token_; }
    /// A git working tree with a few files, the CLI's cwd by default.
    std::filesystem::path tree() const { return folder_ / "tree"; }
    /// Folders of machines that are still there.
    std::vector<std::string> machines() const;
    std::string logs() const;
    /// What the suite's database answers its administrator, as psql prints it unaligned. Throws.
    std::string sql(const std::string& statement) const;
    /// What `berth up` printed.
    const std::string& greeting() const { return greeting_; }
    /// `berth up --detach` on this deployment again, after a down().
    Said up();

private:
    std::map<std::string, std::string> environment(const std::map<std::string, std::string>& more
    ) const;
    std::filesystem::path folder_;
    std::string url_;
    std::string token_;
    std::string port_;
    std::string greeting_;
    bool up_ = false;
};

/// Runs a program to its end. Throws when it cannot be started.
std::string bin(const std::string& name);  ///< the path of one of our programs
std::unique_ptr<Running> launch(
    const std::vector<std::string>& argv,
    const std::filesystem::path& cwd,
    const std::map<std::string, std::string>& env,
    bool no_input
);
/// `sh -c` in a folder; throws when it fails.
void shell(const std::filesystem::path& cwd, const std::string& script);

}  // namespace berth::testing
