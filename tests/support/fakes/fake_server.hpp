// SPDX-License-Identifier: Apache-2.0
// A fake of tests/fakes as a process of one test program.
#pragma once

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
    ~FakeServer() { child_.kill(); }
    FakeServer(const FakeServer&) = delete;
    FakeServer& operator=(const FakeServer&) = delete;

    int port() const { return port_; }
    /// Without a slash at its end.
    const std::string& url() const { return url_; }

private:
    process::Child child_;
    Fd stdin_;  // a fake ends when it is closed
    int port_ = 0;
    std::string url_;
};

}  // namespace berth::testing
