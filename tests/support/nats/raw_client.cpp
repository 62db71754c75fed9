// SPDX-License-Identifier: Apache-2.0
// The few lines of the NATS protocol a test needs, blocking and with deadlines.
#include "support/nats/raw_client.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <stdexcept>

#include "core/json.hpp"
#include "core/text.hpp"

namespace berth::testing {

using Steady = std::chrono::steady_clock;

RawNatsClient::RawNatsClient(int port, const Login& login, std::chrono::milliseconds patience)
    : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), patience_(patience) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
        0) {
        throw std::runtime_error("no NATS server on port " + std::to_string(port));
    }
    const int on =
        1;  // a PUB and its PING are two writes: with Nagle's algorithm each pair would wait 40 ms
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const auto info = read_line(Steady::now() + patience_);
    if (!info || !info->starts_with("INFO "))
        throw std::runtime_error("no INFO from the NATS server");
    const auto fields = Json::parse(std::string_view(*info).substr(5));
    if (!fields) throw std::runtime_error("INFO is no JSON");
    Json connect = Json::object();
    connect.set("verbose", false)
        .set("pedantic", false)
        .set("protocol", 1)
        .set("headers", true)
        .set("no_responders", true);
    if (!login.jwt.empty()) {
        connect.set("jwt", login.jwt)
            .set("sig", base64url(login.sign(fields->string_or("nonce", ""))));
    }
    send("CONNECT " + connect.dump() + "\r\n");
    settle();
}

void RawNatsClient::send(std::string_view bytes) {
    while (!bytes.empty() && !closed_) {
        const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) {
            closed_ = true;
            return;
        }
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

bool RawNatsClient::fill(Steady::time_point until) {
    if (closed_) return false;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - Steady::now()).count();
    pollfd wait{socket_.get(), POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(std::max<long long>(left, 0))) != 1) return false;
    char chunk[65536];
    const ssize_t got = ::recv(socket_.get(), chunk, sizeof chunk, 0);
    if (got <= 0) {
        closed_ = true;
        return false;
    }
    buffer_.append(chunk, static_cast<std::size_t>(got));
    return true;
}

std::optional<std::string> RawNatsClient::read_line(Steady::time_point until) {
    for (;;) {
        if (const auto end = buffer_.find("\r\n"); end != std::string::npos) {
            std::string line = buffer_.substr(0, end);
            buffer_.erase(0, end + 2);
            return line;
        }
        if (!fill(until)) return std::nullopt;
    }
}

/// Reads one protocol line, keeps messages and errors, answers PING; returns the line.
std::optional<std::string> RawNatsClient::step(Steady::time_point until) {
    auto line = read_line(until);
    if (!line) return line;
    if (*line == "PING") send("PONG\r\n");
    if (line->starts_with("-ERR")) errors_.push_back(*line);
    const bool with_headers = line->starts_with("HMSG ");
    if (!with_headers && !line->starts_with("MSG ")) return line;
    // MSG <subject> <sid> [reply] <size>, HMSG <subject> <sid> [reply] <header size> <size>
    const auto words = split(*line, ' ');
    const std::size_t numbers = with_headers ? 2 : 1;
    const std::size_t size = std::stoul(std::string(words.back()));
    const std::size_t skip = with_headers ? std::stoul(std::string(words[words.size() - 2])) : 0;
    while (buffer_.size() < size + 2) {
        if (!fill(until)) return std::nullopt;
    }
    inbox_.push_back(
        {std::string(words[1]),
         words.size() > 3 + numbers ? std::string(words[3]) : "",
         buffer_.substr(skip, size - skip)}
    );
    buffer_.erase(0, size + 2);
    return line;
}

std::vector<std::string> RawNatsClient::settle() {
    const std::size_t before = errors_.size();
    send("PING\r\n");
    const auto until = Steady::now() + patience_;
    for (auto line = step(until); line && *line != "PONG"; line = step(until)) {
    }
    return {errors_.begin() + static_cast<std::ptrdiff_t>(before), errors_.end()};
}

std::vector<std::string> RawNatsClient::publish(
    std::string_view subject, std::string_view payload, std::string_view reply
) {
    std::string frame = "PUB " + std::string(subject) + " ";
    if (!reply.empty()) frame += std::string(reply) + " ";
    frame += std::to_string(payload.size()) + "\r\n" + std::string(payload) + "\r\n";
    send(frame);
    return settle();
}

std::vector<std::string> RawNatsClient::subscribe(std::string_view subject) {
    send("SUB " + std::string(subject) + " " + std::to_string(++subscriptions_) + "\r\n");
    return settle();
}

std::optional<std::string> RawNatsClient::request(
    std::string_view subject, std::string_view payload, std::string_view inbox
) {
    publish(subject, payload, inbox);
    for (const auto until = Steady::now() + patience_; Steady::now() < until && !closed_;) {
        for (auto it = inbox_.begin(); it != inbox_.end(); ++it) {
            if (it->subject != inbox) continue;
            std::string answer = std::move(it->payload);
            inbox_.erase(it);
            return answer;
        }
        step(until);
    }
    return std::nullopt;
}

std::optional<RawNatsClient::Received> RawNatsClient::next(std::chrono::milliseconds patience) {
    const auto until = Steady::now() + patience;
    while (inbox_.empty() && Steady::now() < until && !closed_) step(until);
    if (inbox_.empty()) return std::nullopt;
    Received first = std::move(inbox_.front());
    inbox_.erase(inbox_.begin());
    return first;
}

bool RawNatsClient::await_close(std::chrono::milliseconds patience) {
    const auto until = Steady::now() + patience;
    while (!closed_ && Steady::now() < until) step(until);
    return closed_;
}

}  // namespace berth::testing
