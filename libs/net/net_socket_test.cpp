// SPDX-License-Identifier: Apache-2.0
// Streams and WebSockets on real sockets: order, back-pressure, bounded memory, endings.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <future>
#include <thread>

#include "core/random.hpp"
#include "net/http_client.hpp"
#include "net/http_server.hpp"
#include "net/posix_socket.hpp"
#include "net/ws_client.hpp"

namespace berth::net {
namespace {

using namespace std::chrono_literals;

std::size_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    std::size_t pages = 0;
    statm >> pages >> pages;
    return pages * 4096;
}

std::unique_ptr<HttpServer> serve(HttpServer::Handler handler, HttpServerSettings settings = {}) {
    auto server = HttpServer::start(std::move(settings), std::move(handler));
    if (!server) throw std::runtime_error(server.error().describe());
    return std::move(*server);
}

// A quarter of a gigabyte through a client that is slow at first, by the non-blocking write and
// on_writable.
TEST(StreamTest, ASlowReaderBoundsTheMemory) {
    constexpr std::size_t kTotal = 256U << 20U;
    struct Source {
        Stream stream;
        std::size_t sent = 0;
        std::size_t most = 0;
        const std::string block = std::string(64U << 10U, 'b');
        void pump() {
            while (sent < kTotal && stream.write(block)) {
                sent += block.size();
                most = std::max(most, stream.buffered());
            }
            if (sent >= kTotal) stream.close();
        }
    };
    auto source = std::make_shared<Source>();
    auto server = serve([&](const Request&, Responder responder) {
        source->stream = responder.start_stream(200, "application/octet-stream");
        source->stream.on_writable([source] { source->pump(); });
        source->pump();
    });
    const auto before = resident_bytes();
    HttpClient client(server->url());
    std::size_t got = 0;
    bool good = true;
    std::size_t peak = 0;
    auto done = client.stream({"GET", "/"}, [&](std::string_view bytes) {
        // The first reads are slow, so that every buffer on the way fills.
        if (got < (1U << 20U)) std::this_thread::sleep_for(2ms);
        got += bytes.size();
        good = good && bytes.front() == 'b' && bytes.back() == 'b';
        if ((got & 0xFFFFFU) < bytes.size()) peak = std::max(peak, resident_bytes());
        return true;
    });
    ASSERT_TRUE(done) << done.error().describe();
    EXPECT_EQ(got, kTotal);
    EXPECT_TRUE(good);
    EXPECT_LE(source->most, (1U << 20U) + (64U << 10U) + 64U);
    EXPECT_LT(peak, before + (24U << 20U));
    source->stream = {};
}

TEST(StreamTest, TheBlockingWriteWaitsAndEndsWithTheClient) {
    std::promise<Stream> started;
    std::promise<void> closed;
    auto server = serve([&](const Request&, Responder responder) {
        auto stream = responder.start_stream(200, "text/event-stream");
        stream.on_closed([&] { closed.set_value(); });
        started.set_value(stream);
    });
    auto wire = open_wire(*parse_base_url(server->url()), steady_now() + 5s, nullptr);
    ASSERT_TRUE(wire);
    ASSERT_TRUE((*wire)->write("GET / HTTP/1.1\r\nHost: x\r\n\r\n", steady_now() + 5s));
    auto stream = started.get_future().get();
    const std::string block(256U << 10U, 'x');
    int taken = 0;
    while (stream.write_wait(block, 100ms)) ASSERT_LT(++taken, 1000);  // nobody reads: it must stop
    EXPECT_FALSE(stream.closed());
    std::jthread leaver([&] { wire->reset(); });
    // The kernel's buffers may still take a block that it had no room for a moment ago.
    while (stream.write_wait(block, 20s)) ASSERT_LT(++taken, 1000);
    leaver.join();
    EXPECT_EQ(closed.get_future().wait_for(5s), std::future_status::ready);
    EXPECT_TRUE(stream.closed());
    bool called = false;
    std::promise<void> late;
    stream.on_closed([&] { called = true; });  // told once already
    EXPECT_FALSE(called);
}

TEST(StreamTest, ADroppedHandleEndsTheBodyAndTheConnectionLives) {
    auto server = serve([&](const Request& request, Responder responder) {
        auto stream = responder.start_stream(200, "text/plain");
        stream.write(request.path);
    });
    HttpClient client(server->url());
    EXPECT_EQ(client.send({"GET", "/a"})->body, "/a");
    EXPECT_EQ(client.send({"GET", "/b"})->body, "/b");
    EXPECT_EQ(server->stats().accepted, 1U);
}

TEST(StreamTest, AnAbortedBodyIsSeenAsCut) {
    auto server = serve([&](const Request&, Responder responder) {
        auto stream = responder.start_stream(200, "text/plain");
        stream.write("part");
        stream.abort();
    });
    HttpClient client(server->url());
    std::string got;
    auto done =
        client.stream({"GET", "/"}, [&](std::string_view bytes) { return got += bytes, true; });
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, "connection_lost");
}

