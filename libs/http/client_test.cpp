// SPDX-License-Identifier: Apache-2.0
// libs/http against a server that is not libcurl's: the two must agree on HTTP.
#include "http/client.hpp"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace berth::http
