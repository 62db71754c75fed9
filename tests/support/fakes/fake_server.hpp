// SPDX-License-Identifier: Apache-2.0
// A fake of tests/fakes as a process of one test program.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/fd.hpp"
#include "process/spawn.hpp"

namespace berth::testing {

/// Runs until it is destroyed, or until the thread that made it ends. Throws std::runtime_error
/// where it does not start.
class FakeServer {
public:
    /// `script` is below tests/fakes.
    FakeServer(const std::string& script, const std::vector<std::string>& arguments);
    FakeServer(const FakeServer&) = delete;
    FakeServer& operator=(const FakeServer&) = delete;

    int port() const { return fake_->port; }
    /// The fake itself, its controls too. Without a slash at its end.
    const std::string& url() const { return url_; }
    /// Where a client of the platform goes: the fake, or what BERTH_FAKE_PROXY (below tests/fakes)
    /// holds between the two.
    const std::string& api_url() const { return api_url_; }

private:
    struct Part {
        Part(const std::string& script, const std::vector<std::string>& arguments);
        Part(const Part&) = delete;
        Part& operator=(const Part&) = delete;
        ~Part() { child.kill(); }
        process::Child child;
        Fd standard_in;  // it ends when that is closed
        int port = 0;
    };
    std::optional<Part> fake_;
    std::optional<Part> proxy_;
    std::string url_;
    std::string api_url_;
};

}  // namespace berth::testing
