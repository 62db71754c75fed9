// SPDX-License-Identifier: Apache-2.0
// The server's frame: listening, the I/O thread, the sweep of deadlines, and the handles other
// threads hold.
#include "net/http_server.hpp"

#include <netdb.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <ctime>

#include "core/random.hpp"
#include "core/text.hpp"
#include "net/http_connection.hpp"

namespace berth::net {
namespace detail {

const std::string& Core::http_date() {
    const auto now = std::time(nullptr);
    if (now != date_second) {
        std::tm parts{};
        gmtime_r(&now, &parts);
        std::array<char, 64> text{};
        std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
        date = text.data();
        date_second = now;
    }
    return date;
}

void Outlet::schedule(std::unique_lock<std::mutex>& lock) {
    if (scheduled) return;
    scheduled = true;
    auto target = connection.lock();
    lock.unlock();
    // Not at once even on the I/O thread: a flush may call back, and the writer may hold a lock of
    // its own.
    if (target) core->post([target = std::move(target)] { target->flush(); });
}

bool Outlet::append_locked(std::string_view bytes, WsOpcode opcode) {
    if (closed || finishing) return false;
    const auto held = pending.size() + in_flight;
    if (held > 0 && held + bytes.size() > limit) {
        refused = true;
        return false;
    }
    if (web_socket) {
        append_ws_frame(pending, opcode, bytes);
    } else if (!bytes.empty()) {
        if (chunked) {
            std::array<char, 24> size{};
            const int n = std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
            pending.append(size.data(), static_cast<std::size_t>(n));
        }
        pending.append(bytes);
        if (chunked) pending.append("\r\n");
    }
    return true;
}

bool Outlet::write(std::string_view bytes, WsOpcode opcode) {
    std::unique_lock lock(mutex);
    if (!append_locked(bytes, opcode)) return false;
    schedule(lock);
    return true;
}

bool Outlet::write_wait(std::string_view bytes, WsOpcode opcode, milliseconds timeout) {
    const auto until = std::chrono::steady_clock::now() + timeout;
    std::unique_lock lock(mutex);
    while (!append_locked(bytes, opcode)) {
        if (closed || finishing) return false;
        if (room.wait_until(lock, until) == std::cv_status::timeout) return false;
    }
    schedule(lock);
    return true;
}

void Outlet::write_control(WsOpcode opcode, std::string_view payload) {
    std::unique_lock lock(mutex);
    // A peer that floods pings and does not read what we answer gets no more answers, not our
    // memory.
    if (closed || finishing || pending.size() > limit) return;
    append_ws_frame(pending, opcode, payload);
    schedule(lock);
}

std::size_t Outlet::buffered() {
    const std::lock_guard lock(mutex);
    return pending.size() + in_flight;
}

bool Outlet::is_closed() {
    const std::lock_guard lock(mutex);
    return closed || finishing;
}

void Outlet::finish(int code, std::string_view reason) {
    std::unique_lock lock(mutex);
    if (closed || finishing) return;
    finishing = true;
    close_code = code;
    close_reason = std::string(reason);
    if (web_socket) {
        append_ws_frame(pending, WsOpcode::kClose, ws_close_payload(code, reason));
    } else if (chunked) {
        pending.append("0\r\n\r\n");
    }
    room.notify_all();
    scheduled = false;  // an earlier flush may have passed already, and the end must be seen
    schedule(lock);
}

void Outlet::end(int code, const std::string& reason) {
    // Callbacks may hold the last handle of this very stream, whose end takes the lock: they die
    // after it.
    std::function<void()> stream_closed;
    std::function<void()> writable;
    std::shared_ptr<WebSocketEvents> told;
    {
        const std::lock_guard lock(mutex);
        if (closed) return;
        closed = true;
        close_code = code;
        close_reason = reason;
        std::string().swap(pending);
        in_flight = 0;
        stream_closed = std::exchange(on_stream_closed, nullptr);
        told = std::exchange(events, nullptr);
        writable = std::exchange(on_writable, nullptr);
        reported = stream_closed != nullptr || told != nullptr;
        room.notify_all();
    }
    if (stream_closed) stream_closed();
    if (told && told->on_closed) told->on_closed(code, reason);
}

void Outlet::sent(std::size_t count) {
    std::function<void()> callback;
    {
        const std::lock_guard lock(mutex);
        in_flight -= std::min(in_flight, count);
        if (!refused || pending.size() + in_flight > limit / 2) return;
        refused = false;
        callback = web_socket ? (events ? events->on_writable : nullptr) : on_writable;
        room.notify_all();
    }
    if (callback) callback();
}

void Exchange::respond(Response response) {
    core_->run([connection = connection_, id = id_, response = std::move(response)]() mutable {
        connection->respond(std::move(response), id);
    });
}

std::shared_ptr<Outlet> Exchange::start_stream(
    int status, std::string_view content_type, HeaderMap headers
) {
    auto outlet = std::make_shared<Outlet>();
    outlet->core = core_;
    outlet->connection = connection_;
    outlet->limit = core_->settings.stream_buffer;
    outlet->chunked = !connection_->is_http_1_0();
    core_->run([connection = connection_,
                outlet,
                status,
                type = std::string(content_type),
                headers = std::move(headers),
                id = id_] { connection->begin_stream(outlet, status, type, headers, id); });
    return outlet;
}

std::shared_ptr<Outlet> Exchange::upgrade(std::string_view protocol) {
    auto outlet = std::make_shared<Outlet>();
    outlet->core = core_;
    outlet->connection = connection_;
    outlet->limit = core_->settings.stream_buffer;
    outlet->web_socket = true;
    core_->run([connection = connection_, outlet, protocol = std::string(protocol)] {
        connection->begin_web_socket(outlet, protocol);
    });
    return outlet;
}

void Exchange::on_abandoned(std::function<void()> callback) {
    core_->run([connection = connection_, callback = std::move(callback)]() mutable {
        connection->set_abandoned(std::move(callback));
    });
}

}  // namespace detail

namespace asio = boost::asio;
using detail::Core;
using detail::Outlet;

bool Request::is_upgrade() const {
    return method == "GET" && headers.has_token("Connection", "upgrade") &&
           headers.has_token("Upgrade", "websocket") &&
           headers.get("Sec-WebSocket-Version") == "13" &&
           is_ws_key(headers.get("Sec-WebSocket-Key"));
}

struct Stream::Handle {
    std::shared_ptr<Outlet> outlet;
    explicit Handle(std::shared_ptr<Outlet> o) : outlet(std::move(o)) {}
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() { outlet->finish(1000, ""); }
};
struct WebSocket::Handle {
    std::shared_ptr<Outlet> outlet;
    explicit Handle(std::shared_ptr<Outlet> o) : outlet(std::move(o)) {}
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() { outlet->finish(1001, "dropped"); }
};

bool Stream::write(std::string_view bytes) {
    return handle_ && handle_->outlet->write(bytes, WsOpcode::kBinary);
}
bool Stream::write_wait(std::string_view bytes, milliseconds timeout) {
    return handle_ && handle_->outlet->write_wait(bytes, WsOpcode::kBinary, timeout);
}
std::size_t Stream::buffered() const { return handle_ ? handle_->outlet->buffered() : 0; }
bool Stream::closed() const { return !handle_ || handle_->outlet->is_closed(); }
void Stream::on_writable(std::function<void()> callback) {
    const std::lock_guard lock(handle_->outlet->mutex);
    // The former one dies with the argument, after the lock: it may hold the last handle.
    if (!handle_->outlet->closed) handle_->outlet->on_writable.swap(callback);
}
void Stream::on_closed(std::function<void()> callback) {
    auto outlet = handle_->outlet;
    {
        const std::lock_guard lock(outlet->mutex);
        if (!outlet->closed) {
            outlet->on_stream_closed = std::move(callback);
            return;
        }
        if (std::exchange(outlet->reported, true)) return;
    }
    outlet->core->post(std::move(callback));
}
void Stream::close() {
    if (handle_) handle_->outlet->finish(1000, "");
}
void Stream::abort() {
    if (!handle_) return;
    auto outlet = handle_->outlet;
    {
        const std::lock_guard lock(outlet->mutex);
        if (outlet->closed || outlet->finishing) return;
        outlet->finishing = outlet->aborted = true;
        outlet->room.notify_all();
    }
    outlet->core->post([outlet] {
        if (auto connection = outlet->connection.lock(); connection && !outlet->closed)
            connection->shut();
    });
}

void WebSocket::start(WebSocketEvents events) {
    auto outlet = handle_->outlet;
    std::function<void(int, const std::string&)> late;
    {
        const std::lock_guard lock(outlet->mutex);
        if (!outlet->closed) {
            outlet->events = std::make_shared<WebSocketEvents>(std::move(events));
        } else if (!std::exchange(outlet->reported, true)) {
            late = std::move(events.on_closed);
        }
    }
    outlet->core->post([outlet, late = std::move(late)] {
        if (late) return late(outlet->close_code, outlet->close_reason);
        if (auto connection = outlet->connection.lock()) connection->start_web_socket();
    });
}
bool WebSocket::send_binary(std::string_view bytes) {
    return handle_ && handle_->outlet->write(bytes, WsOpcode::kBinary);
}
bool WebSocket::send_text(std::string_view text) {
    return handle_ && handle_->outlet->write(text, WsOpcode::kText);
}
bool WebSocket::send_binary_wait(std::string_view bytes, milliseconds timeout) {
    return handle_ && handle_->outlet->write_wait(bytes, WsOpcode::kBinary, timeout);
}
std::size_t WebSocket::buffered() const { return handle_ ? handle_->outlet->buffered() : 0; }
bool WebSocket::closed() const { return !handle_ || handle_->outlet->is_closed(); }
void WebSocket::pause() {
    if (auto connection = handle_->outlet->connection.lock()) {
        handle_->outlet->core->run([connection] { connection->set_paused(true); });
    }
}
void WebSocket::resume() {
    if (auto connection = handle_->outlet->connection.lock()) {
        handle_->outlet->core->post([connection] { connection->set_paused(false); });
    }
}
void WebSocket::close(int code, std::string_view reason) {
    if (handle_) handle_->outlet->finish(code, reason);
}

Responder::Responder(std::shared_ptr<detail::Exchange> exchange) : exchange_(std::move(exchange)) {}
Responder::Responder(Responder&&) noexcept = default;
Responder& Responder::operator=(Responder&& other) noexcept {
    if (this != &other) {
        Responder dropped(std::move(exchange_));
        exchange_ = std::move(other.exchange_);
    }
    return *this;
}
Responder::~Responder() {
    if (exchange_)
        exchange_->respond(detail::problem(
            500, "internal", "the request was dropped by a bug in the server", exchange_->id()
        ));
}
void Responder::respond(Response response) {
    if (auto exchange = std::exchange(exchange_, nullptr)) exchange->respond(std::move(response));
}
Stream Responder::start_stream(int status, std::string_view content_type, HeaderMap headers) {
    auto exchange = std::exchange(exchange_, nullptr);
    if (!exchange) return {};
    return Stream(std::make_shared<Stream::Handle>(
        exchange->start_stream(status, content_type, std::move(headers))
    ));
}
WebSocket Responder::upgrade(std::string_view protocol) {
    auto exchange = std::exchange(exchange_, nullptr);
    if (!exchange) return {};
    return WebSocket(std::make_shared<WebSocket::Handle>(exchange->upgrade(protocol)));
}
void Responder::on_abandoned(std::function<void()> callback) {
    if (exchange_) exchange_->on_abandoned(std::move(callback));
}

struct HttpServer::Impl {
    Impl(std::shared_ptr<Core> c, Listener l)
        : core(std::move(c)),
          listener(std::move(l)),
          acceptor(core->io),
          sweep(core->io),
          retry(core->io) {}

