// SPDX-License-Identifier: Apache-2.0
// What needs no token, asked too often: who is refused, and who is not.
#include "gateway/address_limit.hpp"

#include <gtest/gtest.h>

#include "berth/warden/v1/warden.pb.h"
#include "gateway/test_world.hpp"
#include "support/fakes/fake_process.hpp"

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
    EXPECT_LT(until_refused("POST", "/v1/sign_in/github", 1'000), 1'000);
    EXPECT_NE(ask("POST", "/v1/sign_in/github", "203.0.113.8"), 429);
}

TEST(Strangers, WhoEnrolsAMachineThatIsNotTheirsIsAudited) {
    World world;
    world.decide = [](const bus::Message& message) -> Reply {
        if (message.subject == "berth.cmd.prov.enrol")
            return forbidden("token_used", "the token of this machine has been used");
        return not_found("default", "");
    };
    const std::string machine = "m_01j0000000000000000000000a";
    const auto enrol = [&](const std::string& token, const char* address) {
        net::HttpRequest request{"POST", "/v1/nodes/enrol", {{"X-Forwarded-For", address}}};
        request.body = R"({"machine":")" + machine + R"(","token":")" + token + "\"}";
        const Secret nobody;
        return world.send(std::move(request), &nobody).status;
    };
    const auto refused = [&] {
        std::vector<warden::v1::Refused> out;
        const auto rows = world.pool.exec_autocommit(
            {"SELECT payload FROM outbox WHERE subject = 'berth.cmd.warden.refused' ORDER BY id",
             "refused"},
            {},
            store::OnLoss::kRetry
        );
        for (const auto row : rows.value())
            EXPECT_TRUE(out.emplace_back().ParseFromString(row.bytes("payload")));
        return out;
    };
    const std::string used(identity::make_token().reveal());
    EXPECT_EQ(enrol(used, "203.0.113.7"), 403);
    ASSERT_TRUE(testing::eventually([&] { return refused().size() == 1; }));
    EXPECT_EQ(refused()[0].org(), "default");
    EXPECT_EQ(refused()[0].surface(), "gateway");
    EXPECT_EQ(refused()[0].from(), "203.0.113.7");
    EXPECT_EQ(refused()[0].user(), "");
    EXPECT_EQ(
        refused()[0].reason(),
        "enrolment of " + machine + ": the token of this machine has been used"
    );
    // Another reason or another address is told of at once, and no token is written down.
    EXPECT_EQ(enrol("no-token", "203.0.113.7"), 403);
    ASSERT_TRUE(testing::eventually([&] { return refused().size() == 2; }));
    EXPECT_EQ(refused()[1].reason().find("no-token"), std::string::npos);
    EXPECT_EQ(enrol("no-token", "203.0.113.8"), 403);
    ASSERT_TRUE(testing::eventually([&] { return refused().size() == 3; }));
    EXPECT_EQ(refused()[2].from(), "203.0.113.8");
    // What follows is counted, and a stop loses none of it.
    for (int i = 0; i < 3; ++i) EXPECT_EQ(enrol(used, "203.0.113.7"), 403);
    EXPECT_EQ(enrol("no-token", "203.0.113.8"), 403);
    world.gateway->stop();
    ASSERT_EQ(refused().size(), 5U);
    EXPECT_EQ(refused()[3].from(), "203.0.113.7");
    EXPECT_EQ(
        refused()[3].reason(),
        "enrolment: the token of this machine has been used; 3 more requests since the last record"
    );
    EXPECT_EQ(refused()[4].from(), "203.0.113.8");
}

}  // namespace
}  // namespace berth::gateway