// An echo that slows its sender where the way back is full, instead of growing.
struct Echo : std::enable_shared_from_this<Echo> {
    WebSocket socket;
    std::string waiting;
    bool text = false;
    std::atomic<std::size_t> most{0};
    std::promise<std::pair<int, std::string>> closed;

    void start() {
        auto self = shared_from_this();
        WebSocketEvents events;
        events.on_message = [self](std::string_view bytes, bool is_text) {
            self->most = std::max(self->most.load(), self->socket.buffered());
            if (is_text ? self->socket.send_text(bytes) : self->socket.send_binary(bytes)) return;
            self->waiting = std::string(bytes);
            self->text = is_text;
            self->socket.pause();
        };
        events.on_writable = [self] {
            if (self->waiting.empty() || !self->socket.send_binary(self->waiting)) return;
            self->waiting.clear();
            self->socket.resume();
        };
        events.on_closed = [self](int code, const std::string& reason) {
            self->closed.set_value({code, reason});
        };
        socket.start(std::move(events));
    }
};

struct EchoServer {
    std::promise<std::shared_ptr<Echo>> first;
    std::unique_ptr<HttpServer> server;
    explicit EchoServer(HttpServerSettings settings = {}) {
        server = serve(
            [this](const Request& request, Responder responder) {
                if (!request.is_upgrade()) return responder.respond({400, "text/plain", {}, "no"});
                if (request.path == "/denied")
                    return responder.respond(
                        {403, "application/problem+json", {}, "{\"code\":\"denied\"}"}
                    );
                auto echo = std::make_shared<Echo>();
                echo->socket = responder.upgrade();
                echo->start();
                try {
                    first.set_value(echo);
                } catch (const std::future_error&) {
                }
            },
            std::move(settings)
        );
    }
};

TEST(WebSocketTest, EchoesSixtyFourMebibytesBothWays) {
    EchoServer server;
    constexpr std::size_t kTotal = 64U << 20U;
    std::atomic<std::size_t> got{0};
    std::atomic<bool> good{true};
    std::promise<void> all;
    std::promise<int> closed;
    WsClientEvents events;
    SeededRandom expect(5);
    events.on_message = [&](std::string_view bytes, bool is_text) {
        if (is_text || static_cast<unsigned char>(bytes.front()) != (expect.next() & 0xFFU))
            good = false;
        if ((got += bytes.size()) >= kTotal) all.set_value();
    };
    events.on_closed = [&](int code, const std::string&) { closed.set_value(code); };
    auto client = WsClient::connect(server.server->url(), "/echo", {}, std::move(events));
    ASSERT_TRUE(client) << client.error().describe();
    SeededRandom random(5);
    std::string block(64U << 10U, '\0');
    for (std::size_t sent = 0; sent < kTotal; sent += block.size()) {
        block[0] = static_cast<char>(random.next() & 0xFFU);
        ASSERT_TRUE((*client)->send_binary(block));
    }
    ASSERT_EQ(all.get_future().wait_for(20s), std::future_status::ready);
    EXPECT_EQ(got, kTotal);
    EXPECT_TRUE(good);
    (*client)->close(1000, "done");
    auto code = closed.get_future();
    ASSERT_EQ(code.wait_for(5s), std::future_status::ready);
    EXPECT_EQ(code.get(), 1000);
    auto echo = server.first.get_future().get();
    auto theirs = echo->closed.get_future().get();
    EXPECT_EQ(theirs.first, 1000);
    EXPECT_EQ(theirs.second, "done");
    EXPECT_LE(echo->most, (1U << 20U) + 1024U);
    echo->socket = {};
}

// The client reads nothing for a while: the server's buffer fills, pauses its reading, and the
// client's sends wait. Nothing is lost, nobody grows.
TEST(WebSocketTest, AStalledReaderSlowsTheSender) {
    EchoServer server;
    std::promise<void> gate;
    auto opened = gate.get_future().share();
    std::atomic<std::size_t> got{0};
    std::promise<void> all;
    constexpr std::size_t kTotal = 32U << 20U;
    WsClientEvents events;
    events.on_message = [&](std::string_view bytes, bool) {
        opened.wait();
        if ((got += bytes.size()) == kTotal) all.set_value();
    };
    const auto before = resident_bytes();
    auto client = WsClient::connect(server.server->url(), "/echo", {}, std::move(events));
    ASSERT_TRUE(client);
    std::atomic<std::size_t> sent{0};
    std::thread sender([&] {
        const std::string block(64U << 10U, 'x');
        while (sent < kTotal && (*client)->send_binary(block, 20s)) sent += block.size();
    });
    // Wait until the sender stands still.
    std::size_t last = 1;
    for (auto until = steady_now() + 10s;
         last != sent && std::chrono::steady_clock::now() < until;) {
        last = sent;
        std::this_thread::sleep_for(200ms);  // standing still has no event
    }
    EXPECT_LT(sent, kTotal);
    EXPECT_LT(resident_bytes(), before + (24U << 20U));
    gate.set_value();
    sender.join();
    EXPECT_EQ(all.get_future().wait_for(20s), std::future_status::ready);
    EXPECT_EQ(got, kTotal);
    client->reset();
    server.first.get_future().get()->socket = {};
}

