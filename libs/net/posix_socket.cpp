// SPDX-License-Identifier: Apache-2.0
// Plain sockets for the listeners and the blocking clients.
#include "net/posix_socket.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace berth::net {
namespace {

constexpr int kBacklog = 1024;  // bursts of connects while the I/O thread is busy

Error listen_failed(const std::string& listen, std::string_view why) {
    return unavailable("listen_failed", "cannot listen on " + listen + ": " + std::string(why));
}
Error connection_lost(std::string_view why) {
    return unavailable("connection_lost", "the connection was lost: " + std::string(why));
}

Result<sockaddr_un> unix_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return invalid("bad_url", "the socket path is longer than 107 bytes");
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

struct AddressList {
    addrinfo* head = nullptr;
    AddressList() = default;
    AddressList(const AddressList&) = delete;
    AddressList& operator=(const AddressList&) = delete;
    ~AddressList() {
        if (head != nullptr) freeaddrinfo(head);
    }
};

Result<void> resolve(
    const std::string& host, const std::string& port, bool passive, AddressList& out
) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = (passive ? AI_PASSIVE : AI_ADDRCONFIG) | AI_NUMERICSERV;
    int code = getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &out.head);
    if (code != 0 && !passive) {
        // AI_ADDRCONFIG knows no loopback-only host (RFC 3493): ask again without it.
        hints.ai_flags = AI_NUMERICSERV;
        code = getaddrinfo(host.c_str(), port.c_str(), &hints, &out.head);
    }
    if (code != 0)
        return unavailable(
            "connect_failed", "cannot resolve '" + host + "': " + gai_strerror(code)
        );
    return {};
}

std::string local_address(int fd) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> port{};
    getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size);
    getnameinfo(
        reinterpret_cast<sockaddr*>(&storage),
        size,
        host.data(),
        host.size(),
        port.data(),
        port.size(),
        NI_NUMERICHOST | NI_NUMERICSERV
    );
    const std::string name = host.data();
    return (storage.ss_family == AF_INET6 ? "[" + name + "]" : name) + ":" + port.data();
}

Result<Listener> listen_unix(const std::string& listen, const std::string& path) {
    BERTH_ASSIGN(auto address, unix_address(path));
    const auto* where = reinterpret_cast<const sockaddr*>(&address);
    Listener out{
        Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)), "unix:" + path, true};
    if (!out.fd) return listen_failed(listen, std::strerror(errno));
    if (bind(out.fd.get(), where, sizeof address) != 0) {
        if (errno != EADDRINUSE) return listen_failed(listen, std::strerror(errno));
        // A file left by a process that died is replaced; one that answers is not ours to take.
        const Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (connect(probe.get(), where, sizeof address) == 0)
            return listen_failed(listen, "another process serves it");
        unlink(path.c_str());
        if (bind(out.fd.get(), where, sizeof address) != 0)
            return listen_failed(listen, std::strerror(errno));
    }
    if (::listen(out.fd.get(), kBacklog) != 0) return listen_failed(listen, std::strerror(errno));
    return out;
}

class SocketWire final : public Wire {
public:
    SocketWire(Fd fd, const Interrupter* interrupter)
        : fd_(std::move(fd)), interrupter_(interrupter) {}

    Result<std::size_t> read(char* data, std::size_t size, SteadyTime deadline) override {
        while (true) {
            BERTH_TRY(go_on(interrupter_));
            const auto got = ::recv(fd_.get(), data, size, 0);
            if (got >= 0) return static_cast<std::size_t>(got);
            if (errno == EINTR) continue;
            if (errno != EAGAIN) return connection_lost(std::strerror(errno));
            BERTH_TRY(wait_for(fd_.get(), POLLIN, deadline, interrupter_));
        }
    }

    Result<void> write(std::string_view bytes, SteadyTime deadline) override {
        while (!bytes.empty()) {
            BERTH_TRY(go_on(interrupter_));
            const auto put = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (put >= 0) {
                bytes.remove_prefix(static_cast<std::size_t>(put));
                continue;
            }
            if (errno == EINTR) continue;
            if (errno != EAGAIN) return connection_lost(std::strerror(errno));
            BERTH_TRY(wait_for(fd_.get(), POLLOUT, deadline, interrupter_));
        }
        return {};
    }

    bool reusable() override {
        char byte = 0;
        return ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
    }
    void shut_down() override { ::shutdown(fd_.get(), SHUT_RDWR); }

private:
    Fd fd_;
    const Interrupter* interrupter_;
};

