// SPDX-License-Identifier: Apache-2.0
// Many HTTP requests at once on one thread: for whoever speaks to many servers, of which some are
// slow.
#pragma once

#include <functional>
#include <memory>

#include "http/client.hpp"

namespace berth::http {

/// libcurl's multi interface. Thread-safe. Connections are kept and used again by requests to the
/// same place; there is no limit of requests under way but the caller's own.
class MultiClient {
public:
    /// Called once, on the client's thread: it must not wait. Errors as of Client::send, and
    /// kCanceled "stopped".
    using Done = std::function<void(Result<Response>)>;

    MultiClient();
    /// Ends what is under way: each is told "stopped".
    ~MultiClient();
    MultiClient(const MultiClient&) = delete;
    MultiClient& operator=(const MultiClient&) = delete;

    /// Begins at once and returns.
    void send(Request request, Done done);

    /// Idle connections kept at most: a busy server's, not every server's ever spoken to.
    static constexpr long kKeptConnections = 64;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace berth::http
