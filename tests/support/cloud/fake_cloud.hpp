// SPDX-License-Identifier: Apache-2.0
// A fake cloud as a process of its own, seen from behind: its whole inventory, what its machines
// were told, and the moment at which it kills whoever asks it for something.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>

#include "core/json.hpp"
#include "core/time.hpp"
#include "http/client.hpp"
#include "support/fakes/fake_server.hpp"

namespace berth::testing {

/// Not thread-safe, apart from running(), which may be called from one other thread. Methods throw
/// where the fake does not answer.
class FakeCloud {
public:
    static constexpr const char* kHetznerToken = "test-token";

    enum class Kind { kHetzner, kAws };
    explicit FakeCloud(Kind kind);

    Kind kind() const { return kind_; }
    int port() const { return server_.port(); }
    /// Machines that exist and are not ending, with their user data, by the provider's id.
    std::map<std::string, std::string> running();
    /// Everything there is of any machine, a line each: machines, keys, addresses, volumes, groups
    /// with their rules. What a deployment has once for all machines is not counted.
    std::string inventory();
    /// What the fake holds against its client or itself; empty where all was in order.
    std::string complaints();
    /// kill -9 at the n-th request from now.
    void kill_at(pid_t pid, int request, bool after);
    /// How many requests there were.
    int requests();
    void reset();
    /// The fake's control side itself (see its text).
    Json control(const std::string& method, const std::string& name, const Json& body = Json());

private:
    const Kind kind_;
    FakeServer server_;
};

}  // namespace berth::testing
