// SPDX-License-Identifier: Apache-2.0
// The AWS driver against an EC2 that is full, slow to start, or loses answers.
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "provisioner/drivers/aws/aws_fixture.hpp"
#include "provisioner/drivers/aws/creation.hpp"

namespace berth::prov::testing {
namespace {

class AwsCapacity : public Aws, public ::testing::WithParamInterface<const char*> {};

TEST_P(AwsCapacity, EveryWordForNoRoomTriesTheNextTypeThenTheNextRegion) {
    const std::string code = GetParam();
    world_.rules(
        R"([{"action":"RunInstances","region":"eu-central-1","kind":"error","times":2,"code":")" +
        code + R"("}])"
    );
    expect_created();
    EXPECT_EQ(
        tried(),
        (Tried{
            "t3.small in eu-central-1: " + code,
            "t3.large in eu-central-1: " + code,
            "t3.small in eu-west-1: created"})
    );
    EXPECT_NE(attempts_.at(0).message.find(code), std::string::npos);
    expect_destroyed();
}

INSTANTIATE_TEST_SUITE_P(
    Codes,
    AwsCapacity,
    ::testing::Values(
        "InsufficientInstanceCapacity",
        "VcpuLimitExceeded",
        "InstanceLimitExceeded",
        "MaxSpotInstanceCountExceeded",
        "SpotMaxPriceTooLow",
        "Unsupported",
        "InsufficientFreeAddressesInSubnet",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "InsufficientAddressCapacity",
        "InsufficientVolumeCapacity",
        "VolumeLimitExceeded",
        "NetworkInterfaceLimitExceeded",
        "PendingVerification",
        "OptInRequired",
        "IdempotentInstanceTerminated"
    ),
    [](const auto& entry) { return std::string(entry.param); }
);

TEST_F(Aws, SpotFirstAndOnDemandWhereSpotHasNoRoom) {
    spec_.profile.set_spot(true);
    world_.rules(R"([{"action":"RunInstances","kind":"error","code":"InsufficientInstanceCapacity",
                      "match":{"InstanceMarketOptions.MarketType":"spot"}}])");
    expect_created();
    EXPECT_EQ(
        tried(),
        (Tried{
            "t3.small in eu-central-1 (spot): InsufficientInstanceCapacity",
            "t3.small in eu-central-1: created"})
    );
    EXPECT_EQ(world_.live_instances().at(0).string_or("lifecycle", ""), "");
    expect_destroyed();

    spec_.machine = world_.make_spec().machine;
    expect_created();
    EXPECT_EQ(world_.live_instances().at(0).string_or("lifecycle", ""), "spot");
    const Json run = world_.requests("RunInstances").back();
    EXPECT_EQ(run.string_or("InstanceMarketOptions.SpotOptions.SpotInstanceType", ""), "one-time");
    expect_destroyed();
}

TEST_F(Aws, WhenEverythingIsFullItSaysSoWithEachAttempt) {
    spec_.profile.set_spot(true);
    world_.rule("RunInstances", "InsufficientInstanceCapacity", 100);
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, kCapacityExhausted);
    EXPECT_EQ(made.error().fault, Fault::kUnavailable);
    EXPECT_EQ(attempts_.size(), 8U) << "2 regions, 2 types, 2 markets";
    std::set<std::string> tokens;
    for (const Json& run : world_.requests("RunInstances"))
        tokens.insert(run.string_or("ClientToken", ""));
    EXPECT_EQ(tokens.size(), 8U) << "each offer is a request of its own";
    expect_destroyed();
}

TEST_F(Aws, ATypeStatedAloneDoesNotFallBackToAnother) {
    set_types(spec_, {"t3.large"});
    set_locations(spec_, {"eu-west-1"});
    world_.rule("RunInstances", "InsufficientInstanceCapacity");
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, kCapacityExhausted);
    EXPECT_EQ(tried(), (Tried{"t3.large in eu-west-1: InsufficientInstanceCapacity"}));
}

TEST_F(Aws, SubnetsAreTriedInTheirOrder) {
    world_.settings.regions = {{"eu-central-1", "vpc-eu-central-1", {"subnet-a", "subnet-b"}}};
    if (AwsWorld::with_moto()) GTEST_SKIP() << "moto has no such VPC";
    set_locations(spec_, {});
    world_.rule("RunInstances", "InsufficientFreeAddressesInSubnet");
    expect_created();
    EXPECT_EQ(
        tried(),
        (Tried{
            "t3.small in eu-central-1/subnet-a: InsufficientFreeAddressesInSubnet",
            "t3.small in eu-central-1/subnet-b: created"})
    );
    EXPECT_EQ(world_.requests("RunInstances").back().string_or("SubnetId", ""), "subnet-b");
    expect_destroyed();
}

