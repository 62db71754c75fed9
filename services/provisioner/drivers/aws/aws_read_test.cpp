// SPDX-License-Identifier: Apache-2.0
// The AWS driver: lists, tending, keys and clocks, profiles and settings.
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "provisioner/drivers/aws/aws_fixture.hpp"
#include "provisioner/drivers/aws/creation.hpp"

namespace berth::prov::testing {
namespace {

TEST_F(Aws, AListOfManyPagesIsReadToItsEnd) {
    world_.set("page_size", 2);
    world_.boot.heard = [](int) { return true; };
    spec_.profile.set_ssh(true);
    const auto driver = world_.start_driver();
    std::set<std::string> made;
    for (int i = 0; i < 7; ++i) {
        spec_.machine = world_.make_spec().machine;
        set_locations(spec_, {i % 2 == 0 ? "eu-central-1" : "eu-west-1"});
        ASSERT_TRUE(create(*driver));
        made.insert(spec_.machine);
    }
    const auto listed = driver->list();
    ASSERT_TRUE(listed) << listed.error().describe();
    EXPECT_EQ(std::set<std::string>(listed->begin(), listed->end()), made);
    int pages = 0;
    for (const Json& one : world_.requests()) pages += one.find("NextToken") != nullptr ? 1 : 0;
    EXPECT_GT(pages, 5);
    // A page that fails in the middle: nothing is known.
    world_.rules(R"([{"action":"DescribeVolumes","skip":1,"times":5,"kind":"error",
                      "code":"InternalError","status":500}])");
    EXPECT_FALSE(driver->list());
    for (const std::string& machine : made) EXPECT_TRUE(driver->destroy(machine));
    EXPECT_EQ(world_.machines() + world_.leftovers(), 0);
}

class AwsBadList : public Aws, public ::testing::WithParamInterface<const char*> {};

TEST_P(AwsBadList, AnAnswerThatIsNotOneIsNeverAnEmptyList) {
    expect_created();
    const auto driver = world_.start_driver();
    for (const char* action :
         {"DescribeInstances", "DescribeKeyPairs", "DescribeSecurityGroups", "DescribeVolumes"}) {
        world_.rules(
            std::string(R"([{"action":")") + action + R"(","times":1000,"kind":")" + GetParam() +
            R"("}])"
        );
        const auto listed = driver->list();
        ASSERT_FALSE(listed) << action;
        EXPECT_TRUE(is_retryable(listed.error().fault)) << listed.error().describe();
        world_.control("POST", "clear_rules");
    }
    EXPECT_EQ(driver->list().value(), std::vector<std::string>{spec_.machine});
}

INSTANTIATE_TEST_SUITE_P(
    Kinds,
    AwsBadList,
    ::testing::Values("cut", "html", "drop", "drop_after"),
    [](const auto& entry) { return std::string(entry.param); }
);

TEST_F(Aws, AListThatNeverEndsIsGivenUp) {
    if (AwsWorld::with_moto()) GTEST_SKIP() << "said once is enough";
    world_.rules(R"([{"action":"DescribeVolumes","kind":"rewrite","times":100,
                      "from":"</volumeSet>","to":"</volumeSet><nextToken>same</nextToken>"}])");
    const auto listed = world_.start_driver()->list();
    ASSERT_FALSE(listed);
    EXPECT_EQ(listed.error().code, "endless_list");
}

TEST_F(Aws, TendingTellsWorkingFromEndedFromNotSeen) {
    expect_created();
    const auto driver = world_.start_driver();
    EXPECT_EQ(driver->tend(spec_).value(), Condition::kWorking);
    // Gone from the lists without a trace: not believed at once.
    MachineSpec other = world_.make_spec();
    world_.settings.consistency = milliseconds{40};
    const auto patient = world_.start_driver();
    const auto began = std::chrono::steady_clock::now();
    auto condition = patient->tend(other);
    ASSERT_FALSE(condition);
    EXPECT_EQ(condition.error().code, "not_listed");
    while (!(condition = patient->tend(other))) {
        ASSERT_LT(std::chrono::steady_clock::now() - began, seconds{5});
    }
    EXPECT_EQ(*condition, Condition::kMissing);
    EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds{40});
    // Ended by somebody else: seen as that at once.
    const Json instance = world_.live_instances().at(0);
    (void)world_.raw(
        "eu-central-1",
        {{"Action", "TerminateInstances"}, {"InstanceId.1", instance.string_or("id", "")}}
    );
    EXPECT_EQ(driver->tend(spec_).value(), Condition::kMissing);
    expect_destroyed();
}

TEST_F(Aws, ManyTendsCostOneReading) {
    world_.settings.inventory_every = seconds{60};
    const auto driver = world_.start_driver();
    ASSERT_TRUE(create(*driver));
    const std::size_t before = world_.requests().size();
    for (int i = 0; i < 50; ++i) {
        ASSERT_EQ(driver->tend(spec_).value(), Condition::kWorking);
        ASSERT_EQ(driver->list()->size(), 1U);
    }
    EXPECT_EQ(world_.requests().size() - before, 8U) << "four lists in each of two regions";
    ASSERT_TRUE(driver->destroy(spec_.machine));
    EXPECT_TRUE(driver->list()->empty()) << "what was read before the end is forgotten";
    EXPECT_EQ(driver->tend(spec_).value(), Condition::kMissing);
}

TEST_F(Aws, AWrongClockIsCorrectedByAwsOwn) {
    for (const int offset : {7'200, -7'200}) {
        world_.control("POST", "reset");
        spec_.machine = world_.make_spec().machine;
        world_.set("clock_offset", offset);
        expect_created();
        expect_destroyed();
    }
    // A clock that is refused again and again is not asked for ever.
    world_.rule("DescribeInstances", "RequestExpired", 100);
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "aws_denied");
}

