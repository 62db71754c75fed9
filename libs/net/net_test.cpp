// SPDX-License-Identifier: Apache-2.0
// The parts of libs/net without sockets: URLs, routing, frames, and random bytes against them.
#include <gtest/gtest.h>

#include "core/random.hpp"
#include "net/http_types.hpp"
#include "net/peer.hpp"
#include "net/router.hpp"
#include "net/ws_frame.hpp"

namespace berth::net {
namespace {

TEST(Url, DecodesAndRefuses) {
    EXPECT_EQ(*percent_decode("a%20b+c", false), "a b+c");
    EXPECT_EQ(*percent_decode("a%20b+c", true), "a b c");
    EXPECT_EQ(*percent_decode("%41", false), "A");
    for (const char* bad : {"%", "%4", "%zz", "a%", "%00"})
        EXPECT_FALSE(percent_decode(bad, false)) << bad;
    EXPECT_EQ(percent_encode("a/b c~"), "a%2Fb%20c~");
}

TEST(Url, ParsesQueries) {
    auto query = parse_query("a=1&b&c=x%3Dy&a=2&&stream=0");
    ASSERT_TRUE(query);
    EXPECT_EQ(query->get("a"), "1");
    EXPECT_TRUE(query->flag("b"));
    EXPECT_EQ(query->get_or("c", ""), "x=y");
    EXPECT_FALSE(query->flag("stream"));
    EXPECT_FALSE(query->get("none"));
    EXPECT_EQ(query->values().size(), 5U);
    EXPECT_FALSE(parse_query("a=%"));
}

TEST(Url, ParsesBases) {
    auto url = parse_base_url("http://[::1]:8080/berth/");
    ASSERT_TRUE(url);
    EXPECT_EQ(url->host, "::1");
    EXPECT_EQ(url->port, "8080");
    EXPECT_EQ(url->prefix, "/berth");
    EXPECT_EQ(url->authority(), "[::1]:8080");
    EXPECT_EQ(parse_base_url("https://example.org")->port, "443");
    EXPECT_TRUE(parse_base_url("unix:/run/x.sock")->unix_socket);
    for (const char* bad :
         {"",
          "example.org",
          "ftp://x",
          "http://",
          "http://x:0",
          "http://x:99999",
          "http://x:1a",
          "unix:x",
          "http://u:p@x",
          "http://x/?q",
          "http://[::1"}) {
        EXPECT_FALSE(parse_base_url(bad)) << bad;
    }
}

TEST(Headers, CompareWithoutCase) {
    HeaderMap headers{{"Connection", "keep-alive, Upgrade"}};
    EXPECT_TRUE(headers.has_token("connection", "upgrade"));
    EXPECT_FALSE(headers.has_token("connection", "up"));
    headers.set("CONNECTION", "close");
    EXPECT_EQ(headers.get("connection"), "close");
    EXPECT_EQ(headers.fields().size(), 1U);
}

TEST(RouterTest, FindsTheMostLiteralRoute) {
    Router router;
    const auto list = router.add("GET", "/v1/leases");
    const auto create = router.add("POST", "/v1/leases");
    const auto get = router.add("GET", "/v1/leases/{id}");
    const auto release = router.add("POST", "/v1/leases/{id}/release");
    const auto special = router.add("GET", "/v1/leases/special");
    EXPECT_EQ(router.match("GET", "/v1/leases").index, list);
    EXPECT_EQ(router.match("POST", "/v1/leases").index, create);
    auto found = router.match("HEAD", "/v1/leases/calm-otter");
    EXPECT_EQ(found.index, get);
    EXPECT_EQ(found.params.at("id"), "calm-otter");
    EXPECT_EQ(router.match("POST", "/v1/leases/x/release").index, release);
    EXPECT_EQ(router.match("GET", "/v1/leases/special").index, special);
    EXPECT_EQ(router.match("GET", "/v1/leases/").kind, RouteMatch::Kind::kNotFound);
    EXPECT_EQ(router.match("GET", "/v1").kind, RouteMatch::Kind::kNotFound);
    auto wrong = router.match("DELETE", "/v1/leases");
    EXPECT_EQ(wrong.kind, RouteMatch::Kind::kMethodNotAllowed);
    EXPECT_EQ(wrong.allow, "GET, HEAD, OPTIONS, POST");
    EXPECT_THROW(router.add("GET", "/v1/leases"), std::logic_error);
}

TEST(WsFrame, KnowsTheHandshakeOfTheRfc) {
    EXPECT_EQ(ws_accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    EXPECT_TRUE(is_ws_key("dGhlIHNhbXBsZSBub25jZQ=="));
    EXPECT_FALSE(is_ws_key("short"));
}

// Every size at which the length field changes form, in pieces of every awkward size.
TEST(WsFrame, RoundTripsInPieces) {
    for (const std::size_t size : {0U, 1U, 125U, 126U, 127U, 65535U, 65536U, 200000U}) {
        std::string payload(size, '\0');
        for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<char>(i * 7);
        std::string wire;
        append_ws_frame(wire, WsOpcode::kBinary, payload, 0x01020304U);
        append_ws_frame(wire, WsOpcode::kPing, "x", 7U);
        for (const std::size_t step :
             {std::size_t{1}, std::size_t{3}, std::size_t{4096}, wire.size()}) {
            if (step == 1 && size > 70000) continue;
            WsParser parser(WsParser::Role::kServer, 1U << 20U);
            std::vector<WsEvent> events;
            for (std::size_t at = 0; at < wire.size(); at += step) {
                parser.feed(std::string_view(wire).substr(at, step));
                while (auto event = parser.next()) events.push_back(std::move(*event));
            }
            ASSERT_EQ(events.size(), 2U) << size << " by " << step;
            EXPECT_EQ(events[0].payload, payload);
            EXPECT_EQ(events[1].kind, WsEvent::Kind::kPing);
        }
    }
}

TEST(WsFrame, JoinsFragmentsAroundControlFrames) {
    WsParser parser(WsParser::Role::kClient, 1000);
    parser.feed(std::string("\x01\x02h\xc3\x89\x00\x80\x02\xa9!", 10));
    auto ping = parser.next();
    ASSERT_TRUE(ping);
    EXPECT_EQ(ping->kind, WsEvent::Kind::kPing);
    auto message = parser.next();
    ASSERT_TRUE(message);
    EXPECT_EQ(message->payload, "h\xc3\xa9!");
    EXPECT_TRUE(message->is_text);
}

TEST(WsFrame, NamesEachViolation) {
    const std::vector<std::pair<std::string, int>> cases = {
        {std::string("\xf2\x00", 2), 1002},                  // reserved bits
        {std::string("\x83\x00", 2), 1002},                  // unknown opcode
        {std::string("\x82\x80\x00\x00\x00\x00", 6), 1002},  // masked towards a client
        {std::string("\x09\x00", 2), 1002},                  // fragmented control
        {std::string("\x89\x7e\x00\x7e", 4), 1002},          // control too long
        {std::string("\x80\x00", 2), 1002},                  // continuation of nothing
        {std::string("\x01\x00\x01\x00", 4), 1002},          // message in a message
        {std::string("\x82\x7e\x00\x05", 4), 1002},          // length not minimal
        {std::string("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10), 1002},
        {std::string("\x88\x01\x03", 3), 1002},      // half a close code
        {std::string("\x88\x02\x03\xed", 4), 1002},  // 1005 on the wire
        {std::string("\x81\x01\xff", 3), 1007},      // not UTF-8
        {std::string("\x82\x7e\x10\x00", 4), 1009},  // too large, told by the header alone
    };
    for (std::size_t i = 0; i < cases.size(); ++i) {
        WsParser parser(WsParser::Role::kClient, 1000);
        parser.feed(cases[i].first);
        auto event = parser.next();
        ASSERT_TRUE(event) << i;
        EXPECT_EQ(event->kind, WsEvent::Kind::kViolation) << i;
        EXPECT_EQ(event->code, cases[i].second) << i;
        EXPECT_FALSE(parser.next()) << i;
    }
}

// Whatever comes, the parser holds at most a message and a read, and ends.
TEST(WsFrame, RandomBytesNeverCrashIt) {
    SeededRandom random(42);
    for (int round = 0; round < 20000; ++round) {
        WsParser parser(round % 2 == 0 ? WsParser::Role::kServer : WsParser::Role::kClient, 4096);
        for (int piece = 0; piece < 4; ++piece) {
            std::string bytes(random.below(64), '\0');
            for (char& c : bytes) c = static_cast<char>(random.next());
            // Half of the time a plausible first byte, so that the deeper paths are reached.
            if (!bytes.empty() && random.below(2) == 0)
                bytes[0] = static_cast<char>(0x80U | random.below(11));
            parser.feed(bytes);
            int events = 0;
            while (parser.next()) ASSERT_LT(++events, 200);
        }
    }
}

TEST(WsFrame, CutsTheReasonBetweenCharacters) {
    const auto payload = ws_close_payload(1011, std::string(122, 'x') + "\xc3\xa9");
    EXPECT_EQ(payload.size(), 124U);
    EXPECT_TRUE(ws_close_payload(1005, "").empty());
}

TEST(Peer, OnlyAProxyOfThisHostMaySayForWhomItAsks) {
    Request request;
    request.remote = "203.0.113.7:4711";
    request.headers.add("X-Forwarded-For", "10.1.1.1, 198.51.100.4");
    EXPECT_EQ(peer_address(request), "203.0.113.7");
    request.remote = "127.0.0.1:4711";
    EXPECT_EQ(peer_address(request), "198.51.100.4");
    request.remote = "unix";
    EXPECT_EQ(peer_address(request), "198.51.100.4");
    request.headers = {};
    request.remote = "127.0.0.1:4711";
    EXPECT_EQ(peer_address(request), "127.0.0.1");
}

}  // namespace
}  // namespace berth::net
