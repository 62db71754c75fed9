// SPDX-License-Identifier: Apache-2.0
// What ends of a session mean, what is kept over a crash, and the budgets.
#include "discord/session.hpp"

#include <gtest/gtest.h>

#include "discord/limits.hpp"
#include "discord/settings.hpp"
#include "support/fakes/heard.hpp"

namespace berth::discord {
namespace {

TEST(Session, EachCloseCodeMeansWhatIsDocumented) {
    for (const int code : {1000, 1001, 1006, 4000, 4001, 4002, 4003, 4005, 4008})
        EXPECT_EQ(meaning_of(code, "").next, Next::kResume) << code;
    for (const int code : {4007, 4009})
        EXPECT_EQ(meaning_of(code, "").next, Next::kIdentify) << code;
    EXPECT_EQ(meaning_of(4004, "").next, Next::kRefused);
    for (const int code : {4010, 4011, 4012, 4013, 4014})
        EXPECT_EQ(meaning_of(code, "").next, Next::kStop) << code;
    EXPECT_NE(meaning_of(4000, "the words").reason.find("the words"), std::string::npos);
}

TEST(Session, WhatIsRememberedIsReadAgainAndNothingElse) {
    const Session session{"abc", "wss://gateway.test", 42};
    const Session read = session_of(session_text(session));
    EXPECT_EQ(read.id + read.url + std::to_string(read.seq), "abcwss://gateway.test42");
    EXPECT_EQ(session_text({}), "");
    EXPECT_TRUE(session_of("").empty());
    EXPECT_TRUE(session_of(R"({"id":"a","url":"wss)").empty());
    EXPECT_TRUE(session_of(R"({"id":"a","url":"https://x","seq":1})").empty());
    EXPECT_TRUE(session_of(R"({"id":"a b","url":"wss://x","seq":1})").empty());
    EXPECT_EQ(session_text({std::string(3'000, 'x'), "wss://x", 1}), "");
}

TEST(Session, WhatAProcessLeftTheNextOneFinds) {
    berth::testing::Heard database;
    {
        SessionKeeper keeper;
        ASSERT_TRUE(keeper.open(database));
        EXPECT_TRUE(keeper.session().empty());
        keeper.start({"abc", "wss://gateway.test", 1});
        keeper.advance("abc", 7);
        keeper.advance("abc", 5);     // late
        keeper.advance("other", 99);  // of an older session
        keeper.remember(false);       // a moment after the last time: not yet
        EXPECT_EQ(session_of(*database.recall()).seq, 1);
        keeper.remember(true);
    }
    SessionKeeper keeper;
    ASSERT_TRUE(keeper.open(database));
    EXPECT_EQ(keeper.session().seq, 7);
    EXPECT_EQ(keeper.session().id, "abc");
    keeper.forget();
    EXPECT_EQ(*database.recall(), "");
}

TEST(Session, AfterItsEndNobodyIsAskedToRememberIt) {
    SessionKeeper keeper;
    {
        berth::testing::Heard database;
        ASSERT_TRUE(keeper.open(database));
        keeper.close();
    }
    keeper.start({"abc", "wss://gateway.test", 1});  // what it has is still to be remembered
    keeper.close();
}

class Limits : public ::testing::Test {
protected:
    milliseconds take(const std::string& major, bool by_token = false) {
        return limits_.take("POST /m", major, by_token, now_);
    }
    void learn(const std::string& major, std::string remaining, std::string reset) {
        limits_.learn("POST /m", major, {"bucket", std::move(remaining), std::move(reset)}, now_);
    }
    SteadyTime now_ = SteadyTime{} + std::chrono::hours{1};
    RateLimits limits_;
};

TEST_F(Limits, ARouteThatIsUsedUpIsWaitedForAndOthersAreNot) {
    EXPECT_EQ(take("a").count(), 0);
    learn("a", "1", "2.5");
    EXPECT_EQ(take("a").count(), 0);
    EXPECT_EQ(take("a"), milliseconds{2'500});
    EXPECT_EQ(take("b").count(), 0);
    now_ += milliseconds{2'501};
    EXPECT_EQ(take("a").count(), 0);
}

TEST_F(Limits, AnswersThatOvertakeEachOtherDoNotGiveBackWhatIsUsed) {
    learn("a", "1", "2.0");
    learn("a", "3", "2.0");
    EXPECT_EQ(take("a").count(), 0);
    EXPECT_GT(take("a").count(), 0);
}

TEST_F(Limits, ARefusalClosesItsRouteOrAllOfThem) {
    limits_.refused("POST /m", "a", false, milliseconds{700}, now_);
    EXPECT_EQ(take("a"), milliseconds{700});
    EXPECT_EQ(take("b").count(), 0);
    limits_.refused("POST /m", "a", true, milliseconds{900}, now_);
    EXPECT_EQ(take("b"), milliseconds{900});
    EXPECT_EQ(take("c", true).count(), 0);  // interactions have budgets of their own
}

TEST_F(Limits, NoSecondHasMoreThanAllRequestsMay) {
    for (std::size_t i = 0; i < kGlobalPerSecond; ++i) {
        EXPECT_EQ(take(std::to_string(i)).count(), 0);
        now_ += milliseconds{1};
    }
    const milliseconds passed{static_cast<long long>(kGlobalPerSecond)};
    EXPECT_EQ(take("x"), milliseconds{1'000} - passed);
    now_ += milliseconds{1'000} - passed;
    EXPECT_EQ(take("x").count(), 0);  // the first of them is a second old
    EXPECT_EQ(take("y"), milliseconds{1});
}

TEST_F(Limits, ManyRefusalsStopEverythingBeforeTheAddressIsBanned) {
    for (int i = 0; i < kMaxInvalid - 1; ++i) limits_.invalid(now_);
    EXPECT_EQ(take("a").count(), 0);
    limits_.invalid(now_ + seconds{1});
    EXPECT_EQ(take("a"), std::chrono::duration_cast<milliseconds>(kInvalidWindow));
    now_ += kInvalidWindow + milliseconds{1};
    EXPECT_EQ(take("a").count(), 0);
}

TEST_F(Limits, NonsenseInHeadersIsIgnored) {
    learn("a", "", "1");
    learn("a", "x", "1");
    learn("a", "0", "-3");
    learn("a", "0", "nan");
    EXPECT_EQ(take("a").count(), 0);
}

}  // namespace
}  // namespace berth::discord
