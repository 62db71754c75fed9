// SPDX-License-Identifier: Apache-2.0
// Private to libs/net: what the server keeps per process (Core), per connection (Connection), and
// what other threads may touch of a connection (Outlet, Exchange).
#pragma once

#include <atomic>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "net/http_server.hpp"
#include "net/posix_socket.hpp"
#include "net/ws_frame.hpp"

namespace berth::net::detail {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
class Connection;

inline constexpr std::size_t kReadChunk = 64U << 10U;
/// How long a connection that was answered with an error is read and ignored, so that the answer is
/// not lost to a reset while the client still sends.
inline constexpr milliseconds kLinger{2'000};
/// How long a peer may take to answer a close frame.
inline constexpr milliseconds kCloseHandshake{5'000};

/// What all connections share. Everything but the marked members belongs to the I/O thread.
struct Core {
    Core(HttpServerSettings s, HttpServer::Handler h)
        : settings(std::move(s)), handler(std::move(h)), scratch(kReadChunk, '\0') {}

    /// Runs `task` on the I/O thread: at once where this is it, else later. Dropped after the
    /// server ended.
    template <typename Task>
    void run(Task task);
    /// The same, never at once: for what may call back into whoever is calling.
    template <typename Task>
    void post(Task task);

    const HttpServerSettings settings;
    HttpServer::Handler handler;
    asio::io_context io{1};
    std::string scratch;  // every read lands here first: an idle connection owns no buffer
    std::map<std::uint64_t, std::shared_ptr<Connection>> connections;
    std::uint64_t next_connection = 0;
    std::uint64_t next_request = 0;
    std::string request_prefix;
    bool stopping = false;
    std::function<void()> on_last_gone;  // set while stopping
    std::string date;
    std::time_t date_second = 0;

    // Any thread:
    std::atomic<std::thread::id> io_thread{};
    std::mutex end_mutex;
    bool ended =
        false;  // guarded by end_mutex: no task is posted any more, so none can keep a socket alive
    std::atomic<std::uint64_t> accepted{0}, open{0}, requests{0}, malformed{0}, refused{0};

    const std::string& http_date();
};

/// The sending side of a Stream or WebSocket, shared between the I/O thread and whoever writes.
struct Outlet {
    std::shared_ptr<Core> core;
    std::weak_ptr<Connection> connection;
    std::size_t limit = 0;
    bool chunked = false;  // of a Stream
    bool web_socket = false;

    std::mutex mutex;
    std::condition_variable room;
    std::string pending;        // framed, not yet taken by the I/O thread
    std::size_t in_flight = 0;  // taken, not yet given to the kernel
    bool refused = false;       // a write was refused since the last on_writable
    bool scheduled = false;     // a flush is on its way to the I/O thread
    bool finishing = false;     // close() or abort() was called
    bool aborted = false;
    bool closed = false;    // nothing is taken any more
    bool reported = false;  // on_closed was called or will be at once
    int close_code = 1006;
    std::string close_reason;
    std::function<void()> on_writable;
    std::function<void()> on_stream_closed;
    std::shared_ptr<WebSocketEvents> events;  // shared: a callback may end the session that owns it

    bool write(std::string_view bytes, WsOpcode opcode);
    bool write_wait(std::string_view bytes, WsOpcode opcode, milliseconds timeout);
    std::size_t buffered();
    bool is_closed();
    /// Appends what must be sent whatever is buffered (pongs, terminators).
    void write_control(WsOpcode opcode, std::string_view payload);
    void finish(int code, std::string_view reason);
    /// I/O thread: the connection is over or the stream complete. Calls on_closed.
    void end(int code, const std::string& reason);
    /// I/O thread: `count` bytes went to the kernel. Calls on_writable where it is due.
    void sent(std::size_t count);

private:
    bool append_locked(std::string_view bytes, WsOpcode opcode);
    void schedule(std::unique_lock<std::mutex>& lock);
};

/// The one answer of one request.
class Exchange {
public:
    Exchange(std::shared_ptr<Core> core, std::shared_ptr<Connection> connection, std::string id)
        : core_(std::move(core)), connection_(std::move(connection)), id_(std::move(id)) {}
    void respond(Response response);
    std::shared_ptr<Outlet> start_stream(
        int status, std::string_view content_type, HeaderMap headers
    );
    std::shared_ptr<Outlet> upgrade(std::string_view protocol);
    void on_abandoned(std::function<void()> callback);
    const std::string& id() const { return id_; }

private:
    std::shared_ptr<Core> core_;
    std::shared_ptr<Connection> connection_;
    std::string id_;
};

/// One accepted socket. I/O thread only.
class Connection : public std::enable_shared_from_this<Connection> {
public:
    Connection(
        std::shared_ptr<Core> core, std::uint64_t number, Fd fd, int family, std::string remote
    );

    void start();
    /// Called by the server's sweep.
    void check_deadline(SteadyTime now);
    /// The server stops: idle ones end now, others after their answer.
    void wind_down();
    /// Ends the socket at once.
    void shut(int code = 1006, const std::string& reason = {});

    // From Exchange and Outlet, on the I/O thread:
    void respond(Response response, const std::string& id);
    void begin_stream(
        std::shared_ptr<Outlet> outlet,
        int status,
        const std::string& content_type,
        const HeaderMap& headers,
        const std::string& id
    );
    void begin_web_socket(std::shared_ptr<Outlet> outlet, const std::string& protocol);
    void set_abandoned(std::function<void()> callback);
    void flush();
    void start_web_socket();
    void set_paused(bool paused);
    /// Fixed before the request is handed out, so any holder of its Exchange may ask.
    bool is_http_1_0() const { return http_1_0_; }

private:
    enum class State {
        kIdle,
        kReading,
        kHandling,
        kWriting,
        kStreaming,
        kWebSocket,
        kLingering,
        kClosed
    };
    using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

    void arm_read();
    void on_readable(ErrorCode error);
    void on_end_of_input();
    void process_http();
    void on_header_done();
    void on_parse_error(const ErrorCode& error);
    void dispatch();
    Result<Request> make_request();
    void refuse(
        int status, std::string_view code, std::string_view detail, const std::string& id = {}
    );
    void append_head(
        int status,
        std::string_view content_type,
        const HeaderMap& headers,
        const std::string& id,
        std::optional<std::size_t> length,
        bool chunked
    );
    void on_drained();
    void next_request();
    void linger();
    void set_deadline(milliseconds from_now);
    bool wants_read() const;

    // ws_session.cpp
    void process_web_socket();
    void on_ws_event(WsEvent& event);
    void check_web_socket(SteadyTime now);
    bool peer_machine_silent();

    std::shared_ptr<Core> core_;  // first, so that the io_context outlives the socket
    std::uint64_t number_;
    asio::basic_stream_socket<asio::generic::stream_protocol, asio::io_context::executor_type>
        socket_;
    bool is_tcp_;
    std::string remote_;
    State state_ = State::kIdle;
    SteadyTime deadline_ = kNever;
    bool read_armed_ = false;
    bool write_armed_ = false;
    bool flushing_ = false;
    bool processing_ = false;
    bool input_ended_ = false;
    bool winding_down_ = false;

    std::string in_;
    std::optional<Parser> parser_;
    bool header_seen_ = false;
    bool keep_alive_ = true;
    bool head_only_ = false;
    bool http_1_0_ = false;
    std::string ws_key_;
    std::function<void()> abandoned_;

    std::string out_;
    std::size_t out_at_ = 0;
    std::size_t out_from_outlet_ = 0;  // the tail of out_ that the outlet counts as in flight
    std::shared_ptr<Outlet> outlet_;

    std::unique_ptr<WsParser> ws_parser_;
    bool ws_started_ = false;
    bool ws_paused_ = false;
    bool ws_peer_closed_ = false;
    int ws_close_code_ = 1006;
    std::string ws_close_reason_;
    SteadyTime ws_heard_{};
    SteadyTime ws_pinged_{};
};

/// application/problem+json of the server's own refusals.
Response problem(int status, std::string_view code, std::string_view detail, const std::string& id);

}  // namespace berth::net::detail

#include <boost/asio/post.hpp>

template <typename Task>
void berth::net::detail::Core::run(Task task) {
    if (std::this_thread::get_id() == io_thread.load(std::memory_order_relaxed)) {
        task();
        return;
    }
    post(std::move(task));
}

template <typename Task>
void berth::net::detail::Core::post(Task task) {
    const std::lock_guard lock(end_mutex);
    if (!ended) asio::post(io, std::move(task));
}
