// SPDX-License-Identifier: Apache-2.0
// A NATS client of one socket and one thread that shows every protocol line: what a client library
// hides (a refused publish, an expiry, a half-sent frame) a test can see and do here.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/fd.hpp"

namespace berth::testing {

class RawNatsClient {
public:
    struct Login {
        std::string jwt;                                          ///< empty: no credentials
        std::function<std::string(std::string_view nonce)> sign;  ///< the raw signature
    };
    struct Received {
        std::string subject;
        std::string reply;
        std::string payload;
    };

    /// Connects to 127.0.0.1 and logs in; throws std::runtime_error when there is no server. A
    /// refused login is no exception: see closed() and errors().
    RawNatsClient(
        int port,
        const Login& login,
        std::chrono::milliseconds patience = std::chrono::milliseconds(5000)
    );

    /// Each returns the -ERR lines that came before the server had processed it (a PING follows
    /// it).
    std::vector<std::string> publish(
        std::string_view subject, std::string_view payload = {}, std::string_view reply = {}
    );
    std::vector<std::string> subscribe(std::string_view subject);

    /// Publishes with `inbox` (subscribed already, or below a pattern that is) and awaits the
    /// answer's payload.
    std::optional<std::string> request(
        std::string_view subject, std::string_view payload, std::string_view inbox
    );

    /// The next message, or nothing when none comes in time.
    std::optional<Received> next(std::chrono::milliseconds patience);

    /// True when the server closes the connection within `patience`.
    bool await_close(std::chrono::milliseconds patience);
    bool closed() const { return closed_; }
    /// Every -ERR so far.
    const std::vector<std::string>& errors() const { return errors_; }

private:
    using Deadline = std::chrono::steady_clock::time_point;
    void send(std::string_view bytes);
    bool fill(Deadline until);
    std::optional<std::string> read_line(Deadline until);
    std::optional<std::string> step(Deadline until);
    std::vector<std::string> settle();

    Fd socket_;
    std::chrono::milliseconds patience_;
    std::string buffer_;
    std::vector<Received> inbox_;
    std::vector<std::string> errors_;
    bool closed_ = false;
    int subscriptions_ = 0;
};

}  // namespace berth::testing
