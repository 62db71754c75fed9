// SPDX-License-Identifier: Apache-2.0
// What needs no token, asked too often: who is refused, and who is not.
#include "gateway/address_limit.hpp"

#include <gtest/gtest.h>

#include "gateway/test_world.hpp"

namespace berth::gateway {
namespace {

TEST(AddressLimit, EachAddressHasItsOwnAndItFillsAgain) {
    AddressLimit limit(3, 60);
    const SteadyTime start{};
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(limit.take("203.0.113.7", start)) << i;
    EXPECT_FALSE(limit.take("203.0.113.7", start));
    EXPECT_TRUE(limit.take("203.0.113.8", start));
    EXPECT_TRUE(limit.take("203.0.113.7", start + seconds{1}));
    EXPECT_FALSE(limit.take("203.0.113.7", start + seconds{1}));
}

TEST(AddressLimit, ManyAddressesGetNoRoomBeyondWhatIsRemembered) {
    AddressLimit limit(2, 1);
    const SteadyTime start{};
    std::size_t taken = 0;
    for (std::size_t i = 0; i < AddressLimit::kMost + 100; ++i)
        taken += limit.take(std::to_string(i), start) ? 1 : 0;
    EXPECT_EQ(taken, AddressLimit::kMost + 2) << "all others share one";
}

TEST(AddressLimit, OnlyAProxyOfThisHostMaySayForWhomItAsks) {
    net::Request request;
    request.remote = "203.0.113.7:4711";
    request.headers.add("X-Forwarded-For", "10.1.1.1, 198.51.100.4");
    EXPECT_EQ(address_of(request), "203.0.113.7");
    request.remote = "127.0.0.1:4711";
    EXPECT_EQ(address_of(request), "198.51.100.4");
    request.remote = "unix";
    EXPECT_EQ(address_of(request), "198.51.100.4");
    request.headers = {};
    request.remote = "127.0.0.1:4711";
    EXPECT_EQ(address_of(request), "127.0.0.1");
}

TEST(AddressLimit, WhatNeedsNoTokenMayNotBeAskedWithoutEnd) {
    World world;
    const auto ask = [&](const char* method, const char* path, const char* address) {
        net::HttpRequest request{method, path, {{"X-Forwarded-For", address}}};
        const Secret nobody;
        return world.send(std::move(request), &nobody).status;
    };
    const auto until_refused = [&](const char* method, const char* path, int most) {
        int count = 0;
        while (count < most && ask(method, path, "203.0.113.7") != 429) ++count;
        return count;
    };
    const int enrolled = until_refused("POST", "/v1/nodes/enrol", 1'000);
    EXPECT_GE(enrolled, static_cast<int>(kEnrolBurst));
    EXPECT_LT(enrolled, 1'000) << "never refused";
    EXPECT_NE(ask("POST", "/v1/nodes/enrol", "203.0.113.8"), 429) << "another address";
    EXPECT_LT(until_refused("GET", "/v1/nodes/bundle", 1'000), 1'000);
    EXPECT_NE(ask("GET", "/v1/nodes/bundle", "203.0.113.8"), 429);
}

}  // namespace
}  // namespace berth::gateway