Result<Fd> connect_to(
    int family,
    const sockaddr* address,
    socklen_t size,
    SteadyTime deadline,
    const Interrupter* interrupter
) {
    Fd fd(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return unavailable("connect_failed", std::strerror(errno));
    if (family != AF_UNIX) {
        const int on = 1;
        setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    if (connect(fd.get(), address, size) == 0) return fd;
    if (errno != EINPROGRESS && errno != EAGAIN)
        return unavailable("connect_failed", std::strerror(errno));
    BERTH_TRY(wait_for(fd.get(), POLLOUT, deadline, interrupter));
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return unavailable("connect_failed", std::strerror(error));
    return fd;
}

Result<Fd> connect_tcp(const BaseUrl& url, SteadyTime deadline, const Interrupter* interrupter) {
    AddressList list;
    BERTH_TRY(resolve(url.host, url.port, false, list));
    Error last = unavailable("connect_failed", "no address");
    for (const auto* it = list.head; it != nullptr; it = it->ai_next) {
        auto fd = connect_to(it->ai_family, it->ai_addr, it->ai_addrlen, deadline, interrupter);
        if (fd) return fd;
        last = fd.error();
        if (last.code == "canceled") break;
    }
    if (last.code != "canceled")
        last.message = "cannot connect to " + url.authority() + ": " + last.message;
    return last;
}

}  // namespace

Interrupter::Interrupter() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void Interrupter::fire() {
    fired_.store(true, std::memory_order_release);
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);
}

Result<void> go_on(const Interrupter* interrupter) {
    if (interrupter != nullptr && interrupter->fired())
        return Error{Fault::kCanceled, "canceled", "canceled", {}};
    return {};
}

Result<void> wait_for(int fd, short events, SteadyTime until, const Interrupter* interrupter) {
    std::array<pollfd, 2> fds{
        {{fd, events, 0}, {interrupter != nullptr ? interrupter->fd() : -1, POLLIN, 0}}};
    while (true) {
        int wait = -1;
        if (until != kNever) {
            const auto left =
                std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now()).count();
            if (left <= 0) return deadline("timeout", "no answer in time");
            wait = static_cast<int>(std::min<long long>(left, 3'600'000));
        }
        const int ready = poll(fds.data(), fds.size(), wait);
        BERTH_TRY(go_on(interrupter));
        if (ready < 0 && errno != EINTR) return system_error("poll", errno);
        if (ready > 0 && fds[0].revents != 0) return {};
    }
}

Result<Listener> listen_on(const std::string& listen) {
    if (listen.starts_with("unix:")) return listen_unix(listen, listen.substr(5));
    auto url = parse_base_url("http://" + listen);
    // parse_base_url refuses port 0, which here asks for any free one.
    const bool any_port = listen.ends_with(":0");
    if (any_port) url = parse_base_url("http://" + listen.substr(0, listen.size() - 1) + "1");
    if (!url) return listen_failed(listen, "it must be host:port or unix:/path");
    AddressList list;
    auto resolved =
        resolve(url->host == "*" ? "" : url->host, any_port ? "0" : url->port, true, list);
    if (!resolved) return listen_failed(listen, resolved.error().message);
    Listener out;
    out.fd = Fd(socket(list.head->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1;
    if (!out.fd) return listen_failed(listen, std::strerror(errno));
    setsockopt(out.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(out.fd.get(), list.head->ai_addr, list.head->ai_addrlen) != 0 ||
        ::listen(out.fd.get(), kBacklog) != 0) {
        return listen_failed(listen, std::strerror(errno));
    }
    out.address = local_address(out.fd.get());
    return out;
}

Result<std::unique_ptr<Wire>> open_wire(
    const BaseUrl& url, SteadyTime deadline, const Interrupter* interrupter
) {
    if (url.unix_socket) {
        BERTH_ASSIGN(auto address, unix_address(url.host));
        auto fd = connect_to(
            AF_UNIX,
            reinterpret_cast<const sockaddr*>(&address),
            sizeof address,
            deadline,
            interrupter
        );
        if (!fd) {
            fd.error().message = "cannot connect to " + url.host + ": " + fd.error().message;
            return fd.error();
        }
        return std::unique_ptr<Wire>(new SocketWire(std::move(*fd), interrupter));
    }
    BERTH_ASSIGN(auto fd, connect_tcp(url, deadline, interrupter));
    if (url.tls) return open_tls(std::move(fd), url.host, deadline, interrupter);
    return std::unique_ptr<Wire>(new SocketWire(std::move(fd), interrupter));
}

}  // namespace berth::net
