// SPDX-License-Identifier: Apache-2.0
// A name that does not answer must not hold up the others.
#include "webhook/resolver.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "webhook/settings.hpp"

namespace berth::webhook {
namespace {

TEST(Resolver, ASlowNameDoesNotHoldUpTheNext) {
    std::promise<void> go;
    const auto gone = go.get_future().share();
    std::promise<void> slow_is_asked;
    std::promise<Resolver::Addresses> quick;
    Resolver resolver([&](const std::string& host) -> Result<Resolver::Addresses> {
        if (host == "slow.test") {
            slow_is_asked.set_value();
            gone.wait();
            return Resolver::Addresses{"192.0.2.1"};
        }
        return Resolver::Addresses{"192.0.2.2"};
    });
    resolver.ask("slow.test", [](const Result<Resolver::Addresses>&) {});
    auto asked = slow_is_asked.get_future();
    EXPECT_EQ(asked.wait_for(seconds{20}), std::future_status::ready);
    resolver.ask("quick.test", [&](Result<Resolver::Addresses> addresses) {
        quick.set_value(addresses ? *addresses : Resolver::Addresses{});
    });
    auto answered = quick.get_future();
    const bool in_time = answered.wait_for(seconds{20}) == std::future_status::ready;
    EXPECT_TRUE(in_time);
    if (in_time) {
        EXPECT_EQ(answered.get(), Resolver::Addresses{"192.0.2.2"});
        EXPECT_TRUE(resolver.known("quick.test"));
    }
    EXPECT_FALSE(resolver.known("slow.test"));
    go.set_value();
}

TEST(Resolver, WhoeverWantsOneNameWaitsForOneAnswer) {
    std::promise<void> go;
    const auto gone = go.get_future().share();
    std::atomic<int> asked{0};
    std::atomic<std::size_t> told{0};
    std::promise<void> quick;
    std::promise<void> all;
    Resolver resolver([&](const std::string& host) -> Result<Resolver::Addresses> {
        if (host == "quick.test") return Resolver::Addresses{"192.0.2.2"};
        ++asked;
        gone.wait();
        return unavailable("no_answer", "nobody answers");
    });
    constexpr std::size_t kMany = 10 * kResolverThreads;
    for (std::size_t i = 0; i < kMany; ++i)
        resolver.ask("black-hole.test", [&](const Result<Resolver::Addresses>& addresses) {
            if (!addresses && ++told == kMany) all.set_value();
        });
    resolver.ask("quick.test", [&](const Result<Resolver::Addresses>&) { quick.set_value(); });
    EXPECT_EQ(quick.get_future().wait_for(seconds{20}), std::future_status::ready)
        << "many of one name do not delay another";
    go.set_value();
    EXPECT_EQ(all.get_future().wait_for(seconds{20}), std::future_status::ready);
    EXPECT_EQ(asked, 1);
}

}  // namespace
}  // namespace berth::webhook
