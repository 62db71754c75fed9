// SPDX-License-Identifier: Apache-2.0
// libs/http against a server that is not libcurl's: the two must agree on HTTP.
#include "http/client.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "net/http_server.hpp"

namespace berth::http {
namespace {

std::unique_ptr<net::HttpServer> echo_server() {
    return std::move(net::HttpServer::start({}, [](net::Request request, net::Responder responder) {
                         if (request.path == "/silent") {
                             // Kept open by nobody answering: the responder lives until the server
                             // stops.
                             static std::vector<net::Responder> kept;
                             kept.push_back(std::move(responder));
                             return;
                         }
                         responder.respond(
                             {request.path == "/missing" ? 404 : 200,
                              "text/plain",
                              {{"X-Method", request.method}},
                              request.body}
                         );
                     }).value());
}

TEST(HttpClient, SendsAndReceivesWhatWasSaid) {
    const auto server = echo_server();
    Client client;
    Request request;
    request.method = "POST";
    request.url = server->url() + "/echo";
    request.body = std::string("a\0b", 3);
    for (int i = 0; i < 3; ++i) {
        const auto response = client.send(request);
        ASSERT_TRUE(response) << response.error().describe();
        EXPECT_EQ(response->status, 200);
        EXPECT_EQ(response->body, request.body);
        EXPECT_EQ(response->header("x-method"), "POST");
    }
    EXPECT_EQ(server->stats().accepted, 1U) << "one connection is kept";
    request.url = server->url() + "/missing";
    EXPECT_EQ(client.send(request)->status, 404) << "a status is an answer, not an error";
}

TEST(HttpClient, FailsWithAReason) {
    const auto server = echo_server();
    Client client;
    Request request;
    request.url = "ftp://example.invalid/";
    EXPECT_EQ(client.send(request).error().code, "bad_url");
    request.url = "http://127.0.0.1:1/";
    EXPECT_EQ(client.send(request).error().code, "http_unreachable");
    request.url = server->url() + "/silent";
    request.timeout = milliseconds{100};
    EXPECT_EQ(client.send(request).error().code, "http_timeout");
    request.url = server->url() + "/echo";
    request.method = "POST";
    request.timeout = seconds{5};
    request.body = std::string(1'000, 'x');
    request.max_response = 100;
    EXPECT_EQ(client.send(request).error().code, "response_too_large");
}

TEST(HttpClient, EndsWhenItIsCanceled) {
    const auto server = echo_server();
    Client client;
    Request request;
    request.url = server->url() + "/silent";
    request.canceled = [] { return true; };
    EXPECT_EQ(client.send(request).error().code, "http_canceled");
}

/// Answers the first request of each connection and breaks it under the second.
class BreakingServer {
public:
    BreakingServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        auto* raw = reinterpret_cast<sockaddr*>(&address);
        EXPECT_EQ(::bind(listener_, raw, size), 0);
        EXPECT_EQ(::listen(listener_, 4), 0);
        EXPECT_EQ(::getsockname(listener_, raw, &size), 0);
        url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/";
        thread_ = std::thread([this] { serve(); });
    }
    ~BreakingServer() {
        ::shutdown(listener_, SHUT_RDWR);
        thread_.join();
        ::close(listener_);
    }
    std::string url;
    std::atomic<int> requests{0};

private:
    void serve() {
        for (int peer = -1; (peer = ::accept(listener_, nullptr, nullptr)) >= 0; ::close(peer)) {
            char bytes[4'096];
            if (::recv(peer, bytes, sizeof(bytes), 0) <= 0) continue;
            ++requests;
            const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            if (::send(peer, answer.data(), answer.size(), MSG_NOSIGNAL) <= 0) continue;
            if (::recv(peer, bytes, sizeof(bytes), 0) > 0) ++requests;
        }
    }
    int listener_;
    std::thread thread_;
};

TEST(HttpClient, SendsOnceWhatMustNotBeDoneTwice) {
    BreakingServer server;
    Client client;
    Request request;
    request.method = "POST";
    request.url = server.url;
    request.body = "x";
    request.at_most_once = true;
    EXPECT_TRUE(client.send(request));
    EXPECT_EQ(client.send(request).error().code, "http_broken");
    EXPECT_EQ(server.requests.load(), 2);
    EXPECT_TRUE(client.send(request)) << "the next one has a connection of its own";
    request.at_most_once = false;
    EXPECT_TRUE(client.send(request)) << "libcurl's own second try";
    EXPECT_EQ(server.requests.load(), 5);
}

}  // namespace
}  // namespace berth::http
