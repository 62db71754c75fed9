// SPDX-License-Identifier: Apache-2.0
// The HTTP server on real sockets: what clients rely on, and what hostile ones try.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <thread>

#include "core/random.hpp"
#include "net/http_client.hpp"
#include "net/http_server.hpp"
#include "net/posix_socket.hpp"

namespace berth::net {
namespace {

using namespace std::chrono_literals;

// Answers by path; "/echo" gives the body back, "/hold" parks the Responder, "/drop" drops it.
struct Server {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<Responder> held;
    std::atomic<int> handled{0};
    std::unique_ptr<HttpServer> server;

    explicit Server(HttpServerSettings settings = {}) {
        auto started =
            HttpServer::start(std::move(settings), [this](Request request, Responder responder) {
                handle(std::move(request), std::move(responder));
            });
        if (!started) throw std::runtime_error(started.error().describe());
        server = std::move(*started);
    }

    void handle(Request request, Responder responder) {
        ++handled;
        if (request.path == "/drop") return;
        if (request.path == "/throw") throw std::runtime_error("a bug");
        if (request.path == "/hold") {
            const std::lock_guard lock(mutex);
            held.push_back(std::move(responder));
            changed.notify_all();
            return;
        }
        if (request.path == "/stream") {
            auto stream = responder.start_stream(200, "text/plain");
            for (const char* piece : {"one", "two", "three"}) stream.write(piece);
            stream.close();
            return;
        }
        if (request.path == "/self_held") {
            // The callback holds the stream's last handle: it must not die under the stream's lock.
            auto stream = std::make_shared<Stream>(responder.start_stream(200, "text/plain"));
            stream->on_writable([stream] {});
            stream->write("all");
            stream->close();
            return;
        }
        Response response{
            200,
            "text/plain",
            {{"X-Path", request.path}, {"X-Query", request.query.get_or("q", "")}},
            ""};
        response.body = request.path == "/echo" ? request.body : "hello " + request.method;
        responder.respond(std::move(response));
    }

