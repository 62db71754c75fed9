// SPDX-License-Identifier: Apache-2.0
// WebSocket framing (RFC 6455) without any I/O: server and client share it, and a fuzzer can reach
// all of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace berth::net {

enum class WsOpcode : std::uint8_t {
    kContinuation = 0,
    kText = 1,
    kBinary = 2,
    kClose = 8,
    kPing = 9,
    kPong = 10
};

/// Appends one whole frame. `mask`: a client's four random bytes; a server passes nothing.
void append_ws_frame(
    std::string& out,
    WsOpcode opcode,
    std::string_view payload,
    std::optional<std::uint32_t> mask = {}
);

/// The payload of a close frame; the reason is cut to 123 bytes. A code of 1005 or 1006 gives an
/// empty payload.
std::string ws_close_payload(int code, std::string_view reason);

/// Sec-WebSocket-Accept for a Sec-WebSocket-Key.
std::string ws_accept_key(std::string_view key);
/// True for a Sec-WebSocket-Key: base64 of 16 bytes.
bool is_ws_key(std::string_view key);

/// What the peer sent: a whole message, a control frame, or the violation that ends the session.
struct WsEvent {
    enum class Kind { kMessage, kPing, kPong, kClose, kViolation };
    Kind kind = Kind::kMessage;
    std::string payload;  ///< of a close or violation: the reason
    bool is_text = false;
    int code = 0;  ///< of a close (1005: none given) or a violation (1002, 1007, 1009)
};

/// Takes bytes as they come and gives events. Holds at most one message and what was fed last. One
/// thread.
class WsParser {
public:
    enum class Role { kServer, kClient };
    WsParser(Role role, std::size_t max_message) : role_(role), max_message_(max_message) {}

    void feed(std::string_view bytes);
    /// The next event, or nothing until more is fed. After a violation or a close nothing comes any
    /// more.
    std::optional<WsEvent> next();

private:
    struct Header;
    enum class Parse { kNeedMore, kOk, kViolation };
    Parse parse_header(Header& header) const;
    std::optional<WsEvent> take_frame(const Header& header);
    std::optional<WsEvent> finish_message();
    WsEvent violation(int code, std::string_view reason);

    Role role_;
    std::size_t max_message_;
    std::string in_;
    std::size_t at_ = 0;
    std::string message_;
    bool in_message_ = false;
    bool is_text_ = false;
    bool dead_ = false;
};

}  // namespace berth::net