TEST_F(Aws, AThrottledRequestIsRepeatedThenTheNextOfferIsTaken) {
    world_.rule("DescribeImages", "RequestLimitExceeded", 2, 503);
    world_.rule("RunInstances", "RequestLimitExceeded", 3, 503);
    expect_created();
    EXPECT_EQ(tried(), (Tried{"t3.small in eu-central-1: created"}));
    EXPECT_EQ(world_.requests("RunInstances").size(), 4U);
    expect_destroyed();

    spec_.machine = world_.make_spec().machine;
    world_.rule("RunInstances", "RequestLimitExceeded", 5, 503);
    expect_created();
    EXPECT_EQ(
        tried(),
        (Tried{
            "t3.small in eu-central-1: RequestLimitExceeded", "t3.large in eu-central-1: created"})
    );
    expect_destroyed();
}

TEST_F(Aws, AnInstanceThatEndsOnItsWayUpIsARefusalToo) {
    // What EC2 says when room runs out after it took the request.
    world_.boot.heard = [this](int wait) {
        if (wait == 1) {
            const Json first = world_.live_instances().at(0);
            (void)world_.raw(
                "eu-central-1",
                {{"Action", "TerminateInstances"}, {"InstanceId.1", first.string_or("id", "")}}
            );
            world_.rules(R"([{"action":"DescribeInstances","kind":"rewrite",
                              "from":"Client.UserInitiatedShutdown",
                              "to":"Server.InsufficientInstanceCapacity","times":1}])");
        }
        return wait >= 3;
    };
    expect_created();
    EXPECT_EQ(
        tried(),
        (Tried{
            "t3.small in eu-central-1: created",
            "t3.small in eu-central-1: Server.InsufficientInstanceCapacity",
            "t3.large in eu-central-1: created"})
    );
    EXPECT_EQ(world_.boot.replaced_machines, std::vector<std::string>{spec_.machine})
        << "the first may have used the token";
    // Made again from the beginning, the offer that is used up is passed over.
    expect_created();
    expect_destroyed();
}

TEST_F(Aws, AnImageThatOneRegionLacksIsLookedForInTheNext) {
    world_.rules(R"([{"action":"DescribeImages","region":"eu-central-1","kind":"error",
                      "code":"InvalidAMIID.NotFound"}])");
    expect_created();
    EXPECT_EQ(
        tried(), (Tried{"eu-central-1: InvalidAMIID.NotFound", "t3.small in eu-west-1: created"})
    );
    expect_destroyed();

    spec_.profile.set_image("099720109477/no-such-image");
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "no_image");
    EXPECT_FALSE(is_retryable(made.error().fault));
}

class AwsLostAnswer : public Aws, public ::testing::WithParamInterface<const char*> {};

TEST_P(AwsLostAnswer, WhatWasCarriedOutIsNotDoneTwice) {
    spec_.profile.set_ssh(true);
    for (const char* action :
         {"CreateSecurityGroup",
          "ImportKeyPair",
          "AuthorizeSecurityGroupIngress",
          "RunInstances"}) {
        world_.rules(
            std::string(R"([{"action":")") + action + R"(","kind":")" + GetParam() +
            R"(","status":500,"code":"InternalError"}])"
        );
    }
    expect_created();
    EXPECT_EQ(world_.things("instances").size(), 1U);
    EXPECT_EQ(world_.things("groups").size(), 2U);
    EXPECT_EQ(world_.things("keys").size(), 1U);
    for (const char* action : {"TerminateInstances", "DeleteKeyPair", "DeleteSecurityGroup"}) {
        world_.rules(
            std::string(R"([{"action":")") + action + R"(","kind":")" + GetParam() +
            R"(","status":500,"code":"InternalError"}])"
        );
    }
    expect_destroyed();
}

INSTANTIATE_TEST_SUITE_P(
    Kinds,
    AwsLostAnswer,
    ::testing::Values("error_after", "drop_after", "drop", "error"),
    [](const auto& entry) { return std::string(entry.param); }
);

TEST_F(Aws, AnOutageIsAgainLaterAndMovesNothingElsewhere) {
    world_.rule("RunInstances", "ServiceUnavailable", 5, 503);
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "aws_unavailable");
    EXPECT_EQ(made.error().fault, Fault::kUnavailable);
    EXPECT_TRUE(attempts_.empty()) << "whether it was carried out is not known";
    expect_created();
    expect_destroyed();
}

