// SPDX-License-Identifier: Apache-2.0
// What the Hetzner driver computes without asking anybody: labels, names, keys, the budget.
#include <gtest/gtest.h>

#include "core/text.hpp"
#include "provisioner/drivers/hetzner/marks.hpp"
#include "provisioner/drivers/hetzner/rate_budget.hpp"

namespace berth::prov::hetzner {
namespace {

constexpr const char* kMachine = "m_01jd0000000000000000000000";

bool hetzner_takes(const std::string& value) {
    if (value.size() > 63) return false;
    const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
    if (!value.empty() && (!plain(value.front()) || !plain(value.back()))) return false;
    return std::all_of(value.begin(), value.end(), [&](char c) {
        return plain(c) || c == '-' || c == '_' || c == '.';
    });
}

TEST(HetznerMarks, EveryTextBecomesALabelValueThatHetznerTakes) {
    EXPECT_EQ(label_value("team-a"), "team-a");
    EXPECT_EQ(label_value(""), "");
    EXPECT_EQ(label_value(std::string(63, 'a')), std::string(63, 'a'));
    for (const std::string& odd :
         {std::string(64, 'a'),
          std::string("-a"),
          std::string("a_"),
          std::string("a b"),
          std::string("ä"),
          std::string("a\n"),
          std::string(10'000, 'z')}) {
        EXPECT_NE(label_value(odd), odd);
        EXPECT_TRUE(hetzner_takes(label_value(odd))) << label_value(odd);
    }
    EXPECT_NE(label_value(std::string(64, 'a')), label_value(std::string(65, 'a')));
    EXPECT_TRUE(hetzner_takes(deployment_value("anything at all, however long it may be, \n")));
    EXPECT_NE(deployment_value("a"), deployment_value("b"));
}

TEST(HetznerMarks, OnlyBothMarksMakeAThingOurs) {
    const std::string deployment = deployment_value("d");
    MachineSpec spec;
    spec.machine = kMachine;
    spec.org = "o";
    spec.lease = "ls_1";
    Json thing = Json::object().set("labels", machine_labels(deployment, spec));
    EXPECT_TRUE(is_ours(thing, deployment, kMachine));
    EXPECT_EQ(machine_of(thing, deployment), kMachine);
    EXPECT_FALSE(is_ours(thing, deployment_value("other"), kMachine));
    EXPECT_FALSE(is_ours(thing, deployment, "m_01jd0000000000000000000001"));
    EXPECT_FALSE(is_ours(thing, "", kMachine));
    EXPECT_FALSE(is_ours(Json::object(), "", ""));
    EXPECT_FALSE(machine_of(Json::object(), deployment));
    Json labels = Json::object();
    labels.set(kDeploymentLabel, deployment).set(kMachineLabel, "no machine's id");
    EXPECT_FALSE(machine_of(Json::object().set("labels", labels), deployment));
}

TEST(HetznerMarks, NamesAreHostNamesAndOnePerMachine) {
    EXPECT_EQ(resource_name(kMachine), "berth-m-01jd0000000000000000000000");
    EXPECT_NE(
        firewall_name(deployment_value("d"), true), firewall_name(deployment_value("d"), false)
    );
}

TEST(HetznerMarks, TheKeyIsAnEd25519KeyAndAnotherEachTime) {
    const std::string key = make_locked_ssh_key("berth-m-1");
    EXPECT_NE(key, make_locked_ssh_key("berth-m-1"));
    const auto words = split(key, ' ');
    ASSERT_EQ(words.size(), 3U);
    EXPECT_EQ(words[0], "ssh-ed25519");
    EXPECT_EQ(words[1].substr(0, 25), "AAAAC3NzaC1lZDI1NTE5AAAAI")
        << "what ssh-keygen's begin with";
    EXPECT_EQ(words[1].size(), 68U);
}

class RateBudgetTest : public ::testing::Test {
protected:
    SteadyTime now_{std::chrono::hours{1}};
    WallTime wall_{seconds{1'800'000'000}};
};

TEST_F(RateBudgetTest, SpendsToTheReserveThenToTheLast) {
    RateBudget budget(100, 0.1);
    int patient = 0;
    while (budget.take(now_, false) == milliseconds{0}) ++patient;
    EXPECT_EQ(patient, 90);
    int urgent = 0;
    while (budget.take(now_, true) == milliseconds{0}) ++urgent;
    EXPECT_EQ(urgent, 10);
    EXPECT_EQ(budget.take(now_, true), milliseconds{36'000}) << "100 an hour: one each 36 s";
    EXPECT_EQ(budget.take(now_ + seconds{36}, true), milliseconds{0});
    EXPECT_GT(budget.take(now_ + seconds{36}, true), milliseconds{0});
}

TEST_F(RateBudgetTest, BelievesAnAnswerThatSaysLess) {
    RateBudget budget(3600, 0.1);
    RateNotice notice;
    notice.limit = 3600;
    notice.remaining = 1;
    budget.heard(notice, now_, wall_);
    EXPECT_EQ(budget.take(now_, true), milliseconds{0});
    EXPECT_EQ(budget.take(now_, true), milliseconds{1'000});
    notice.remaining = 3000;  // somebody raised the limit or the hour is over
    budget.heard(notice, now_, wall_);
    EXPECT_NEAR(budget.available(now_), 3000, 1);
}

TEST_F(RateBudgetTest, AnAnswerOvertakenByOthersGivesNothingBack) {
    RateBudget budget(3600, 0.1);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(budget.take(now_, true), milliseconds{0});
    RateNotice notice;
    notice.remaining = 3595;  // of the fifth request; nine are counted already
    budget.heard(notice, now_, wall_);
    EXPECT_NEAR(budget.available(now_), 3590, 1);
}

TEST_F(RateBudgetTest, ARefusalClosesForAsLongAsItSays) {
    RateBudget budget(3600, 0.1);
    RateNotice notice;
    notice.refused = true;
    notice.retry_after = seconds{7};
    budget.heard(notice, now_, wall_);
    EXPECT_EQ(budget.take(now_, true), milliseconds{7'000});
    EXPECT_EQ(budget.take(now_ + seconds{7}, true), milliseconds{0});
    notice.retry_after = seconds{1'000'000};
    budget.heard(notice, now_, wall_);
    EXPECT_LE(budget.take(now_, true), milliseconds{3'600'000}) << "no answer closes it for ever";
}

TEST_F(RateBudgetTest, ARefusalWithoutATimeIsAShortPause) {
    RateBudget budget(3600, 0.1);
    RateNotice notice;
    notice.refused = true;
    budget.heard(notice, now_, wall_);
    const milliseconds wait = budget.take(now_, true);
    EXPECT_GT(wait, milliseconds{0});
    EXPECT_LE(wait, milliseconds{5'000});
}

TEST_F(RateBudgetTest, ResetSaysHowFastItFills) {
    RateBudget budget(3600, 0.1);
    RateNotice notice;
    notice.limit = 3600;
    notice.remaining = 0;
    notice.reset_unix = 1'800'000'000 + 60;  // whole again in a minute: 60 a second
    budget.heard(notice, now_, wall_);
    EXPECT_LE(budget.take(now_, true), milliseconds{20});
}

}  // namespace
}  // namespace berth::prov::hetzner
