// SPDX-License-Identifier: Apache-2.0
// Requests of nobody: how often they are recorded, and that none is forgotten.
#include "service/refusal_count.hpp"

#include <gtest/gtest.h>

namespace berth::service {
namespace {

const SteadyTime kThen = SteadyTime{} + std::chrono::hours{100};

TEST(Refusals, WhatFollowsTheFirstIsRecordedAMinuteLaterAndNotByTheNextRequest) {
    RefusalCount count;
    EXPECT_TRUE(count.add("192.0.2.1", "forged", kThen));
    EXPECT_TRUE(count.take_due(kThen + RefusalCount::kEvery).empty()) << "it was recorded";
    EXPECT_TRUE(count.add("192.0.2.1", "forged", kThen + RefusalCount::kEvery));
    const SteadyTime later = kThen + RefusalCount::kEvery;
    for (int i = 0; i < 8; ++i) EXPECT_FALSE(count.add("192.0.2.1", "forged", later));
    EXPECT_TRUE(count.take_due(later + seconds{59}).empty());
    const auto due = count.take_due(later + seconds{60});
    ASSERT_EQ(due.size(), 1U);
    EXPECT_EQ(due[0].address, "192.0.2.1");
    EXPECT_EQ(due[0].text(), "forged; 8 more requests since the last record");
    EXPECT_TRUE(count.take_all(later + seconds{60}).empty());
    EXPECT_FALSE(count.add("192.0.2.1", "forged", later + seconds{61})) << "that was a record, too";
}

TEST(Refusals, EachReasonOfAnAddressHasAFirstRecord) {
    RefusalCount count;
    EXPECT_TRUE(count.add("192.0.2.1", "forged", kThen));
    EXPECT_TRUE(count.add("192.0.2.1", "too old", kThen));
    EXPECT_TRUE(count.add("192.0.2.2", "forged", kThen));
    EXPECT_FALSE(count.add("192.0.2.1", "too old", kThen));
    const auto rest = count.take_all(kThen);
    ASSERT_EQ(rest.size(), 1U);
    EXPECT_EQ(rest[0].text(), "too old; 1 more request since the last record");
}

TEST(Refusals, WhatCouldNotBeRecordedIsOfTheNextRecord) {
    RefusalCount count;
    EXPECT_TRUE(count.add("192.0.2.1", "forged", kThen));
    count.put_back({"192.0.2.1", "forged", 0}, kThen);  // the first one
    EXPECT_FALSE(count.add("192.0.2.1", "forged", kThen));
    auto due = count.take_due(kThen + seconds{60});
    ASSERT_EQ(due.size(), 1U);
    EXPECT_EQ(due[0].requests, 2);
    count.put_back(due[0], kThen + seconds{60});
    EXPECT_TRUE(count.take_due(kThen + seconds{61}).empty()) << "not again at once";
    due = count.take_due(kThen + seconds{120});
    ASSERT_EQ(due.size(), 1U);
    EXPECT_EQ(due[0].requests, 2);
}

TEST(Refusals, ManyAddressesShareAPlaceAndNoneIsForgotten) {
    RefusalCount count;
    int told = 0;
    int requests = 0;
    for (int i = 0; i < 1'000; ++i) {
        const std::string address =
            "198.51." + std::to_string(i / 256) + '.' + std::to_string(i % 256);
        for (int j = 0; j < 2; ++j, ++requests) told += count.add(address, "forged", kThen) ? 1 : 0;
    }
    EXPECT_LE(told, static_cast<int>(RefusalCount::kMostPlaces) + 1);
    bool several = false;
    for (const auto& rest : count.take_all(kThen)) {
        told += rest.requests;
        several = several || rest.text().find("of several addresses") != std::string::npos;
    }
    EXPECT_EQ(told, requests);
    EXPECT_TRUE(several);
    // A minute without a request, and the place is another's.
    EXPECT_TRUE(count.add("203.0.113.1", "forged", kThen + RefusalCount::kEvery));
}

}  // namespace
}  // namespace berth::service
