// SPDX-License-Identifier: Apache-2.0
// A WebSocket client with a reading thread of its own, for attaching to runs and syncing trees.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "core/time.hpp"
#include "net/http_types.hpp"

namespace berth::net {

/// Callbacks run on the client's reading thread, one at a time, and may block: nothing is read
/// meanwhile and the server is slowed by TCP. They may send and close, but not destroy the client.
struct WsClientEvents {
    std::function<void(std::string_view bytes, bool is_text)> on_message;
    /// Once, and last. 1006: the connection broke without a word.
    std::function<void(int code, const std::string& reason)> on_closed;
};

struct WsClientOptions {
    HeaderMap headers;  ///< Authorization and the like
    milliseconds connect_timeout{10'000};
    std::size_t max_message = 16U << 20U;
    milliseconds ping_every{20'000};  ///< also how a dead server is found: three pings unanswered
};

/// The server refused the handshake: its status and body (problem+json).
struct WsRefusal {
    int status = 0;
    std::string body;
};

/// Thread-safe.
class WsClient {
public:
    /// Connects to `base_url` (as HttpClient takes it; ws:// and wss:// too) + `path`. Errors as
    /// HttpClient's, and "handshake_refused", whose answer is put into `refusal` where that is
    /// given.
    static Result<std::unique_ptr<WsClient>> connect(
        std::string_view base_url,
        std::string_view path,
        WsClientOptions options,
        WsClientEvents events,
        WsRefusal* refusal = nullptr
    );
    /// Closes (1000) where still open, waits at most 1 s for the server's close, and ends the
    /// thread.
    ~WsClient();
    WsClient(const WsClient&) = delete;
    WsClient& operator=(const WsClient&) = delete;

    /// Written in the caller's thread before it returns: waits while the server does not read, at
    /// most `timeout`. Errors: "closed" (kUnavailable), "timeout" (the connection is then broken).
    Result<void> send_binary(std::string_view bytes, milliseconds timeout = milliseconds{60'000});
    Result<void> send_text(std::string_view text, milliseconds timeout = milliseconds{60'000});
    /// Starts the closing handshake; on_closed follows.
    void close(int code, std::string_view reason);
    bool closed() const;
    /// Waits until on_closed has returned; false after `timeout`. Not from a callback.
    bool wait_closed(milliseconds timeout);

private:
    struct Impl;
    explicit WsClient(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace berth::net