    void run();
    void arm_accept();
    void accept_some();
    void adopt(Fd fd, const sockaddr_storage& peer, socklen_t size);
    void arm_sweep();
    std::vector<std::shared_ptr<detail::Connection>> snapshot() const;
    void begin_stop(milliseconds grace);

    std::shared_ptr<Core> core;
    Listener listener;
    asio::posix::basic_stream_descriptor<asio::io_context::executor_type> acceptor;
    asio::basic_waitable_timer<
        std::chrono::steady_clock,
        asio::wait_traits<std::chrono::steady_clock>,
        asio::io_context::executor_type>
        sweep;
    asio::basic_waitable_timer<
        std::chrono::steady_clock,
        asio::wait_traits<std::chrono::steady_clock>,
        asio::io_context::executor_type>
        retry;
    SteadyTime stop_at = kNever;
    std::mutex stop_mutex;
    std::thread thread;
};

namespace {

std::string peer_name(const sockaddr_storage& peer, socklen_t size) {
    if (peer.ss_family == AF_UNIX) return "unix";
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> port{};
    getnameinfo(
        reinterpret_cast<const sockaddr*>(&peer),
        size,
        host.data(),
        host.size(),
        port.data(),
        port.size(),
        NI_NUMERICHOST | NI_NUMERICSERV
    );
    return std::string(host.data()) + ":" + port.data();
}

// Deadlines are seconds long: looking this often keeps them within a few per cent, for one pass
// over a map.
constexpr milliseconds kSweepEvery{250};
// While the process has no descriptor to spare.
constexpr milliseconds kAcceptRetry{100};

}  // namespace

void HttpServer::Impl::run() {
    core->io_thread.store(std::this_thread::get_id());
    arm_accept();
    arm_sweep();
    core->io.run();
    {
        const std::lock_guard lock(core->end_mutex);
        core->ended = true;
    }
    core->io.restart();
    core->io.poll();  // tasks posted while the loop ended
}

void HttpServer::Impl::arm_accept() {
    acceptor.async_wait(acceptor.wait_read, [this](detail::ErrorCode error) {
        if (!error && !core->stopping) accept_some();
    });
}

void HttpServer::Impl::accept_some() {
    // Not for ever: connections already here want their turn.
    for (int i = 0; i < 64; ++i) {
        sockaddr_storage peer{};
        socklen_t size = sizeof peer;
        Fd fd(accept4(
            acceptor.native_handle(),
            reinterpret_cast<sockaddr*>(&peer),
            &size,
            SOCK_NONBLOCK | SOCK_CLOEXEC
        ));
        if (fd) {
            adopt(std::move(fd), peer, size);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno == EAGAIN) break;
        retry.expires_after(kAcceptRetry);
        retry.async_wait([this](detail::ErrorCode error) {
            if (!error && !core->stopping) arm_accept();
        });
        return;
    }
    arm_accept();
}

void HttpServer::Impl::adopt(Fd fd, const sockaddr_storage& peer, socklen_t size) {
    core->accepted.fetch_add(1, std::memory_order_relaxed);
    if (core->connections.size() >= core->settings.max_connections) {
        core->refused.fetch_add(1, std::memory_order_relaxed);
        static constexpr std::string_view kBusy =
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: "
            "0\r\nConnection: close\r\n\r\n";
        [[maybe_unused]] const auto n =
            ::send(fd.get(), kBusy.data(), kBusy.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        return;
    }
    const auto number = ++core->next_connection;
    auto connection = std::make_shared<detail::Connection>(
        core, number, std::move(fd), peer.ss_family, peer_name(peer, size)
    );
    core->connections.emplace(number, connection);
    core->open.fetch_add(1, std::memory_order_relaxed);
    connection->start();
}

// A connection that ends removes itself, and its callbacks may end others.
std::vector<std::shared_ptr<detail::Connection>> HttpServer::Impl::snapshot() const {
    std::vector<std::shared_ptr<detail::Connection>> out;
    out.reserve(core->connections.size());
    for (const auto& [number, connection] : core->connections) out.push_back(connection);
    return out;
}

void HttpServer::Impl::arm_sweep() {
    sweep.expires_after(kSweepEvery);
    sweep.async_wait([this](detail::ErrorCode error) {
        if (error) return;
        const auto now = std::chrono::steady_clock::now();
        const bool force = now >= stop_at;
        for (const auto& connection : snapshot()) {
            force ? connection->shut(1001, "the server stops") : connection->check_deadline(now);
        }
        if (core->stopping && core->connections.empty()) return;
        arm_sweep();
    });
}

void HttpServer::Impl::begin_stop(milliseconds grace) {
    if (core->stopping) return;
    core->stopping = true;
    stop_at = std::chrono::steady_clock::now() + grace;
    detail::ErrorCode ignored;
    acceptor.close(ignored);
    retry.cancel();
    core->on_last_gone = [this] { sweep.cancel(); };
    for (const auto& connection : snapshot()) connection->wind_down();
    if (core->connections.empty()) sweep.cancel();
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::start(
    HttpServerSettings settings, Handler handler
) {
    BERTH_ASSIGN(auto listener, listen_on(settings.listen));
    auto core = std::make_shared<Core>(std::move(settings), std::move(handler));
    std::array<std::uint8_t, 4> noise{};
    Random::system().fill(noise);
    core->request_prefix =
        "q" + hex(std::string_view(reinterpret_cast<const char*>(noise.data()), noise.size())) +
        "-";
    auto impl = std::make_unique<Impl>(core, std::move(listener));
    impl->acceptor.assign(impl->listener.fd.release());
    impl->thread = std::thread([raw = impl.get()] {
        prctl(PR_SET_NAME, "http");
        raw->run();
    });
    return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::~HttpServer() { stop(milliseconds{0}); }

const std::string& HttpServer::address() const { return impl_->listener.address; }
std::string HttpServer::url() const {
    return impl_->listener.unix_socket ? address() : "http://" + address();
}

HttpServerStats HttpServer::stats() const {
    const auto& core = *impl_->core;
    return {
        core.accepted.load(),
        core.open.load(),
        core.requests.load(),
        core.malformed.load(),
        core.refused.load()};
}

void HttpServer::stop(milliseconds grace) {
    const std::lock_guard lock(impl_->stop_mutex);
    if (!impl_->thread.joinable()) return;
    impl_->core->run([impl = impl_.get(), grace] { impl->begin_stop(grace); });
    impl_->thread.join();
    impl_->core->on_last_gone = nullptr;
    if (impl_->listener.unix_socket) unlink(impl_->listener.address.c_str() + 5);
}

}  // namespace berth::net
