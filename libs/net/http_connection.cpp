// SPDX-License-Identifier: Apache-2.0
// One HTTP/1.1 connection: reads requests with Beast's parser, answers them one after the other,
// and carries the bytes of streams and WebSockets. Slow to compile because of Beast's parser.
#include "net/http_connection.hpp"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "core/text.hpp"

namespace berth::net::detail {
namespace {

namespace http = boost::beast::http;

// A stalled reader must not hold the I/O thread: after this much the loop turns.
constexpr std::size_t kFlushTurn = 4U << 20U;

std::string json_text(std::string_view text) {
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') out.push_back('\\');
        out.push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
    }
    return out + "\"";
}

bool header_text_ok(std::string_view text) {
    return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

}  // namespace

Response problem(
    int status, std::string_view code, std::string_view detail, const std::string& id
) {
    Response response;
    response.status = status;
    response.content_type = "application/problem+json";
    response.body = "{\"type\":\"about:blank\",\"title\":" + json_text(reason_phrase(status)) +
                    ",\"status\":" + std::to_string(status) + ",\"detail\":" + json_text(detail) +
                    ",\"code\":" + json_text(code) + ",\"request_id\":" + json_text(id) + "}";
    return response;
}

Connection::Connection(
    std::shared_ptr<Core> core, std::uint64_t number, Fd fd, int family, std::string remote
)
    : core_(std::move(core)),
      number_(number),
      socket_(core_->io, asio::generic::stream_protocol(family, 0), fd.get()),
      is_tcp_(family != AF_UNIX),
      remote_(std::move(remote)) {
    fd.release();
    const int on = 1;
    if (is_tcp_) {
        setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(socket_.native_handle(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    if (const int size = core_->settings.socket_send_buffer; size > 0) {
        setsockopt(socket_.native_handle(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
}

void Connection::start() {
    set_deadline(core_->settings.header_timeout);
    arm_read();
}

void Connection::set_deadline(milliseconds from_now) {
    deadline_ = std::chrono::steady_clock::now() + from_now;
}

bool Connection::wants_read() const {
    if (input_ended_) return false;
    switch (state_) {
        case State::kIdle:
        case State::kReading:
        case State::kLingering: return true;
        // Pipelined bytes wait in in_, within reason; reading on is how a client that left is
        // noticed.
        case State::kHandling:
        case State::kWriting:
        case State::kStreaming: return in_.size() < core_->settings.max_header;
        case State::kWebSocket: return ws_started_ && !ws_paused_ && !ws_peer_closed_;
        case State::kClosed: return false;
    }
    return false;
}

void Connection::arm_read() {
    if (read_armed_ || !wants_read()) return;
    read_armed_ = true;
    socket_.async_wait(socket_.wait_read, [self = shared_from_this()](ErrorCode error) {
        self->on_readable(error);
    });
}

void Connection::on_readable(ErrorCode error) {
    read_armed_ = false;
    if (state_ == State::kClosed) return;
    if (error) return shut();
    if (!wants_read()) return;  // paused meanwhile: what is there stays in the kernel
    const auto got =
        ::recv(socket_.native_handle(), core_->scratch.data(), core_->scratch.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return arm_read();
    if (got < 0) return shut();
    if (got == 0) return on_end_of_input();
    const std::string_view bytes(core_->scratch.data(), static_cast<std::size_t>(got));
    if (state_ == State::kWebSocket) {
        ws_heard_ = std::chrono::steady_clock::now();
        ws_parser_->feed(bytes);
        process_web_socket();
    } else if (state_ != State::kLingering) {
        in_.append(bytes);
        process_http();
    }
    arm_read();
}

void Connection::on_end_of_input() {
    input_ended_ = true;
    switch (state_) {
        // A client that half-closes after its request still gets its answer.
        case State::kHandling:
            keep_alive_ = false;
            if (auto callback = std::exchange(abandoned_, nullptr)) callback();
            return;
        case State::kWriting: keep_alive_ = false; return;
        default: shut();
    }
}

void Connection::process_http() {
    // A handler that answers at once comes back here through on_drained(): the loop below goes on,
    // not the stack.
    if (processing_) return;
    processing_ = true;
    const auto self = shared_from_this();
    while (!in_.empty() && (state_ == State::kIdle || state_ == State::kReading)) {
        if (state_ == State::kIdle) {
            if (in_.starts_with("\r\n"
                )) {  // RFC 9112 section 2.2: a stray empty line between requests
                in_.erase(0, 2);
                continue;
            }
            if (in_ == "\r") break;
            state_ = State::kReading;
            set_deadline(core_->settings.header_timeout);
            parser_.emplace();
            parser_->eager(true);
            parser_->header_limit(static_cast<std::uint32_t>(core_->settings.max_header));
            parser_->body_limit(core_->settings.max_body);
            header_seen_ = false;
        }
        ErrorCode error;
        const auto used = parser_->put(asio::buffer(in_), error);
        in_.erase(0, used);
        if (error && error != http::error::need_more) {
            on_parse_error(error);
            break;
        }
        if (parser_->is_header_done() && !header_seen_) on_header_done();
        if (parser_->is_done()) {
            dispatch();
        } else if (used == 0 || error == http::error::need_more) {
            break;
        }
    }
    processing_ = false;
    // The handler may have upgraded: frames that came with the handshake are there already.
    if (state_ == State::kWebSocket) process_web_socket();
}

void Connection::on_header_done() {
    header_seen_ = true;
    if (parser_->is_done()) return;
    // The body may take longer than the head; the whole of it has the idle timeout.
    set_deadline(core_->settings.idle_timeout);
    const auto expect = parser_->get()[http::field::expect];
    if (equal_no_case(std::string_view(expect.data(), expect.size()), "100-continue")) {
        // 25 bytes on a connection with nothing else to send: the socket has room for them.
        static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
        [[maybe_unused]] const auto n = ::send(
            socket_.native_handle(), kContinue.data(), kContinue.size(), MSG_NOSIGNAL | MSG_DONTWAIT
        );
    }
}

void Connection::on_parse_error(const ErrorCode& error) {
    core_->malformed.fetch_add(1, std::memory_order_relaxed);
    if (error == http::error::body_limit)
        return refuse(413, "too_large", "the body is larger than this server takes");
    if (error == http::error::header_limit)
        return refuse(431, "header_too_large", "the head is larger than this server takes");
    if (error == http::error::bad_version)
        return refuse(505, "bad_version", "HTTP/1.1 is spoken here");
    refuse(400, "malformed_http", "this is not a well-formed HTTP/1.1 request: " + error.message());
}

Result<Request> Connection::make_request() {
    const auto& message = parser_->get();
    Request request;
    request.method = std::string(message.method_string());
    request.target = std::string(message.target());
    for (const auto& field : message) {
        request.headers.add(std::string(field.name_string()), std::string(field.value()));
    }
    if (!http_1_0_ && !request.headers.has("Host"))
        return invalid("malformed_http", "the Host header is missing");
    if (request.headers.has("Transfer-Encoding") && !message.chunked()) {
        return invalid("malformed_http", "only the transfer encoding 'chunked' is understood");
    }
    auto& target = request.target;
    for (const std::string_view scheme :
         {"http://", "https://"}) {  // absolute form, RFC 9112 section 3.2.2
        if (target.size() <= scheme.size() ||
            !equal_no_case(std::string_view(target).substr(0, scheme.size()), scheme))
            continue;
        const auto slash = target.find_first_of("/?", scheme.size());
        target = slash == std::string::npos ? "/" : target.substr(slash);
        if (target.front() == '?') target.insert(target.begin(), '/');
    }
    if (!target.starts_with('/') && target != "*")
        return invalid("malformed_http", "the target must be a path");
    const std::string_view view = target;
    const auto question = view.find('?');
    BERTH_ASSIGN(request.path, percent_decode(view.substr(0, question), false));
    if (question != std::string_view::npos) {
        BERTH_ASSIGN(request.query, parse_query(view.substr(question + 1)));
    }
    request.body = std::move(parser_->get().body());
    request.remote = remote_;
    return request;
}

void Connection::dispatch() {
    state_ = State::kHandling;
    deadline_ = kNever;
    core_->requests.fetch_add(1, std::memory_order_relaxed);
    const auto& message = parser_->get();
    keep_alive_ = message.keep_alive() && !winding_down_;
    head_only_ = message.method() == http::verb::head;
    http_1_0_ = message.version() < 11;
    std::string id = core_->request_prefix + std::to_string(++core_->next_request);
    auto request = make_request();
    parser_.reset();
    if (!request) {
        core_->malformed.fetch_add(1, std::memory_order_relaxed);
        return refuse(400, request.error().code, request.error().message, id);
    }
    request->id = id;
    ws_key_ = request->is_upgrade() ? std::string(request->headers.get("Sec-WebSocket-Key"))
                                    : std::string();
    Responder responder(std::make_shared<Exchange>(core_, shared_from_this(), id));
    try {
        core_->handler(std::move(*request), std::move(responder));
    } catch (const std::exception&) {
        // The Responder, wherever it was, answers 500 as it goes: a bug costs one request, not the
        // server.
    }
}

void Connection::append_head(
    int status,
    std::string_view content_type,
    const HeaderMap& headers,
    const std::string& id,
    std::optional<std::size_t> length,
    bool chunked
) {
    out_ += "HTTP/1.1 ";
    out_ += std::to_string(status);
    out_ += ' ';
    out_ += reason_phrase(status);
    out_ += "\r\nDate: ";
    out_ += core_->http_date();
    if (!content_type.empty() && header_text_ok(content_type))
        (out_ += "\r\nContent-Type: ") += content_type;
    for (const auto& [name, value] : headers.fields()) {
        if (header_text_ok(name) && header_text_ok(value))
            (((out_ += "\r\n") += name) += ": ") += value;
    }
    if (!id.empty()) (out_ += "\r\nX-Request-Id: ") += id;
    const bool bodiless = status < 200 || status == 204 || status == 304;
    if (length && !bodiless) (out_ += "\r\nContent-Length: ") += std::to_string(*length);
    if (chunked) out_ += "\r\nTransfer-Encoding: chunked";
    if (status != 101) {
        if (!keep_alive_) out_ += "\r\nConnection: close";
        if (keep_alive_ && http_1_0_) out_ += "\r\nConnection: keep-alive";
    }
    out_ += "\r\n\r\n";
}

void Connection::respond(Response response, const std::string& id) {
    if (state_ != State::kHandling) return;
    abandoned_ = nullptr;
    if (winding_down_) keep_alive_ = false;
    append_head(
        response.status, response.content_type, response.headers, id, response.body.size(), false
    );
    if (!head_only_ && response.status != 204 && response.status != 304) out_ += response.body;
    state_ = State::kWriting;
    set_deadline(core_->settings.idle_timeout);
    flush();
}

// An answer of the server's own to something it cannot hand on; the connection ends after it.
void Connection::refuse(
    int status, std::string_view code, std::string_view detail, const std::string& id
) {
    keep_alive_ = false;
    head_only_ = false;
    state_ = State::kHandling;
    const std::string name =
        id.empty() ? core_->request_prefix + std::to_string(++core_->next_request) : id;
    respond(problem(status, code, detail, name), name);
}

void Connection::begin_stream(
    std::shared_ptr<Outlet> outlet,
    int status,
    const std::string& content_type,
    const HeaderMap& headers,
    const std::string& id
) {
    if (state_ != State::kHandling) return outlet->end(1006, "");
    abandoned_ = nullptr;
    // HTTP/1.0 knows no chunks: there the end of the connection ends the body.
    if (http_1_0_) keep_alive_ = false;
    append_head(status, content_type, headers, id, std::nullopt, !http_1_0_);
    outlet_ = std::move(outlet);
    state_ = State::kStreaming;
    deadline_ = kNever;
    if (head_only_) outlet_->finish(1000, "");
    if (input_ended_) return shut();
    flush();
}

void Connection::set_abandoned(std::function<void()> callback) {
    if (state_ == State::kClosed || input_ended_) return callback();
    abandoned_ = std::move(callback);
}

void Connection::flush() {
    if (flushing_ || write_armed_ || state_ == State::kClosed) return;
    flushing_ = true;
    const auto self = shared_from_this();
    std::size_t turn = 0;
    while (state_ != State::kClosed) {
        if (out_at_ == out_.size()) {
            out_.clear();
            out_at_ = 0;
            out_from_outlet_ = 0;
            if (outlet_) {
                const std::lock_guard lock(outlet_->mutex);
                outlet_->scheduled = false;
                out_.swap(outlet_->pending);
                if (head_only_ && state_ == State::kStreaming) out_.clear();
                outlet_->in_flight = out_from_outlet_ = out_.size();
            }
            if (out_.empty()) break;
        }
        const auto put = ::send(
            socket_.native_handle(),
            out_.data() + out_at_,
            out_.size() - out_at_,
            MSG_NOSIGNAL | MSG_DONTWAIT
        );
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && errno != EAGAIN) {
            flushing_ = false;
            return shut();
        }
        const bool full = put < 0 || (turn += static_cast<std::size_t>(put)) > kFlushTurn;
        if (put > 0) {
            out_at_ += static_cast<std::size_t>(put);
            if (state_ == State::kWriting) set_deadline(core_->settings.idle_timeout);
            if (out_from_outlet_ > 0) {
                const auto left = std::min(out_.size() - out_at_, out_from_outlet_);
                const auto gone = out_from_outlet_ - left;
                out_from_outlet_ = left;
                outlet_->sent(gone);
            }
        }
        if (full) {
            write_armed_ = true;
            socket_.async_wait(socket_.wait_write, [self](ErrorCode error) {
                self->write_armed_ = false;
                if (error) return self->shut();
                self->flush();
            });
            flushing_ = false;
            return;
        }
    }
    flushing_ = false;
    if (state_ != State::kClosed) on_drained();
}

void Connection::on_drained() {
    if (out_.capacity() > kReadChunk) std::string().swap(out_);
    if (state_ == State::kWriting) return next_request();
    if (!outlet_) return;
    bool finishing = false;
    bool aborted = false;
    {
        const std::lock_guard lock(outlet_->mutex);
        finishing = outlet_->finishing && outlet_->pending.empty();
        aborted = outlet_->aborted;
    }
    if (!finishing) return;
    if (aborted) return shut();
    if (state_ == State::kStreaming) {
        auto outlet = std::exchange(outlet_, nullptr);
        outlet->end(1000, "");
        next_request();
    } else if (state_ == State::kWebSocket) {
        if (ws_peer_closed_) return shut(ws_close_code_, ws_close_reason_);
        // Our close frame is out: the peer answers it, or is gone. Reading goes on even when
        // paused.
        if (deadline_ == kNever) set_deadline(kCloseHandshake);
        ws_paused_ = false;
        ws_started_ = true;
        process_web_socket();
        arm_read();
    }
}

void Connection::next_request() {
    if (!keep_alive_ || winding_down_) return linger();
    state_ = State::kIdle;
    set_deadline(core_->settings.idle_timeout);
    process_http();
    arm_read();
}

void Connection::linger() {
    if (input_ended_) return shut();
    state_ = State::kLingering;
    in_.clear();
    ::shutdown(socket_.native_handle(), SHUT_WR);
    set_deadline(kLinger);
    arm_read();
}

void Connection::check_deadline(SteadyTime now) {
    if (state_ == State::kWebSocket && deadline_ == kNever) return check_web_socket(now);
    if (now < deadline_) return;
    if (state_ == State::kReading)
        return refuse(408, "too_slow", "the request did not arrive in time");
    shut();
}

void Connection::wind_down() {
    winding_down_ = true;
    switch (state_) {
        case State::kIdle:
        case State::kReading:
        case State::kLingering: return shut();
        case State::kStreaming: return shut();
        case State::kWebSocket: outlet_->finish(1001, "the server stops"); return;
        default: return;
    }
}

void Connection::shut(int code, const std::string& reason) {
    if (state_ == State::kClosed) return;
    const auto self = shared_from_this();
    state_ = State::kClosed;
    ErrorCode ignored;
    socket_.close(ignored);
    core_->connections.erase(number_);
    core_->open.fetch_sub(1, std::memory_order_relaxed);
    if (auto callback = std::exchange(abandoned_, nullptr)) callback();
    if (auto outlet = std::exchange(outlet_, nullptr)) outlet->end(code, reason);
    if (core_->on_last_gone && core_->connections.empty()) core_->on_last_gone();
}

}  // namespace berth::net::detail
