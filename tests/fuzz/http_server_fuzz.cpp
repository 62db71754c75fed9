// SPDX-License-Identifier: Apache-2.0
// Raw bytes to a listening server: whatever a request looks like, the server answers or hangs up,
// and serves the next.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "fuzz.hpp"
#include "net/http_server.hpp"

namespace {

std::string socket_path() { return "/tmp/berth-fuzz-http-" + std::to_string(::getpid()) + ".sock"; }

berth::net::HttpServer& server() {
    static const std::unique_ptr<berth::net::HttpServer> one = [] {
        berth::net::HttpServerSettings settings;
        settings.listen = "unix:" + socket_path();
        settings.max_body = 8'192;
        settings.max_header = 4'096;
        auto started = berth::net::HttpServer::start(
            settings,
            [](berth::net::Request request, berth::net::Responder responder) {
                FUZZ_CHECK(
                    request.path.find('\0') == std::string::npos && request.body.size() <= 8'192
                );
                if (request.is_upgrade()) {
                    auto socket = std::make_shared<berth::net::WebSocket>(responder.upgrade());
                    socket->start(
                        {[socket](std::string_view bytes, bool) { socket->send_binary(bytes); },
                         {},
                         [](int, const std::string&) {}}
                    );
                    return;
                }
                responder.respond({200, "text/plain", {}, request.body});
            }
        );
        std::atexit([] { ::unlink(socket_path().c_str()); });
        return std::move(started.value());
    }();
    return *one;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    (void)server();
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path().c_str());
    FUZZ_CHECK(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    const timeval patience{5, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)::send(fd, data, size, MSG_NOSIGNAL);
    ::shutdown(fd, SHUT_WR);
    // Its end of the connection ends too: a request that holds a socket for ever would be a
    // finding.
    char buffer[4'096];
    ssize_t got = 0;
    do {
        got = ::recv(fd, buffer, sizeof buffer, 0);
    } while (got > 0 || (got < 0 && errno == EINTR));  // the fuzzer's own timer interrupts
    FUZZ_CHECK(got == 0 || errno == ECONNRESET);
    ::close(fd);
    return 0;
}