    Responder take_held() {
        std::unique_lock lock(mutex);
        if (!changed.wait_for(lock, 5s, [&] { return !held.empty(); }))
            throw std::runtime_error("nothing was held");
        auto out = std::move(held.back());
        held.pop_back();
        return out;
    }
};

std::unique_ptr<Wire> dial(const Server& server) {
    auto wire = open_wire(*parse_base_url(server.server->url()), steady_now() + 5s, nullptr);
    if (!wire) throw std::runtime_error(wire.error().describe());
    return std::move(*wire);
}

// Everything until the server ends the connection.
std::string read_all(Wire& wire, milliseconds limit = 5s) {
    std::string out;
    std::vector<char> piece(65536);
    const auto until = steady_now() + limit;
    while (true) {
        auto got = wire.read(piece.data(), piece.size(), until);
        if (!got) return out + (got.error().code == "timeout" ? "<timeout>" : "");
        if (*got == 0) return out;
        out.append(piece.data(), *got);
    }
}

std::string converse(const Server& server, std::string_view bytes) {
    auto wire = dial(server);
    (void)wire->write(bytes, steady_now() + 5s);
    return read_all(*wire);
}

std::size_t count(std::string_view text, std::string_view what) {
    std::size_t n = 0;
    for (auto at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++n;
    return n;
}

TEST(HttpServerTest, KeepsAConnectionForManyRequests) {
    Server server;
    HttpClient client(server.server->url());
    for (int i = 0; i < 50; ++i) {
        auto response = client.send({"POST", "/echo?q=a%20b", {}, "body " + std::to_string(i)});
        ASSERT_TRUE(response) << response.error().describe();
        EXPECT_EQ(response->status, 200);
        EXPECT_EQ(response->body, "body " + std::to_string(i));
        EXPECT_EQ(response->headers.get("x-query"), "a b");
        EXPECT_FALSE(response->headers.get("x-request-id").empty());
    }
    EXPECT_EQ(server.server->stats().accepted, 1U);
    EXPECT_EQ(server.server->stats().requests, 50U);
}

TEST(HttpServerTest, AnswersPipelinedRequestsInOrder) {
    Server server;
    std::string burst;
    for (int i = 0; i < 20; ++i)
        burst += "GET /p" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n";
    burst += "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    const auto answer = converse(server, burst);
    EXPECT_EQ(count(answer, "HTTP/1.1 200 OK"), 21U);
    std::size_t at = 0;
    for (int i = 0; i < 20; ++i) {
        at = answer.find("X-Path: /p" + std::to_string(i) + "\r\n", at);
        ASSERT_NE(at, std::string::npos) << i;
    }
    EXPECT_NE(answer.find("X-Path: /last", at), std::string::npos);
}

// A held request must not let the next one overtake it.
TEST(HttpServerTest, PipelinedRequestsWaitForTheHeldOne) {
    Server server;
    auto wire = dial(server);
    ASSERT_TRUE(wire->write(
        "GET /hold HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: "
        "close\r\n\r\n",
        steady_now() + 5s
    ));
    auto responder = server.take_held();
    EXPECT_EQ(server.handled, 1);
    responder.respond({200, "text/plain", {}, "first"});
    const auto answer = read_all(*wire);
    EXPECT_LT(answer.find("first"), answer.find("X-Path: /b"));
    EXPECT_NE(answer.find("X-Path: /b"), std::string::npos);
}

TEST(HttpServerTest, RefusesBodiesAndHeadsOverTheLimit) {
    HttpServerSettings settings;
    settings.max_body = 1000;
    settings.max_header = 2000;
    Server server(settings);
    HttpClient client(server.server->url());
    auto large = client.send({"POST", "/echo", {}, std::string(1001, 'x')});
    ASSERT_TRUE(large);
    EXPECT_EQ(large->status, 413);
    EXPECT_EQ(large->headers.get("content-type"), "application/problem+json");
    EXPECT_NE(large->body.find("\"too_large\""), std::string::npos);
    auto ok = client.send({"POST", "/echo", {}, std::string(1000, 'x')});
    ASSERT_TRUE(ok);
    EXPECT_EQ(ok->status, 200);
    EXPECT_NE(
        converse(
            server,
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" +
                std::string(2000, 'x')
        )
            .find("413"),
        std::string::npos
    );
    EXPECT_NE(
        converse(server, "GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(3000, 'x') + "\r\n\r\n")
            .find(" 431 "),
        std::string::npos
    );
    // Ten megabytes that nobody asked for: the answer arrives all the same.
    auto huge = client.send({"POST", "/echo", {}, std::string(10U << 20U, 'x')});
    if (huge) {
        EXPECT_EQ(huge->status, 413);
    }
}

TEST(HttpServerTest, AnswersGarbageWith400) {
    Server server;
    const std::vector<std::string> corpus = {
        "\r\n\r\nnonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",  // no Host
        "GET / HTTP/1.1\r\nHost x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\nBad Name: y\r\n\r\n",
        "GET nopath HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /?a=% HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5x\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        std::string("GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 29),
        std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) +
            "\r\n\r\n",  // TLS to a plain port
        "\x80\x81\x82\x83\r\n\r\n",
    };
    for (std::size_t i = 0; i < corpus.size(); ++i) {
        const auto answer = converse(server, corpus[i]);
        EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << i << ": " << answer.substr(0, 80);
        EXPECT_NE(answer.find("application/problem+json"), std::string::npos) << i;
        EXPECT_EQ(answer.find("<timeout>"), std::string::npos) << i;
    }
    EXPECT_TRUE(converse(server, "GET / HTTP/2.7\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 505 "));
    EXPECT_TRUE(
        converse(server, "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 505 ")
    );
    EXPECT_EQ(server.handled, 0);
}

TEST(HttpServerTest, RandomBytesNeverCrashIt) {
    HttpServerSettings settings;
    settings.header_timeout = 500ms;
    Server server(settings);
    SeededRandom random(7);
    const std::string seed =
        "POST /echo?a=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: "
        "100-continue\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (int round = 0; round < 400; ++round) {
        std::string bytes = seed;
        if (round % 3 == 0) {
            bytes.resize(random.below(300));
            for (char& c : bytes) c = static_cast<char>(random.next());
        } else {
            for (std::uint64_t n = 1 + random.below(4); n > 0; --n)
                bytes[random.below(bytes.size())] = static_cast<char>(random.next());
        }
        auto wire = dial(server);
        (void)wire->write(bytes, steady_now() + 1s);
        wire->shut_down();
    }
    HttpClient client(server.server->url());
    auto alive = client.send({});
    ASSERT_TRUE(alive) << alive.error().describe();
    EXPECT_EQ(alive->status, 200);
}

TEST(HttpServerTest, AStreamHeldByItsOwnCallbackEndsWithoutHarm) {
    Server server;
    HttpClient client(server.server->url());
    for (int i = 0; i < 3; ++i) {
        auto answer = client.send({"GET", "/self_held", {}, {}});
        ASSERT_TRUE(answer) << answer.error().describe();
        EXPECT_EQ(answer->body, "all");
    }
}

TEST(HttpServerTest, KnowsHeadOptionsAndOldClients) {
    Server server;
    const auto head = converse(server, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_NE(head.find("Content-Length: 10"), std::string::npos) << head;
    EXPECT_TRUE(head.ends_with("\r\n\r\n")) << head;
    EXPECT_NE(
        converse(server, "BREW /pot HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .find("hello BREW"),
        std::string::npos
    );
    EXPECT_NE(
        converse(server, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .find("hello OPTIONS"),
        std::string::npos
    );
    EXPECT_NE(
        converse(
            server, "GET http://other/abs?q=7 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
            .find("X-Path: /abs"),
        std::string::npos
    );
    const auto old = converse(server, "GET /stream HTTP/1.0\r\n\r\n");
    EXPECT_TRUE(old.ends_with("\r\n\r\nonetwothree")) << old;
    const auto stream_head =
        converse(server, "HEAD /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(stream_head.ends_with("\r\n\r\n")) << stream_head;
}

TEST(HttpServerTest, ContinuesWhenAsked) {
    Server server;
    auto wire = dial(server);
    ASSERT_TRUE(wire->write(
        "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
        "4\r\nConnection: close\r\n\r\n",
        steady_now() + 5s
    ));
    std::vector<char> piece(1000);
    auto got = wire->read(piece.data(), piece.size(), steady_now() + 5s);
    ASSERT_TRUE(got);
    EXPECT_EQ(std::string(piece.data(), *got), "HTTP/1.1 100 Continue\r\n\r\n");
    ASSERT_TRUE(wire->write("data", steady_now() + 5s));
    EXPECT_TRUE(read_all(*wire).ends_with("\r\n\r\ndata"));
}

TEST(HttpServerTest, ABugAnswers500) {
    Server server;
    HttpClient client(server.server->url());
    for (const char* path : {"/drop", "/throw"}) {
        auto response = client.send({"GET", path});
        ASSERT_TRUE(response) << response.error().describe();
        EXPECT_EQ(response->status, 500);
        EXPECT_NE(response->body.find("\"internal\""), std::string::npos);
    }
}

TEST(HttpServerTest, ASlowSenderIsCutOff) {
    HttpServerSettings settings;
    settings.header_timeout = 300ms;
    settings.idle_timeout = 600ms;
    Server server(settings);
    EXPECT_NE(converse(server, "GET / HT").find(" 408 "), std::string::npos);
    EXPECT_EQ(converse(server, ""), "");  // said nothing: nothing is answered
    const auto idle = converse(server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(idle.find("<timeout>"), std::string::npos);
    EXPECT_NE(idle.find("200 OK"), std::string::npos);
}

TEST(HttpServerTest, TellsWhenTheClientLeft) {
    Server server;
    auto wire = dial(server);
    ASSERT_TRUE(wire->write("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n", steady_now() + 5s));
    auto responder = server.take_held();
    std::promise<void> left;
    responder.on_abandoned([&] { left.set_value(); });
    wire.reset();
    EXPECT_EQ(left.get_future().wait_for(5s), std::future_status::ready);
    responder.respond({});  // to nobody
}

TEST(HttpServerTest, ServesTwoHundredConnectionsAtOnce) {
    Server server;
    std::vector<std::unique_ptr<Wire>> wires;
    for (int i = 0; i < 200; ++i) {
        wires.push_back(dial(server));
        ASSERT_TRUE(wires.back()->write(
            "GET /n" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n", steady_now() + 5s
        ));
    }
    for (int i = 0; i < 200; ++i) {
        std::vector<char> piece(4096);
        auto got =
            wires[static_cast<std::size_t>(i)]->read(piece.data(), piece.size(), steady_now() + 5s);
        ASSERT_TRUE(got);
        EXPECT_NE(
            std::string(piece.data(), *got).find("X-Path: /n" + std::to_string(i) + "\r\n"),
            std::string::npos
        );
    }
    EXPECT_EQ(server.server->stats().open, 200U);
}

TEST(HttpServerTest, RefusesConnectionsOverTheLimit) {
    HttpServerSettings settings;
    settings.max_connections = 2;
    Server server(settings);
    HttpClient a(server.server->url());
    HttpClient b(server.server->url());
    ASSERT_TRUE(a.send({}));
    ASSERT_TRUE(b.send({}));
    EXPECT_NE(converse(server, "").find(" 503 "), std::string::npos);
    EXPECT_EQ(server.server->stats().refused, 1U);
    EXPECT_EQ(a.send({})->status, 200);
}

TEST(HttpServerTest, StopsInTimeWithOpenConnections) {
    Server server;
    auto idle = dial(server);
    auto half = dial(server);
    ASSERT_TRUE(half->write("GET / HT", steady_now() + 5s));
    auto busy = dial(server);
    ASSERT_TRUE(busy->write("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n", steady_now() + 5s));
    auto finishing = dial(server);
    auto first = server.take_held();
    ASSERT_TRUE(finishing->write("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n", steady_now() + 5s));
    auto second = server.take_held();
    const auto begun = std::chrono::steady_clock::now();
    std::thread stopper([&] { server.server->stop(1s); });
    second.respond({200, "text/plain", {}, "in time"});
    EXPECT_NE(read_all(*finishing).find("in time"), std::string::npos);
    finishing.reset();
    stopper.join();
    const auto took = std::chrono::steady_clock::now() - begun;
    EXPECT_LT(took, 10s);
    EXPECT_GE(took, 900ms);  // the held one was waited for
    first.respond({});       // after the end: nothing happens
    EXPECT_FALSE(open_wire(*parse_base_url(server.server->url()), steady_now() + 1s, nullptr));
}

TEST(HttpServerTest, ServesAUnixSocketAndReplacesADeadOne) {
    const std::string path = "/tmp/berth-net-test-" + std::to_string(getpid()) + ".sock";
    HttpServerSettings settings;
    settings.listen = "unix:" + path;
    {
        Server server(settings);
        HttpClient client(server.server->url());
        ASSERT_TRUE(client.send({}));
        EXPECT_THROW(Server another(settings), std::runtime_error);
    }
    EXPECT_NE(access(path.c_str(), F_OK), 0);
    { const Fd stale(listen_on("unix:" + path)->fd.release()); }
    EXPECT_EQ(access(path.c_str(), F_OK), 0);
    Server server(settings);
    EXPECT_TRUE(HttpClient("unix:" + path).send({}));
}

TEST(WireTest, GivesNothingMoreOnceCanceled) {
    Server server;
    Interrupter interrupter;
    auto wire = open_wire(*parse_base_url(server.server->url()), steady_now() + 5s, &interrupter);
    ASSERT_TRUE(wire);
    ASSERT_TRUE((*wire)->write("GET /a HTTP/1.1\r\nHost: x\r\n\r\n", steady_now() + 5s));
    const auto limit = steady_now() + 5s;
    while ((*wire)->reusable() && std::chrono::steady_clock::now() < limit)
        std::this_thread::yield();  // the answer is on its way
    ASSERT_FALSE((*wire)->reusable());
    interrupter.fire();
    char byte = 0;
    const auto got = (*wire)->read(&byte, 1, steady_now() + 5s);
    ASSERT_FALSE(got) << "an answer that waits to be read is not read any more";
    EXPECT_EQ(got.error().code, "canceled");
    const auto put = (*wire)->write("GET", steady_now() + 5s);
    ASSERT_FALSE(put);
    EXPECT_EQ(put.error().code, "canceled");
}

TEST(HttpClientTest, SaysWhatWentWrong) {
    EXPECT_EQ(HttpClient("nonsense").send({}).error().code, "bad_url");
    EXPECT_EQ(HttpClient("unix:/nonexistent.sock").send({}).error().code, "connect_failed");
    Server server;
    HttpClient client(server.server->url());
    HttpRequest slow{"GET", "/hold"};
    slow.timeout = 200ms;
    EXPECT_EQ(client.send(slow).error().code, "timeout");
    EXPECT_EQ(client.send({})->status, 200);
    slow.timeout = 10s;
    std::thread canceler([&] {
        (void)server.take_held();
        client.cancel();
    });
    // The held responder is dropped by the canceler's thread; whichever comes first ends the wait.
    (void)client.send(slow);
    canceler.join();
    EXPECT_EQ(client.send({}).error().code, "canceled");
}

TEST(HttpClientTest, ReconnectsAfterTheServerClosed) {
    HttpServerSettings settings;
    settings.idle_timeout = 100ms;
    Server server(settings);
    HttpClient client(server.server->url());
    ASSERT_TRUE(client.send({}));
    const auto until = steady_now() + 5s;
    while (server.server->stats().open != 0 && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();
    auto again = client.send({"POST", "/echo", {}, "x"});
    ASSERT_TRUE(again) << again.error().describe();
    EXPECT_EQ(again->body, "x");
}

}  // namespace
}  // namespace berth::net
