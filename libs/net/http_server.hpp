// SPDX-License-Identifier: Apache-2.0
// An HTTP/1.1 and WebSocket server that owns many sockets with one thread: the edge of the gateway
// and the health listener of every service.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "core/time.hpp"
#include "net/http_types.hpp"

namespace berth::net {

struct HttpServerSettings {
    std::string listen =
        "127.0.0.1:0";  ///< "host:port" (port 0: any free one), "[::1]:80" or "unix:/path"
    std::size_t max_body = 1U << 20U;     ///< a larger body is answered 413
    std::size_t max_header = 16U << 10U;  ///< a larger head is answered 431
    milliseconds header_timeout{
        10'000};  ///< for a whole request to arrive: a slow sender holds a socket no longer
    milliseconds idle_timeout{
        60'000};  ///< between requests, and for a stalled reader of an ordinary answer
    std::size_t max_connections = 10'000;  ///< more are answered 503 and closed
    std::size_t stream_buffer =
        1U << 20U;  ///< unsent bytes a Stream or WebSocket holds before it refuses more
    std::size_t max_message = 1U << 20U;  ///< of a WebSocket; larger closes it with 1009
    milliseconds ping_every{20'000};      ///< WebSocket keep-alive
    milliseconds peer_silent{
        60'000};  ///< a WebSocket peer whose machine acknowledges nothing for this long is gone
    int socket_send_buffer = 0;  ///< SO_SNDBUF where not 0 (tests of backpressure)
};

struct Request {
    std::string method;  ///< as sent: "GET"
    std::string target;  ///< as sent, without scheme and host: "/v1/leases?all=1"
    std::string path;    ///< percent-decoded; has no NUL
    Query query;
    HeaderMap headers;
    std::string body;
    std::string remote;  ///< "127.0.0.1:4711" or "unix"
    std::string id;      ///< unique, for logs and problem+json; X-Request-Id of the answer
    /// A WebSocket handshake.
    bool is_upgrade() const;
};

/// An answer. Content-Length, Connection, Date and X-Request-Id are the server's to write.
struct Response {
    int status = 200;
    std::string content_type{};  ///< empty: none is sent
    HeaderMap headers{};
    std::string body{};
};

namespace detail {
struct Outlet;
class Exchange;
}  // namespace detail

/// A response body written piece by piece (chunked; SSE). Copies are handles of the same stream.
/// Every function may be called from any thread; callbacks run on the server's I/O thread, never
/// inside a call of these functions, and must be quick. The stream ends when close() is called or
/// the last handle is gone (the body is then complete), when the client leaves, or when the server
/// stops.
class Stream {
public:
    Stream() = default;
    /// True: the bytes are taken (all of them). False: nothing is taken, because the stream is
    /// closed or its buffer is full; in the latter case on_writable comes when there is room again.
    /// A piece larger than the buffer is taken when the buffer is empty.
    bool write(std::string_view bytes);
    /// Waits for room, at most `timeout`; false where that passed or the stream closed. Never on
    /// the I/O thread.
    bool write_wait(std::string_view bytes, milliseconds timeout);
    /// Bytes taken and not yet given to the kernel.
    std::size_t buffered() const;
    bool closed() const;
    /// Called after a refused write() when at least half of the buffer is free. Replaces the former
    /// one.
    void on_writable(std::function<void()> callback);
    /// Called once when the client left, the server stops or close() was carried out; at once where
    /// that already happened. All callbacks are dropped after it.
    void on_closed(std::function<void()> callback);
    /// Ends the body after what is buffered.
    void close();
    /// Breaks the connection, so that the client can tell a cut from an end.
    void abort();

private:
    friend class Responder;
    struct Handle;
    explicit Stream(std::shared_ptr<Handle> handle) : handle_(std::move(handle)) {}
    std::shared_ptr<Handle> handle_;
};

/// What a WebSocket tells. Called on the server's I/O thread, one at a time; they must be quick.
struct WebSocketEvents {
    std::function<void(std::string_view bytes, bool is_text)> on_message;
    std::function<void()> on_writable;
    /// Once, and last. 1006: the connection broke without a word.
    std::function<void(int code, const std::string& reason)> on_closed;
};

/// A server-side WebSocket session. Copies are handles; thread-safe; the last handle's end closes
/// it (1001).
class WebSocket {
public:
    WebSocket() = default;
    /// Begins to read. Nothing is received before this, so that the events may refer to this
    /// handle.
    void start(WebSocketEvents events);
    /// As Stream::write: all or nothing, false when full or closed.
    bool send_binary(std::string_view bytes);
    bool send_text(std::string_view text);
    /// As Stream::write_wait.
    bool send_binary_wait(std::string_view bytes, milliseconds timeout);
    std::size_t buffered() const;
    bool closed() const;
    /// While paused nothing is read from the socket, so that the peer is slowed by TCP. Effective
    /// at once in on_message; a message already under way on the I/O thread may still come
    /// otherwise.
    void pause();
    void resume();
    /// Sends what is buffered, then a close frame; reason is cut to 123 bytes.
    void close(int code, std::string_view reason);

private:
    friend class Responder;
    struct Handle;
    explicit WebSocket(std::shared_ptr<Handle> handle) : handle_(std::move(handle)) {}
    std::shared_ptr<Handle> handle_;
};

/// The right to answer one request, once, from any thread. Move-only. Dropped without an answer it
/// answers 500, so that no client waits for ever.
class Responder {
public:
    Responder() = default;
    explicit Responder(std::shared_ptr<detail::Exchange> exchange);
    Responder(Responder&&) noexcept;
    Responder& operator=(Responder&&) noexcept;
    ~Responder();

    void respond(Response response);
    /// Starts a chunked answer.
    Stream start_stream(int status, std::string_view content_type, HeaderMap headers = {});
    /// Accepts a WebSocket handshake (Request::is_upgrade() must hold). `protocol` is the chosen
    /// Sec-WebSocket-Protocol, or empty.
    WebSocket upgrade(std::string_view protocol = {});
    /// False once answered.
    explicit operator bool() const { return exchange_ != nullptr; }
    /// Called on the I/O thread when the client's connection ends before the answer.
    void on_abandoned(std::function<void()> callback);

private:
    std::shared_ptr<detail::Exchange> exchange_;
};

struct HttpServerStats {
    std::uint64_t accepted = 0;
    std::uint64_t open = 0;
    std::uint64_t requests = 0;
    std::uint64_t malformed = 0;
    std::uint64_t refused = 0;  ///< over max_connections
};

/// Serves until stopped. The handler runs on the I/O thread: it must not wait; it hands the
/// Responder to whoever has the answer. A handler that throws answers 500.
class HttpServer {
public:
    using Handler = std::function<void(Request, Responder)>;

    /// Listens and starts the I/O thread. Error "listen_failed" names address and cause.
    static Result<std::unique_ptr<HttpServer>> start(HttpServerSettings settings, Handler handler);
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    /// "127.0.0.1:40123" or "unix:/path", as a client needs it.
    const std::string& address() const;
    /// "http://127.0.0.1:40123" or "unix:/path".
    std::string url() const;
    HttpServerStats stats() const;

    /// Stops listening, lets requests under way finish for `grace`, closes streams and WebSockets
    /// (1001) and whatever is left after it. Returns when the I/O thread has ended. Idempotent; not
    /// from a callback.
    void stop(milliseconds grace = milliseconds{5'000});

private:
    struct Impl;
    explicit HttpServer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace berth::net
