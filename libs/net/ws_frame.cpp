// SPDX-License-Identifier: Apache-2.0
// RFC 6455 section 5, strictly: what is not allowed closes the session.
#include "net/ws_frame.hpp"

#include <array>
#include <bit>
#include <cstring>

#include "core/text.hpp"

namespace berth::net {
namespace {

constexpr std::size_t kMaxControl = 125;
constexpr std::size_t kMaxReason = 123;

void append_big_endian(std::string& out, std::uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i)
        out.push_back(static_cast<char>((value >> (8U * static_cast<unsigned>(i))) & 0xFFU));
}

// XORs eight bytes at a time: a mask is four bytes, so two of them side by side keep the phase.
void apply_mask(char* data, std::size_t size, std::uint32_t mask) {
    std::array<unsigned char, 4> key{};
    std::memcpy(key.data(), &mask, 4);
    const std::uint64_t wide = (std::uint64_t{mask} << 32U) | mask;
    std::size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        std::uint64_t block = 0;
        std::memcpy(&block, data + i, 8);
        block ^= wide;
        std::memcpy(data + i, &block, 8);
    }
    for (; i < size; ++i)
        data[i] = static_cast<char>(static_cast<unsigned char>(data[i]) ^ key[i & 3U]);
}

// SHA-1, which the handshake prescribes; it proves nothing about security and is used for nothing
// else.
std::string sha1(std::string message) {
    std::array<std::uint32_t, 5> h{0x67452301U, 0xEFCDAB89U, 0x98BADCFEU, 0x10325476U, 0xC3D2E1F0U};
    const std::uint64_t bits = std::uint64_t{message.size()} * 8;
    message.push_back(static_cast<char>(0x80));
    while (message.size() % 64 != 56) message.push_back('\0');
    append_big_endian(message, bits, 8);
    for (std::size_t block = 0; block < message.size(); block += 64) {
        std::array<std::uint32_t, 80> w{};
        for (std::size_t i = 0; i < 16; ++i) {
            for (std::size_t b = 0; b < 4; ++b)
                w[i] = (w[i] << 8U) | static_cast<unsigned char>(message[block + i * 4 + b]);
        }
        for (std::size_t i = 16; i < 80; ++i)
            w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        auto [a, b, c, d, e] = h;
        for (std::size_t i = 0; i < 80; ++i) {
            std::uint32_t f = 0;
            std::uint32_t k = 0;
            if (i < 20) {
                f = (b & c) | (~b & d);
                k = 0x5A827999U;
            } else if (i < 40) {
                f = b ^ c ^ d;
                k = 0x6ED9EBA1U;
            } else if (i < 60) {
                f = (b & c) | (b & d) | (c & d);
                k = 0x8F1BBCDCU;
            } else {
                f = b ^ c ^ d;
                k = 0xCA62C1D6U;
            }
            const std::uint32_t next = std::rotl(a, 5) + f + e + k + w[i];
            e = d;
            d = c;
            c = std::rotl(b, 30);
            b = a;
            a = next;
        }
        h[0] += a;
        h[1] += b;
        h[2] += c;
        h[3] += d;
        h[4] += e;
    }
    std::string out;
    for (auto word : h) append_big_endian(out, word, 4);
    return out;
}

bool valid_close_code(int code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

}  // namespace

struct WsParser::Header {
    bool fin = false;
    WsOpcode opcode = WsOpcode::kContinuation;
    std::uint64_t size = 0;
    std::uint32_t mask = 0;
    std::size_t header_bytes = 0;
};

void append_ws_frame(
    std::string& out, WsOpcode opcode, std::string_view payload, std::optional<std::uint32_t> mask
) {
    const unsigned mask_bit = mask ? 0x80U : 0U;
    out.push_back(static_cast<char>(0x80U | static_cast<unsigned>(opcode)));
    if (payload.size() <= kMaxControl) {
        out.push_back(static_cast<char>(mask_bit | static_cast<unsigned>(payload.size())));
    } else if (payload.size() <= 0xFFFF) {
        out.push_back(static_cast<char>(mask_bit | 126U));
        append_big_endian(out, payload.size(), 2);
    } else {
        out.push_back(static_cast<char>(mask_bit | 127U));
        append_big_endian(out, payload.size(), 8);
    }
    if (mask) {
        std::array<char, 4> key{};
        std::memcpy(key.data(), &*mask, 4);
        out.append(key.data(), key.size());
    }
    const auto start = out.size();
    out.append(payload);
    if (mask) apply_mask(out.data() + start, payload.size(), *mask);
}

std::string ws_close_payload(int code, std::string_view reason) {
    std::string out;
    if (code == 1005 || code == 1006) return out;
    append_big_endian(out, static_cast<std::uint64_t>(code), 2);
    auto cut = reason.substr(0, kMaxReason);
    // Not inside a character: the peer must be able to read it.
    while (!cut.empty() && !is_utf8(cut)) cut.remove_suffix(1);
    out.append(cut);
    return out;
}