TEST_F(Aws, TemporaryKeysBringTheirToken) {
    world_.settings.credentials = {
        "ASIAFAKE", Secret("temporary-secret"), Secret("temporary-token")};
    expect_created();
    expect_destroyed();
}

TEST_F(Aws, AWrongKeyIsFinalAndShownNowhere) {
    world_.settings.credentials.secret_key = Secret("another-secret");
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "aws_denied");
    EXPECT_FALSE(is_retryable(made.error().fault));
    EXPECT_NE(made.error().message.find("SignatureDoesNotMatch"), std::string::npos);
    EXPECT_EQ(made.error().message.find("another-secret"), std::string::npos);
    EXPECT_FALSE(world_.start_driver()->list());
    EXPECT_FALSE(world_.start_driver()->destroy(spec_.machine));
}

TEST_F(Aws, ARefusalThatNothingMendsIsFinal) {
    world_.rules(R"([{"action":"RunInstances","kind":"error","code":"UnauthorizedOperation",
                      "status":403,"message":"You are not authorized. Encoded message: éé"}])");
    auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "aws_denied");
    world_.rule("RunInstances", "InvalidParameterCombination");
    made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "aws_refused");
    EXPECT_EQ(made.error().fault, Fault::kInvalid);
    EXPECT_TRUE(attempts_.empty());
    expect_destroyed();
}

TEST(AwsProfile, SaysWhatItLacksBeforeAnythingIsAsked) {
    AwsWorld world;
    const auto refused = [&](const std::function<void(MachineSpec&)>& spoil) {
        MachineSpec spec = world.make_spec();
        spoil(spec);
        Attempts attempts;
        const auto made = world.start_driver()->create(spec, attempts);
        return made ? std::string() : made.error().code;
    };
    using Spec = MachineSpec;
    EXPECT_EQ(refused([](Spec& spec) { spec.machine = "m_x"; }), "bad_id");
    EXPECT_EQ(refused([](Spec& spec) { spec.profile.clear_image(); }), "bad_profile");
    EXPECT_EQ(refused([](Spec& spec) { spec.profile.clear_types(); }), "bad_profile");
    EXPECT_EQ(refused([](Spec& spec) { set_locations(spec, {"mars-1"}); }), "unknown_location");
    EXPECT_EQ(
        refused([](Spec& spec) { set_types(spec, std::vector<std::string>(40, "t3.small")); }),
        "bad_profile"
    );
    world.settings.ssh_public_key.clear();
    EXPECT_EQ(refused([](Spec&) {}), "bad_profile");
    EXPECT_EQ(world.requests().size(), 0U);
    EXPECT_EQ(
        refused([](Spec& spec) {
            spec.profile.set_ssh(false);
            spec.profile.set_image("debian-12");  // whoever publishes one under that name
        }),
        "bad_profile"
    );
    world.boot.user_data_prefix = std::string(20'000, 'x');
    EXPECT_EQ(refused([](Spec& spec) { spec.profile.set_ssh(false); }), "user_data_too_large");
    EXPECT_EQ(world.live_instances().size(), 0U);
}

TEST(AwsSettingsCheck, NamesTheFieldThatIsWrong) {
    AwsWorld world;
    const auto field = [&](const std::function<void(AwsSettings&)>& spoil) {
        AwsSettings settings = world.settings;
        spoil(settings);
        const auto good = check(settings);
        return good ? std::string() : good.error().field;
    };
    EXPECT_EQ(field([](AwsSettings&) {}), "");
    EXPECT_EQ(field([](AwsSettings& s) { s.deployment.clear(); }), "deployment");
    EXPECT_EQ(field([](AwsSettings& s) { s.credentials.access_key.clear(); }), "credentials");
    EXPECT_EQ(field([](AwsSettings& s) { s.regions.clear(); }), "regions");
    EXPECT_EQ(field([](AwsSettings& s) { s.regions[1].name = s.regions[0].name; }), "regions");
    EXPECT_EQ(field([](AwsSettings& s) { s.regions[0].name = "a/b"; }), "regions");
    EXPECT_EQ(field([](AwsSettings& s) { s.regions[0].subnets = {"subnet-1"}; }), "regions");
    EXPECT_EQ(field([](AwsSettings& s) { s.endpoint = "ftp://x"; }), "endpoint");
    EXPECT_EQ(field([](AwsSettings& s) { s.ssh_sources.clear(); }), "ssh_sources");
}

TEST(AwsOffers, KeepTheirPlaceAndTheirTokens) {
    AwsWorld world;
    const MachineSpec spec = world.make_spec();
    const auto first = aws::offers_of(world.settings, spec);
    const auto again = aws::offers_of(world.settings, spec);
    ASSERT_TRUE(first && again);
    ASSERT_EQ(first->size(), 8U);
    std::set<std::string> tokens;
    for (std::size_t i = 0; i < first->size(); ++i) {
        EXPECT_EQ((*first)[i].client_token, (*again)[i].client_token);
        EXPECT_LE((*first)[i].client_token.size(), 64U) << "EC2's limit";
        tokens.insert((*first)[i].client_token);
    }
    EXPECT_EQ(tokens.size(), 8U);
    EXPECT_EQ((*first)[0].text(), "t3.small in eu-central-1 (spot)");
    EXPECT_EQ((*first)[1].text(), "t3.small in eu-central-1");
    EXPECT_EQ((*first)[2].text(), "t3.large in eu-central-1 (spot)");
    EXPECT_EQ((*first)[4].text(), "t3.small in eu-west-1 (spot)");
}

}  // namespace
}  // namespace berth::prov::testing
