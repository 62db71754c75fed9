// SPDX-License-Identifier: Apache-2.0
// A fake platform (tests/fakes/<name>/fake.py) as a process of one test program, and its control
// side.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "core/time.hpp"
#include "http/client.hpp"
#include "support/eventually.hpp"
#include "support/fakes/fake_server.hpp"

namespace berth::testing {

/// Runs until it is destroyed, or until the thread that made it ends. One thread at a time. Throws
/// std::runtime_error where the fake does not do as told.
class FakeProcess {
public:
    /// `name` is the folder, `arguments` follow fake.py.
    FakeProcess(const std::string& name, const std::vector<std::string>& arguments)
        : server_(name + "/fake.py", arguments) {}

    const std::string& url() const { return server_.url(); }
    const std::string& api_url() const { return server_.api_url(); }
    /// GET /_fake/<path>.
    Json look(const std::string& path);
    /// POST /_fake/<path> with a body of JSON text.
    Json tell(const std::string& path, const std::string& body);
    /// What clients did wrong by the platform's description, and what the fake itself did; empty:
    /// nothing.
    std::string complaints();
    /// The same as tell(), and the status; for what the fake may refuse.
    int try_tell(const std::string& path, const std::string& body);

private:
    http::Response send(const std::string& method, const std::string& path, std::string body);
    FakeServer server_;
    http::Client client_;
};

/// The first of the messages that `look` shows which is `wanted`, as soon as there is one.
std::optional<Json> eventually_one(
    const std::function<std::vector<Json>()>& look,
    const std::function<bool(const Json&)>& wanted,
    milliseconds patience = seconds{15}
);

}  // namespace berth::testing