TEST_F(Aws, ACrashAndALateListMakeTwoAndOneIsEnded) {
    // The first create gets the second offer, dies, and the lists do not show it yet; the next one
    // gets the first offer.
    world_.set("hide_looks", 3);
    world_.rule("RunInstances", "InsufficientInstanceCapacity");
    world_.boot.heard = [](int) -> bool { throw Crashed{}; };
    EXPECT_THROW((void)create(), Crashed);
    world_.boot.heard = [](int wait) { return wait >= 8; };
    ASSERT_TRUE(create());
    EXPECT_EQ(world_.things("instances").size(), 2U);
    const auto live = world_.live_instances();
    ASSERT_EQ(live.size(), 1U);
    EXPECT_EQ(live[0].string_or("type", ""), "t3.small") << "the one that was waited for";
    expect_destroyed();
}

TEST_F(Aws, WhatListsDoNotShowYetIsWaitedFor) {
    world_.set("hide_looks", 5);
    world_.boot.heard = [](int wait) { return wait >= 8; };
    expect_created();
    expect_destroyed();
}

TEST_F(Aws, AnInstanceThatNeverShowsIsTakenAsLost) {
    world_.settings.consistency = milliseconds{20};
    world_.set("hide_looks", 1'000'000);
    world_.boot.heard = [](int) { return false; };
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "machine_died");
    EXPECT_EQ(tried().at(1), "t3.small in eu-central-1: vanished");
}

TEST_F(Aws, GroupsAndKeysMadeAMomentAgoMayBeUnknownForAMoment) {
    spec_.profile.set_ssh(true);
    world_.rule("AuthorizeSecurityGroupIngress", "InvalidGroup.NotFound", 2);
    world_.rule("RunInstances", "InvalidGroup.NotFound", 2);
    world_.rule("RunInstances", "InvalidKeyPair.NotFound", 2);
    expect_created();
    EXPECT_EQ(tried(), (Tried{"t3.small in eu-central-1: created"}));
    expect_destroyed();
}

TEST_F(Aws, WhatAnotherMadeMeanwhileIsLookedForHoweverLongThatTook) {
    spec_.profile.set_ssh(true);
    world_.settings.consistency = milliseconds{1};  // over before any of these is asked for
    world_.rules(R"([{"action":"CreateSecurityGroup","kind":"error_after","times":2,
                      "code":"InvalidGroup.Duplicate"},
                     {"action":"ImportKeyPair","kind":"error_after",
                      "code":"InvalidKeyPair.Duplicate"}])");
    expect_created();
    EXPECT_EQ(world_.requests("CreateSecurityGroup").size(), 2U);
    EXPECT_EQ(world_.requests("ImportKeyPair").size(), 1U);
    expect_destroyed();
}

TEST_F(Aws, ASlowStartIsWaitedForAndSilenceIsToldInTheEnd) {
    world_.rules(R"([{"action":"DescribeInstances","kind":"rewrite","times":20,
                      "from":"<code>16</code><name>running</name>",
                      "to":"<code>0</code><name>pending</name>"}])");
    world_.boot.heard = [](int wait) { return wait >= 15; };
    expect_created();

    world_.settings.create_patience = milliseconds{100};
    world_.boot.heard = [](int) { return false; };
    const auto silent = create();
    ASSERT_FALSE(silent);
    EXPECT_EQ(silent.error().code, "node_silent");
    EXPECT_NE(silent.error().message.find("gateway_url"), std::string::npos) << "what to look at";
    EXPECT_EQ(silent.error().fault, Fault::kUnavailable);
    EXPECT_EQ(world_.live_instances().size(), 1U) << "left for the next create to adopt";
    expect_destroyed();
}

TEST_F(Aws, ATokenUsedForAnotherRequestLeadsToWhatThatMade) {
    world_.boot.heard = [](int) -> bool { throw Crashed{}; };
    world_.set("hide_looks", 2);
    EXPECT_THROW((void)create(), Crashed);
    // The repetition differs, as with a newer build of the image.
    world_.boot.user_data_prefix = "#cloud-config\n# other for ";
    world_.boot.heard = [](int wait) { return wait >= 2; };
    expect_created();
    EXPECT_EQ(world_.things("instances").size(), 1U);

    // And where that has ended long ago, to the next offer.
    const Json first = world_.live_instances().at(0);
    (void)world_.raw(
        "eu-central-1",
        {{"Action", "TerminateInstances"}, {"InstanceId.1", first.string_or("id", "")}}
    );
    // The fake ends it when its time has come, and tells nobody.
    for (const auto until = std::chrono::steady_clock::now() + seconds{30};
         !world_.live_instances().empty() && std::chrono::steady_clock::now() < until;)
        std::this_thread::sleep_for(milliseconds{1});
    ASSERT_TRUE(world_.live_instances().empty());
    world_.boot.user_data_prefix = "#cloud-config\n# third for ";
    expect_created();
    EXPECT_EQ(tried().back(), "t3.large in eu-central-1: created");
    expect_destroyed();
}

}  // namespace
}  // namespace berth::prov::testing