TEST(WebSocketTest, TellsARefusedHandshake) {
    EchoServer server;
    WsRefusal refusal;
    auto client = WsClient::connect(server.server->url(), "/denied", {}, {}, &refusal);
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().code, "handshake_refused");
    EXPECT_EQ(refusal.status, 403);
    EXPECT_EQ(refusal.body, "{\"code\":\"denied\"}");
}

TEST(WebSocketTest, ClosesOnWhatItMustNotTake) {
    HttpServerSettings settings;
    settings.max_message = 1000;
    EchoServer server(settings);
    for (const bool text : {false, true}) {
        std::promise<int> closed;
        WsClientEvents events;
        events.on_closed = [&](int code, const std::string&) { closed.set_value(code); };
        auto client = WsClient::connect(server.server->url(), "/", {}, std::move(events));
        ASSERT_TRUE(client);
        if (text) {
            ASSERT_TRUE((*client)->send_text("\xff"));
        } else {
            ASSERT_TRUE((*client)->send_binary(std::string(1001, 'x')));
        }
        auto code = closed.get_future();
        ASSERT_EQ(code.wait_for(5s), std::future_status::ready);
        EXPECT_EQ(code.get(), text ? 1007 : 1009);
    }
    server.first.get_future().get()->socket = {};
}

TEST(WebSocketTest, PingsKeepAQuietSessionAlive) {
    HttpServerSettings settings;
    settings.ping_every = 100ms;
    settings.peer_silent = 300ms;
    EchoServer server(settings);
    std::promise<std::string> echoed;
    WsClientEvents events;
    events.on_message = [&](std::string_view bytes, bool is_text) {
        echoed.set_value(std::string(bytes) + (is_text ? "t" : "b"));
    };
    WsClientOptions options;
    options.ping_every = 100ms;
    auto client = WsClient::connect(server.server->url(), "/", options, std::move(events));
    ASSERT_TRUE(client);
    std::this_thread::sleep_for(1200ms);  // several times what silence would be allowed
    EXPECT_FALSE((*client)->closed());
    ASSERT_TRUE((*client)->send_text("still here"));
    auto answer = echoed.get_future();
    ASSERT_EQ(answer.wait_for(5s), std::future_status::ready);
    EXPECT_EQ(answer.get(), "still heret");
    client->reset();
    server.first.get_future().get()->socket = {};
}

TEST(WebSocketTest, AServerThatStopsSaysSo) {
    EchoServer server;
    std::promise<int> closed;
    WsClientEvents events;
    events.on_closed = [&](int code, const std::string&) { closed.set_value(code); };
    auto client = WsClient::connect(server.server->url(), "/", {}, std::move(events));
    ASSERT_TRUE(client);
    auto echo = server.first.get_future().get();
    const auto begun = std::chrono::steady_clock::now();
    server.server->stop(2s);
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s);
    EXPECT_EQ(closed.get_future().get(), 1001);
    EXPECT_FALSE(echo->socket.send_binary("late"));
    echo->socket = {};
}

TEST(WebSocketTest, BytesThatComeWithTheHandshakeAreNotLost) {
    EchoServer server;
    auto wire = open_wire(*parse_base_url(server.server->url()), steady_now() + 5s, nullptr);
    ASSERT_TRUE(wire);
    std::string bytes =
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "
        "websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    bytes += std::string("\x81\x82\x00\x00\x00\x00hi\x88\x80\x00\x00\x00\x00", 14);
    ASSERT_TRUE((*wire)->write(bytes, steady_now() + 5s));
    std::string got;
    std::vector<char> piece(4096);
    while (true) {
        auto n = (*wire)->read(piece.data(), piece.size(), steady_now() + 5s);
        ASSERT_TRUE(n);
        if (*n == 0) break;
        got.append(piece.data(), *n);
    }
    EXPECT_NE(got.find("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), std::string::npos);
    EXPECT_NE(got.find(std::string("\x81\x02hi", 4)), std::string::npos);
    EXPECT_NE(got.find(std::string("\x88\x02\x03\xe8", 4)), std::string::npos);
    server.first.get_future().get()->socket = {};
}

}  // namespace
}  // namespace berth::net
