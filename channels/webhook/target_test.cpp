// SPDX-License-Identifier: Apache-2.0
// Where events may go, and everywhere they may not.
#include "webhook/target.hpp"

#include <gtest/gtest.h>

namespace berth::webhook {
namespace {

TEST(WebhookTarget, ReadsWhatIsAUrl) {
    const auto plain = parse_target("https://Hooks.Example.org/a?b=c", false);
    ASSERT_TRUE(plain) << plain.error().describe();
    EXPECT_EQ(plain->host, "hooks.example.org");
    EXPECT_EQ(plain->port, 443);
    EXPECT_EQ(plain->origin, "https://Hooks.Example.org");
    EXPECT_FALSE(plain->is_address);
    const auto six = parse_target("http://[2606:4700::1]:8080/", true);
    ASSERT_TRUE(six);
    EXPECT_EQ(six->host, "2606:4700::1");
    EXPECT_EQ(six->port, 8080);
    EXPECT_TRUE(six->is_address);
    EXPECT_EQ(parse_target("http://example.org", false).error().code, "https_required");
    EXPECT_TRUE(parse_target("https://1.1.1.1?x", false)->is_address);
    const auto loud = parse_target("HTTPS://example.org/", false);
    ASSERT_TRUE(loud) << "a scheme has no case";
    EXPECT_TRUE(loud->https);
    EXPECT_EQ(parse_target("HTTP://127.0.0.1:18720/", true)->port, 18720);
    EXPECT_EQ(parse_target("Http://example.org", false).error().code, "https_required");
    for (const char* name : {"1.example.org", "0x7f.example", "a.b1", "0xg", "1.1.1.1.org"})
        EXPECT_FALSE(parse_target(std::string("https://") + name + "/", false)->is_address) << name;
    const auto hint = [](bool allow_http) {
        return parse_target("ftp://example.org/", allow_http).error().message;
    };
    EXPECT_NE(hint(true).find("or http://"), std::string::npos);
    EXPECT_EQ(hint(false).find("http:"), std::string::npos);
}

TEST(WebhookTarget, RefusesAnIpv4AddressInAnotherSpelling) {
    for (const char* host :
         {"167772161",
          "0xa000001",
          "0XA000001",
          "012.0.0.1",
          "10.1",
          "10.0.1",
          "127.0.0.1.",
          "0x7f.1",
          "1.2.3.0x",
          "example.0x7f",
          "example.1",
          "256.0.0.1",
          "1.2.3.4.5"}) {
        const auto target = parse_target(std::string("http://") + host + "/", true);
        ASSERT_FALSE(target) << host;
        EXPECT_EQ(target.error().code, "bad_url") << host;
    }
}

TEST(WebhookTarget, RefusesWhatCouldBeReadInTwoWays) {
    for (const char* url :
         {"",
          "ftp://example.org/",
          "https://",
          "https:///x",
          "https://user@example.org/",
          "https://example.org@10.0.0.1/",
          "https://example.org\\@10.0.0.1/",
          "https://example.org/#f",
          "https://exa mple.org/",
          "https://example.org/\r\nHost: x",
          "https://example.org:/",
          "https://example.org:0/",
          "https://example.org:65536/",
          "https://example.org:8o/",
          "https://[::1/",
          "https://[1.2.3.4]/",
          "https://[::1]x/",
          "https://[fe80::1%25eth0]/",
          "https://ex\xc3\xa4mple.org/",
          "https://example.org%2f@x/"})
        EXPECT_FALSE(parse_target(url, true)) << url;
    EXPECT_FALSE(parse_target("https://example.org/" + std::string(3'000, 'x'), true));
}

TEST(WebhookTarget, RefusesAddressesThatAreNotOfTheInternet) {
    const AddressGuard guard;
    for (const char* address :
         {"0.0.0.0",
          "10.1.2.3",
          "100.64.0.1",
          "100.100.100.200",
          "127.0.0.1",
          "127.255.255.254",
          "168.63.129.16",
          "169.254.169.254",
          "172.16.0.1",
          "172.31.255.255",
          "192.0.0.192",
          "192.168.1.1",
          "198.18.0.1",
          "203.0.113.9",
          "224.0.0.1",
          "255.255.255.255",
          "::",
          "::1",
          "::ffff:127.0.0.1",
          "::ffff:10.0.0.1",
          "::ffff:a9fe:a9fe",
          "::127.0.0.1",
          "64:ff9b::a00:1",
          "fc00::1",
          "fd00:ec2::254",
          "fe80::1",
          "fec0::1",
          "ff02::1",
          "2001:db8::1",
          "2001::1",
          "2002:7f00:1::",
          "2002:a00:1::1",
          "3fff::1",
          "5f00::1",
          "100::1",
          "fe80::1%lo",
          "localhost",
          "127.1",
          ""})
        EXPECT_EQ(guard.check(address).error().code, "private_address") << address;
    for (const char* address :
         {"1.1.1.1",
          "100.63.255.255",
          "100.128.0.1",
          "172.15.0.1",
          "172.32.0.1",
          "169.253.1.1",
          "192.167.1.1",
          "::ffff:8.8.8.8",
          "64:ff9b::808:808",
          "2606:4700:4700::1111",
          "2a00:1450:4001::1"})
        EXPECT_TRUE(guard.check(address)) << address;
    EXPECT_FALSE(guard.check_all({"1.1.1.1", "10.0.0.1"})) << "one that leads inside is enough";
}

TEST(WebhookTarget, AllowsWhatIsAllowedByName) {
    const AddressGuard guard(
        {parse_network("10.1.0.0/16").value(),
         parse_network("fd00::/9").value(),
         parse_network("127.0.0.1").value()}
    );
    for (const char* address : {"10.1.255.1", "::ffff:10.1.0.1", "fd7f::1", "127.0.0.1"})
        EXPECT_TRUE(guard.check(address)) << address;
    for (const char* address : {"10.2.0.1", "fd80::1", "127.0.0.2", "::1"})
        EXPECT_FALSE(guard.check(address)) << address;
    for (const char* network : {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "fd00::/129", "host"})
        EXPECT_FALSE(parse_network(network)) << network;
}

}  // namespace
}  // namespace berth::webhook