std::string ws_accept_key(std::string_view key) {
    return base64(sha1(std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
}

bool is_ws_key(std::string_view key) {
    if (key.size() != 24 || !key.ends_with("==")) return false;
    for (char c : key.substr(0, 22)) {
        const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '+' || c == '/';
        if (!ok) return false;
    }
    return true;
}

void WsParser::feed(std::string_view bytes) {
    if (dead_) return;
    if (at_ > 0) {
        in_.erase(0, at_);
        at_ = 0;
    }
    in_.append(bytes);
}

WsEvent WsParser::violation(int code, std::string_view reason) {
    dead_ = true;
    in_.clear();
    at_ = 0;
    message_.clear();
    return {WsEvent::Kind::kViolation, std::string(reason), false, code};
}

WsParser::Parse WsParser::parse_header(Header& header) const {
    const auto* p = reinterpret_cast<const unsigned char*>(in_.data()) + at_;
    const std::size_t have = in_.size() - at_;
    if (have < 2) return Parse::kNeedMore;
    header.fin = (p[0] & 0x80U) != 0;
    const unsigned opcode = p[0] & 0x0FU;
    header.opcode = static_cast<WsOpcode>(opcode);
    const bool masked = (p[1] & 0x80U) != 0;
    const bool known = opcode <= 2 || (opcode >= 8 && opcode <= 10);
    if ((p[0] & 0x70U) != 0 || !known || masked != (role_ == Role::kServer))
        return Parse::kViolation;
    header.size = p[1] & 0x7FU;
    header.header_bytes = 2;
    if (opcode >= 8 && (!header.fin || header.size > kMaxControl)) return Parse::kViolation;
    const std::size_t length_bytes = header.size == 126 ? 2 : header.size == 127 ? 8 : 0;
    if (have < 2 + length_bytes + (masked ? 4U : 0U)) return Parse::kNeedMore;
    if (length_bytes > 0) {
        header.size = 0;
        for (std::size_t i = 0; i < length_bytes; ++i) header.size = (header.size << 8U) | p[2 + i];
        if ((header.size >> 63U) != 0) return Parse::kViolation;
        if (header.size <= (length_bytes == 2 ? 125U : 0xFFFFU)) return Parse::kViolation;
        header.header_bytes += length_bytes;
    }
    if (masked) {
        std::memcpy(&header.mask, p + header.header_bytes, 4);
        header.header_bytes += 4;
    }
    return Parse::kOk;
}

std::optional<WsEvent> WsParser::next() {
    while (!dead_) {
        Header header;
        const auto parsed = parse_header(header);
        if (parsed == Parse::kNeedMore) return std::nullopt;
        if (parsed == Parse::kViolation) return violation(1002, "malformed frame");
        // Refused by its announced size, before any of it is held.
        if (header.size > max_message_ || message_.size() + header.size > max_message_) {
            return violation(1009, "message too large");
        }
        if (in_.size() - at_ < header.header_bytes + header.size) return std::nullopt;
        if (auto event = take_frame(header)) return event;
    }
    return std::nullopt;
}

std::optional<WsEvent> WsParser::take_frame(const Header& header) {
    char* payload = in_.data() + at_ + header.header_bytes;
    const auto size = static_cast<std::size_t>(header.size);
    if (role_ == Role::kServer) apply_mask(payload, size, header.mask);
    const std::string_view bytes(payload, size);
    at_ += header.header_bytes + size;
    switch (header.opcode) {
        case WsOpcode::kPing: return WsEvent{WsEvent::Kind::kPing, std::string(bytes), false, 0};
        case WsOpcode::kPong: return WsEvent{WsEvent::Kind::kPong, std::string(bytes), false, 0};
        case WsOpcode::kClose: {
            int code = 1005;
            if (size == 1) return violation(1002, "malformed close frame");
            if (size >= 2)
                code = static_cast<unsigned char>(bytes[0]) * 256 +
                       static_cast<unsigned char>(bytes[1]);
            if (size >= 2 && !valid_close_code(code)) return violation(1002, "bad close code");
            std::string reason(size >= 2 ? bytes.substr(2) : std::string_view());
            if (!is_utf8(reason)) return violation(1007, "close reason is not UTF-8");
            dead_ = true;
            return WsEvent{WsEvent::Kind::kClose, std::move(reason), false, code};
        }
        case WsOpcode::kContinuation:
            if (!in_message_) return violation(1002, "continuation of nothing");
            break;
        default:
            if (in_message_) return violation(1002, "message inside a message");
            in_message_ = true;
            is_text_ = header.opcode == WsOpcode::kText;
    }
    message_.append(bytes);
    return header.fin ? finish_message() : std::nullopt;
}

std::optional<WsEvent> WsParser::finish_message() {
    if (is_text_ && !is_utf8(message_)) return violation(1007, "text is not UTF-8");
    in_message_ = false;
    WsEvent event{WsEvent::Kind::kMessage, std::move(message_), is_text_, 0};
    message_.clear();
    return event;
}

}  // namespace berth::net
