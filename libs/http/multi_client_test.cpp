// SPDX-License-Identifier: Apache-2.0
// Many requests on one thread: none waits for another, each is told its end, and a pinned address
// is where they go.
#include "http/multi_client.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>

#include "net/http_server.hpp"

namespace berth::http {
namespace {

/// Answers with what it was asked, "/silent" never.
struct Server {
    std::mutex mutex;
    std::vector<net::Responder> kept;  // by mutex
    std::unique_ptr<net::HttpServer> server;

    Server() {
        server = std::move(
            net::HttpServer::start(
                {},
                [this](net::Request request, net::Responder responder) {
                    if (request.path == "/silent") {
                        const std::lock_guard lock(mutex);
                        kept.push_back(std::move(responder));
                        return;
                    }
                    const std::string host(request.headers.get("Host"));
                    responder.respond(
                        {200, "text/plain", {{"X-Host", host}}, request.body + request.path}
                    );
                }
            ).value()
        );
    }
    ~Server() { server->stop(milliseconds{10}); }
    std::string port() const {
        const auto url = server->url();
        return url.substr(url.rfind(':') + 1);
    }
};

std::future<Result<Response>> begin(MultiClient& client, Request request) {
    auto promise = std::make_shared<std::promise<Result<Response>>>();
    auto future = promise->get_future();
    client.send(std::move(request), [promise](Result<Response> response) {
        promise->set_value(std::move(response));
    });
    return future;
}

Result<Response> wait(std::future<Result<Response>> future) {
    if (future.wait_for(seconds{20}) != std::future_status::ready)
        return deadline("test", "nothing came");
    return future.get();
}

TEST(MultiClient, AnswersManyWhileSomeHang) {
    Server server;
    MultiClient client;
    Request silent;
    silent.url = server.server->url() + "/silent";
    silent.timeout = milliseconds{60'000};
    std::vector<std::future<Result<Response>>> hanging;
    for (int i = 0; i < 20; ++i) hanging.push_back(begin(client, silent));
    std::vector<std::future<Result<Response>>> answered;
    for (int i = 0; i < 300; ++i) {
        Request request;
        request.method = "POST";
        request.url = server.server->url() + "/p";
        request.body = std::to_string(i);
        answered.push_back(begin(client, request));
    }
    for (int i = 0; i < 300; ++i) {
        const auto response = wait(std::move(answered[static_cast<std::size_t>(i)]));
        ASSERT_TRUE(response) << response.error().describe();
        EXPECT_EQ(response->body, std::to_string(i) + "/p");
    }
    EXPECT_EQ(hanging.front().wait_for(milliseconds{0}), std::future_status::timeout);
}

TEST(MultiClient, ToldItsEndWhenTheClientGoes) {
    Server server;
    std::future<Result<Response>> hanging;
    {
        MultiClient client;
        Request silent;
        silent.url = server.server->url() + "/silent";
        hanging = begin(client, silent);
    }
    EXPECT_EQ(wait(std::move(hanging)).error().code, "stopped");
}

TEST(MultiClient, GoesToThePinnedAddressUnderTheNameOfTheUrl) {
    Server server;
    MultiClient client;
    Request request;
    request.url = "http://never.resolved.invalid:" + server.port() + "/x";
    EXPECT_EQ(wait(begin(client, request)).error().code, "http_unreachable");
    request.connect_to = "127.0.0.1";
    const auto response = wait(begin(client, request));
    ASSERT_TRUE(response) << response.error().describe();
    EXPECT_EQ(response->header("x-host"), "never.resolved.invalid:" + server.port());
    // A kept connection to one address is not used for another.
    request.connect_to = "127.0.0.2";
    request.connect_timeout = milliseconds{2'000};
    EXPECT_FALSE(wait(begin(client, request))) << "the server listens on 127.0.0.1 alone";
}

TEST(MultiClient, CutsWhatIsTooLongWhereThatIsWanted) {
    Server server;
    MultiClient client;
    Request request;
    request.method = "POST";
    request.url = server.server->url() + "/long";
    request.body = std::string(100'000, 'x');
    request.max_response = 1'000;
    EXPECT_EQ(wait(begin(client, request)).error().code, "response_too_large");
    request.cut_response = true;
    const auto response = wait(begin(client, request));
    ASSERT_TRUE(response) << response.error().describe();
    EXPECT_EQ(response->status, 200);
    EXPECT_LE(response->body.size(), 1'000U);
}

}  // namespace
}  // namespace berth::http
