// SPDX-License-Identifier: Apache-2.0
// The WebSocket client: the caller's thread writes, one thread of its own reads. No event loop: a
// frame is one write(2) after send_binary() is called.
#include "net/ws_client.hpp"

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "core/random.hpp"
#include "core/text.hpp"
#include "net/posix_socket.hpp"
#include "net/ws_frame.hpp"

namespace berth::net {
namespace {

constexpr std::size_t kReadChunk = 64U << 10U;
constexpr std::size_t kMaxUpgradeHead = 64U << 10U;
constexpr milliseconds kCloseWait{1'000};
constexpr milliseconds kControlWait{5'000};  // for a pong or close to be written
constexpr int kSilentPings = 3;

struct Head {
    int status = 0;
    HeaderMap headers;
};

// The answer to the handshake; only what RFC 6455 section 4.1 asks to be checked is understood.
Result<Head> parse_head(std::string_view text) {
    Head head;
    const auto lines = split(text, '\n');
    if (lines.empty() || !lines[0].starts_with("HTTP/1.1 ") || lines[0].size() < 12) {
        return internal("bad_response", "the server does not speak HTTP/1.1");
    }
    for (char c : lines[0].substr(9, 3)) {
        if (c < '0' || c > '9')
            return internal("bad_response", "the server does not speak HTTP/1.1");
        head.status = head.status * 10 + (c - '0');
    }
    for (std::size_t i = 1; i < lines.size(); ++i) {
        auto line = lines[i];
        if (line.ends_with('\r')) line.remove_suffix(1);
        const auto colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        auto value = line.substr(colon + 1);
        while (value.starts_with(' ')) value.remove_prefix(1);
        head.headers.add(std::string(line.substr(0, colon)), std::string(value));
    }
    return head;
}

}  // namespace

struct WsClient::Impl {
    Interrupter interrupter;
    std::unique_ptr<Wire> wire;
    WsClientOptions options;
    WsClientEvents events;
    WsParser parser;
    std::string early;  // came with the handshake

    std::mutex write_mutex;
    std::string frame;        // guarded by write_mutex
    bool close_sent = false;  // guarded by write_mutex
    std::mutex pong_mutex;
    std::string pong;       // guarded by pong_mutex: owed while another thread writes
    bool pong_due = false;  // guarded by pong_mutex

    std::mutex state_mutex;
    std::condition_variable state_changed;
    bool ended = false;  // guarded by state_mutex: on_closed has returned
    std::atomic<bool> closed{false};
    std::atomic<SteadyTime::rep> close_by{0};
    std::thread thread;

    Impl(WsClientOptions o, WsClientEvents e)
        : options(std::move(o)),
          events(std::move(e)),
          parser(WsParser::Role::kClient, options.max_message) {}

    Result<void> shake_hands(
        const BaseUrl& url, std::string_view path, SteadyTime until, WsRefusal* refusal
    );
    void read_refusal(const Head& head, std::string body, SteadyTime until, WsRefusal* refusal);
    Result<void> send(WsOpcode opcode, std::string_view bytes, milliseconds timeout);
    Result<void> send_locked(WsOpcode opcode, std::string_view bytes, SteadyTime until);
    void answer_ping(const std::string& payload);
    void send_owed_pong();
    void read_loop();
    bool handle(WsEvent& event, int& code, std::string& reason);
    void start_close(int code, std::string_view reason);
};

Result<void> WsClient::Impl::shake_hands(
    const BaseUrl& url, std::string_view path, SteadyTime until, WsRefusal* refusal
) {
    std::array<std::uint8_t, 16> noise{};
    Random::system().fill(noise);
    std::string key =
        base64url(std::string_view(reinterpret_cast<const char*>(noise.data()), noise.size()));
    for (char& c : key) c = c == '-' ? '+' : c == '_' ? '/' : c;
    key += "==";
    std::string request = "GET " + url.prefix + std::string(path) +
                          " HTTP/1.1\r\nHost: " + url.authority() +
                          "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
                          "13\r\nSec-WebSocket-Key: " +
                          key;
    for (const auto& [name, value] : options.headers.fields())
        request += "\r\n" + name + ": " + value;
    BERTH_TRY(wire->write(request + "\r\n\r\n", until));
    std::string in;
    std::size_t end = std::string::npos;
    while ((end = in.find("\r\n\r\n")) == std::string::npos) {
        if (in.size() > kMaxUpgradeHead)
            return internal("bad_response", "the server's head is too large");
        std::array<char, 4096> piece{};
        BERTH_ASSIGN(const auto got, wire->read(piece.data(), piece.size(), until));
        if (got == 0)
            return unavailable(
                "connection_lost", "the server closed the connection during the handshake"
            );
        in.append(piece.data(), got);
    }
    BERTH_ASSIGN(const auto head, parse_head(std::string_view(in).substr(0, end)));
    in.erase(0, end + 4);
    if (head.status != 101) {
        read_refusal(head, std::move(in), until, refusal);
        return unavailable(
            "handshake_refused",
            "the server answered " + std::to_string(head.status) + " to the WebSocket handshake"
        );
    }
    if (head.headers.get("Sec-WebSocket-Accept") != ws_accept_key(key)) {
        return internal("bad_response", "the server's WebSocket handshake is wrong");
    }
    early = std::move(in);
    return {};
}

void WsClient::Impl::read_refusal(
    const Head& head, std::string body, SteadyTime until, WsRefusal* refusal
) {
    if (refusal == nullptr) return;
    refusal->status = head.status;
    const auto length = std::min<std::size_t>(
        std::strtoul(std::string(head.headers.get("Content-Length")).c_str(), nullptr, 10),
        kMaxUpgradeHead
    );
    while (body.size() < length) {
        std::array<char, 4096> piece{};
        const auto got = wire->read(piece.data(), piece.size(), until);
        if (!got || *got == 0) break;
        body.append(piece.data(), *got);
    }
    refusal->body = std::move(body);
}

Result<void> WsClient::Impl::send_locked(
    WsOpcode opcode, std::string_view bytes, SteadyTime until
) {
    if (close_sent || closed.load()) return unavailable("closed", "the connection is closed");
    std::uint32_t mask = 0;
    // Masks guard against confused proxies, not against readers; they still must not be
    // predictable.
    std::array<std::uint8_t, 4> noise{};
    Random::system().fill(noise);
    std::memcpy(&mask, noise.data(), sizeof mask);
    frame.clear();
    append_ws_frame(frame, opcode, bytes, mask);
    auto done = wire->write(frame, until);
    if (frame.capacity() > (1U << 20U)) std::string().swap(frame);
    if (!done) {
        // Part of a frame may be out: nothing sensible can follow it.
        close_sent = true;
        wire->shut_down();
    }
    return done;
}

Result<void> WsClient::Impl::send(WsOpcode opcode, std::string_view bytes, milliseconds timeout) {
    {
        const std::lock_guard lock(write_mutex);
        BERTH_TRY(send_locked(opcode, bytes, std::chrono::steady_clock::now() + timeout));
    }
    send_owed_pong();
    return {};
}

// The reading thread must not wait for a writer that waits for the server: the server may be
// waiting for us to read. So the pong is owed and whoever holds the pen next writes it.
void WsClient::Impl::answer_ping(const std::string& payload) {
    {
        const std::lock_guard lock(pong_mutex);
        pong = payload;
        pong_due = true;
    }
    send_owed_pong();
}

void WsClient::Impl::send_owed_pong() {
    const std::unique_lock lock(write_mutex, std::try_to_lock);
    if (!lock.owns_lock()) return;
    std::string payload;
    {
        const std::lock_guard owed(pong_mutex);
        if (!std::exchange(pong_due, false)) return;
        payload = pong;
    }
    (void)send_locked(WsOpcode::kPong, payload, std::chrono::steady_clock::now() + kControlWait);
}

void WsClient::Impl::start_close(int code, std::string_view reason) {
    const std::lock_guard lock(write_mutex);
    if (close_sent || closed.load()) return;
    const auto now = std::chrono::steady_clock::now();
    (void)send_locked(WsOpcode::kClose, ws_close_payload(code, reason), now + kCloseWait);
    close_sent = true;
    close_by.store((std::chrono::steady_clock::now() + kControlWait).time_since_epoch().count());
}

// True while the session goes on.
bool WsClient::Impl::handle(WsEvent& event, int& code, std::string& reason) {
    switch (event.kind) {
        case WsEvent::Kind::kMessage:
            if (events.on_message) events.on_message(event.payload, event.is_text);
            return true;
        case WsEvent::Kind::kPing: answer_ping(event.payload); return true;
        case WsEvent::Kind::kPong: return true;
        case WsEvent::Kind::kClose:
        case WsEvent::Kind::kViolation:
            code = event.code;
            reason = std::move(event.payload);
            start_close(
                code == 1005 ? 1000 : code, event.kind == WsEvent::Kind::kViolation ? reason : ""
            );
            return false;
    }
    return false;
}

void WsClient::Impl::read_loop() {
    int code = 1006;
    std::string reason = "the connection was lost";
    std::vector<char> buffer(kReadChunk);
    int silent = 0;
    parser.feed(early);
    bool open = true;
    while (open) {
        while (open) {
            auto event = parser.next();
            if (!event) break;
            open = handle(*event, code, reason);
        }
        if (!open) break;
        const auto close_deadline = close_by.load();
        const auto until = close_deadline != 0
                               ? SteadyTime(SteadyTime::duration(close_deadline))
                               : std::chrono::steady_clock::now() + options.ping_every;
        auto got = wire->read(buffer.data(), buffer.size(), until);
        if (got && *got > 0) {
            silent = 0;
            parser.feed({buffer.data(), *got});
            continue;
        }
        if (got || got.error().code != "timeout") break;
        if (close_by.load() != 0 && close_deadline != 0) break;  // our close was not answered
        if (++silent > kSilentPings) {
            reason = "the server is silent";
            break;
        }
        const std::unique_lock lock(write_mutex, std::try_to_lock);
        if (lock.owns_lock())
            (void)send_locked(WsOpcode::kPing, {}, std::chrono::steady_clock::now() + kControlWait);
    }
    closed.store(true);
    wire->shut_down();
    if (events.on_closed) events.on_closed(code, reason);
    const std::lock_guard lock(state_mutex);
    ended = true;
    state_changed.notify_all();
}

WsClient::WsClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<WsClient>> WsClient::connect(
    std::string_view base_url,
    std::string_view path,
    WsClientOptions options,
    WsClientEvents events,
    WsRefusal* refusal
) {
    BERTH_ASSIGN(const auto url, parse_base_url(base_url));
    const auto until = std::chrono::steady_clock::now() + options.connect_timeout;
    auto impl = std::make_unique<Impl>(std::move(options), std::move(events));
    BERTH_ASSIGN(impl->wire, open_wire(url, until, &impl->interrupter));
    BERTH_TRY(impl->shake_hands(url, path, until, refusal));
    impl->thread = std::thread([raw = impl.get()] { raw->read_loop(); });
    return std::unique_ptr<WsClient>(new WsClient(std::move(impl)));
}

WsClient::~WsClient() {
    impl_->start_close(1000, "");
    wait_closed(kCloseWait);
    impl_->interrupter.fire();
    impl_->wire->shut_down();
    impl_->thread.join();
}

Result<void> WsClient::send_binary(std::string_view bytes, milliseconds timeout) {
    return impl_->send(WsOpcode::kBinary, bytes, timeout);
}
Result<void> WsClient::send_text(std::string_view text, milliseconds timeout) {
    return impl_->send(WsOpcode::kText, text, timeout);
}
void WsClient::close(int code, std::string_view reason) { impl_->start_close(code, reason); }
bool WsClient::closed() const { return impl_->closed.load(); }

bool WsClient::wait_closed(milliseconds timeout) {
    std::unique_lock lock(impl_->state_mutex);
    return impl_->state_changed.wait_for(lock, timeout, [&] { return impl_->ended; });
}

}  // namespace berth::net
