// SPDX-License-Identifier: Apache-2.0
// The WebSocket half of a connection: handshake, events, keep-alive and the closing handshake.
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "net/http_connection.hpp"

namespace berth::net::detail {

void Connection::begin_web_socket(std::shared_ptr<Outlet> outlet, const std::string& protocol) {
    if (state_ != State::kHandling) return outlet->end(1006, "");
    if (!is_ws_key(ws_key_)) {
        outlet->end(1006, "");
        return refuse(
            426, "upgrade_required", "this address speaks WebSocket (RFC 6455, version 13)"
        );
    }
    abandoned_ = nullptr;
    keep_alive_ = true;
    HeaderMap headers{
        {"Upgrade", "websocket"},
        {"Connection", "Upgrade"},
        {"Sec-WebSocket-Accept", ws_accept_key(ws_key_)}};
    if (!protocol.empty()) headers.add("Sec-WebSocket-Protocol", protocol);
    append_head(101, {}, headers, {}, std::nullopt, false);
    outlet_ = std::move(outlet);
    state_ = State::kWebSocket;
    deadline_ = kNever;
    ws_heard_ = ws_pinged_ = std::chrono::steady_clock::now();
    ws_parser_ = std::make_unique<WsParser>(WsParser::Role::kServer, core_->settings.max_message);
    ws_parser_->feed(in_);
    std::string().swap(in_);
    if (input_ended_) return shut();
    flush();
    if (winding_down_ && outlet_) outlet_->finish(1001, "the server stops");
}

void Connection::start_web_socket() {
    if (state_ != State::kWebSocket || ws_started_) return;
    ws_started_ = true;
    process_web_socket();
    arm_read();
}

void Connection::set_paused(bool paused) {
    if (state_ != State::kWebSocket || ws_paused_ == paused) return;
    ws_paused_ = paused;
    if (paused) return;
    process_web_socket();
    arm_read();
}

void Connection::process_web_socket() {
    if (processing_) return;  // resume() from inside on_message: the loop below goes on
    processing_ = true;
    const auto self = shared_from_this();
    while (state_ == State::kWebSocket && ws_started_ && !ws_paused_ && !ws_peer_closed_) {
        auto event = ws_parser_->next();
        if (!event) break;
        on_ws_event(*event);
    }
    processing_ = false;
}

void Connection::on_ws_event(WsEvent& event) {
    const auto outlet = outlet_;
    switch (event.kind) {
        case WsEvent::Kind::kMessage: {
            std::shared_ptr<WebSocketEvents> events;
            {
                const std::lock_guard lock(outlet->mutex);
                if (!outlet->finishing) events = outlet->events;
            }
            if (events && events->on_message) events->on_message(event.payload, event.is_text);
            return;
        }
        case WsEvent::Kind::kPing: outlet->write_control(WsOpcode::kPong, event.payload); return;
        case WsEvent::Kind::kPong: return;
        case WsEvent::Kind::kClose:
        case WsEvent::Kind::kViolation:
            ws_peer_closed_ = true;
            ws_close_code_ = event.code;
            ws_close_reason_ = event.payload;
            // A violation is answered with its code; a close is echoed. Bounded: the peer may not
            // read.
            set_deadline(kCloseHandshake);
            outlet->finish(event.code == 1005 ? 1000 : event.code, event.payload);
            flush();
            return;
    }
}

// Acknowledgements of its kernel prove a peer's machine alive even while its program does not read:
// a stalled reader is kept, a vanished one is not.
bool Connection::peer_machine_silent() {
    if (!is_tcp_) return false;
    tcp_info info{};
    socklen_t size = sizeof info;
    if (getsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return true;
    return milliseconds(info.tcpi_last_ack_recv) > core_->settings.peer_silent;
}

void Connection::check_web_socket(SteadyTime now) {
    const auto& settings = core_->settings;
    if (now - ws_pinged_ < settings.ping_every) return;
    if (now - ws_heard_ > settings.peer_silent && peer_machine_silent())
        return shut(1006, "the peer is gone");
    ws_pinged_ = now;
    // Behind a backlog a ping tells nothing and only grows it.
    if (outlet_->buffered() == 0) outlet_->write_control(WsOpcode::kPing, {});
}

}  // namespace berth::net::detail
