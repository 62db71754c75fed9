// SPDX-License-Identifier: Apache-2.0
// The AWS driver: the contract of drivers, what it asks for, what it removes, what it never
// touches.
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "core/text.hpp"
#include "provisioner/driver_contract.hpp"
#include "provisioner/drivers/aws/aws_fixture.hpp"
#include "provisioner/drivers/aws/creation.hpp"

namespace berth::prov::testing {
namespace {

INSTANTIATE_TEST_SUITE_P(
    Aws,
    DriverContract,
    ::testing::Values(WorldCase{"aws", [] { return std::make_unique<AwsWorld>(); }}),
    [](const auto& entry) { return entry.param.name; }
);

TEST_F(Aws, AMachineIsOneGuardedInstanceAndSaysWhoseItIs) {
    spec_.profile.set_disk_gib(40);
    expect_created();
    const Json instance = world_.live_instances().at(0);
    EXPECT_EQ(instance.string_or("type", ""), "t3.small");
    EXPECT_EQ(instance.string_or("image", ""), "ami-785db401") << "the newest of that owner's";
    EXPECT_EQ(instance.string_or("tokens", ""), "required") << "IMDSv2";
    EXPECT_EQ(instance.string_or("key", ""), "") << "no ssh, no key";
    EXPECT_EQ(AwsWorld::tag(instance, "Name"), "berth-calm-otter");
    EXPECT_EQ(AwsWorld::tag(instance, "berth:machine"), spec_.machine);
    EXPECT_EQ(AwsWorld::tag(instance, "berth:deployment"), "ADEPLOYMENT");
    const auto volumes = world_.things("volumes");
    ASSERT_EQ(volumes.size(), 1U);
    EXPECT_EQ(volumes.at(0).string_or("size", ""), "40");
    EXPECT_EQ(AwsWorld::tag(volumes.at(0), "berth:machine"), spec_.machine);
    EXPECT_EQ(AwsWorld::tag(instance, "berth:command"), spec_.command);
    const auto groups = world_.things("groups");
    ASSERT_EQ(groups.size(), 1U) << "the one that all machines share";
    EXPECT_EQ(groups[0].find("ports")->dump(), "[]") << "nobody comes in";
    EXPECT_EQ(world_.things("keys").size(), 0U);

    const Json run = world_.requests("RunInstances").at(0);
    EXPECT_EQ(run.string_or("InstanceInitiatedShutdownBehavior", ""), "terminate");
    EXPECT_EQ(run.string_or("BlockDeviceMapping.1.Ebs.DeleteOnTermination", ""), "true");
    EXPECT_EQ(run.string_or("MetadataOptions.HttpPutResponseHopLimit", ""), "1");
    EXPECT_EQ(run.find("InstanceMarketOptions.MarketType"), nullptr);
    EXPECT_EQ(tried(), (Tried{"t3.small in eu-central-1: created"}));
    expect_destroyed();
}

TEST_F(Aws, WithSshItHasAKeyAndAGroupOfItsOwnAndBothGoWithIt) {
    spec_.profile.set_ssh(true);
    world_.settings.ssh_sources = {"192.0.2.0/24", "2001:db8::/32"};
    expect_created();
    const std::string name = "berth-" + spec_.machine;
    EXPECT_EQ(world_.live_instances().at(0).string_or("key", ""), name);
    const auto keys = world_.things("keys");
    ASSERT_EQ(keys.size(), 1U);
    EXPECT_EQ(AwsWorld::tag(keys[0], "berth:machine"), spec_.machine);
    const auto own = world_.things("groups", [&](const Json& group) {
        return group.string_or("name", "") == name;
    });
    ASSERT_EQ(own.size(), 1U);
    for (const Json& made : {keys[0], own[0]}) {
        EXPECT_EQ(AwsWorld::tag(made, "berth:lease"), spec_.lease);
        EXPECT_EQ(AwsWorld::tag(made, "berth:command"), spec_.command);
    }
    for (const Json& port : *own[0].find("ports")->as_array()) EXPECT_EQ(*port.as_string(), "2222");
    const Json rule = world_.requests("AuthorizeSecurityGroupIngress").at(0);
    EXPECT_EQ(rule.string_or("IpPermissions.1.IpRanges.1.CidrIp", ""), "192.0.2.0/24");
    EXPECT_EQ(rule.string_or("IpPermissions.1.Ipv6Ranges.1.CidrIpv6", ""), "2001:db8::/32");
    expect_destroyed();
    EXPECT_EQ(world_.things("groups").size(), 1U) << "the shared one stays, without a machine";
}

TEST_F(Aws, TheGroupThatAllShareIsMadeOnceHoweverManyComeAtOnce) {
    const auto driver = world_.start_driver();
    world_.boot.heard = [](int) { return true; };
    std::vector<std::thread> threads;
    std::atomic<int> made{0};
    for (int i = 0; i < 6; ++i) {
        threads.emplace_back([&, spec = world_.make_spec()]() mutable {
            Attempts attempts;
            const auto done = driver->create(spec, attempts);
            EXPECT_TRUE(done) << done.error().describe();
            if (done) ++made;
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(made, 6);
    EXPECT_EQ(world_.machines(), 6);
    EXPECT_EQ(
        world_
            .things(
                "groups",
                [](const Json& group) { return AwsWorld::tag(group, "berth:machine").empty(); }
            )
            .size(),
        1U
    );
    const auto machines = driver->list();
    ASSERT_TRUE(machines);
    for (const std::string& machine : *machines) EXPECT_TRUE(driver->destroy(machine));
    EXPECT_EQ(world_.machines() + world_.leftovers(), 0);
}

TEST_F(Aws, AGroupThatIsStillHeldIsTriedAgain) {
    spec_.profile.set_ssh(true);
    expect_created();
    world_.rule("DeleteSecurityGroup", "DependencyViolation", 4);
    expect_destroyed();
    EXPECT_EQ(world_.requests("DeleteSecurityGroup").size(), 5U);
}

TEST_F(Aws, ATerminationThatCannotSeeTheInstanceYetIsRepeated) {
    expect_created();
    world_.rule("TerminateInstances", "InvalidInstanceID.NotFound", 2);
    expect_destroyed();
    EXPECT_EQ(world_.requests("TerminateInstances").size(), 3U);
}

TEST_F(Aws, TheKeyAndTheGroupGoEvenWhereTheInstanceIsGone) {
    spec_.profile.set_ssh(true);
    expect_created();
    const Json instance = world_.live_instances().at(0);
    (void)world_.raw(
        "eu-central-1",
        {{"Action", "TerminateInstances"}, {"InstanceId.1", instance.string_or("id", "")}}
    );
    expect_destroyed();
}

TEST_F(Aws, AMachineThatDoesNotEndInTimeIsAgainLater) {
    expect_created();
    world_.settings.destroy_patience = milliseconds{80};
    world_.rules(R"([{"action":"DescribeInstances","kind":"rewrite","times":100000,
                      "from":"<code>48</code><name>terminated</name>",
                      "to":"<code>32</code><name>shutting-down</name>"}])");
    const auto done = world_.start_driver()->destroy(spec_.machine);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, "still_there");
    EXPECT_EQ(done.error().fault, Fault::kUnavailable);
}

TEST_F(Aws, AVolumeThatOutlivesItsInstanceIsRemoved) {
    const std::string tags = "TagSpecification.1.";
    if (AwsWorld::with_moto()) GTEST_SKIP() << "moto deletes volumes whatever was asked for";
    (void)world_.raw(
        "eu-west-1",
        {{"Action", "RunInstances"},
         {"ImageId", "ami-1e749f67"},
         {"InstanceType", "t3.micro"},
         {"ClientToken", spec_.machine + "-0"},
         {tags + "ResourceType", "volume"},
         {tags + "Tag.1.Key", "berth:machine"},
         {tags + "Tag.1.Value", spec_.machine},
         {tags + "Tag.2.Key", "berth:deployment"},
         {tags + "Tag.2.Value", "ADEPLOYMENT"},
         {"TagSpecification.2.ResourceType", "instance"},
         {"TagSpecification.2.Tag.1.Key", "berth:machine"},
         {"TagSpecification.2.Tag.1.Value", spec_.machine},
         {"TagSpecification.2.Tag.2.Key", "berth:deployment"},
         {"TagSpecification.2.Tag.2.Value", "ADEPLOYMENT"}}
    );
    EXPECT_EQ(world_.things("volumes").size(), 1U);
    expect_destroyed();
    EXPECT_EQ(world_.things("volumes").size(), 0U);
}

TEST_F(Aws, AKeyOrGroupOfOursInNameOnlyIsLeftAlone) {
    spec_.profile.set_ssh(true);
    const std::string name = "berth-" + spec_.machine;
    (void)world_.raw(
        "eu-central-1",
        {{"Action", "ImportKeyPair"},
         {"KeyName", name},
         {"PublicKeyMaterial", base64(world_.settings.ssh_public_key)}}
    );
    (void)world_.raw(
        "eu-west-1",
        {{"Action", "CreateSecurityGroup"}, {"GroupName", name}, {"GroupDescription", "theirs"}}
    );
    const auto driver = world_.start_driver();
    const auto made = create(*driver);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, kNotOurs);
    EXPECT_EQ(world_.live_instances().size(), 0U);
    EXPECT_TRUE(driver->list()->empty());
    const auto done = driver->destroy(spec_.machine);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, kNotOurs);
    EXPECT_EQ(done.error().fault, Fault::kConflict);
    EXPECT_EQ(world_.things("keys").size(), 1U);
    const auto theirs = world_.things("groups", [&](const Json& group) {
        return group.string_or("name", "") == name;
    });
    EXPECT_EQ(theirs.size(), 1U);
}

TEST_F(Aws, AnInstanceWithCopiedTagsIsNotOurs) {
    // "Launch more like this" copies tags, never the client token.
    expect_created();
    const std::string tags = "TagSpecification.1.Tag.";
    (void)world_.raw(
        "eu-west-1",
        {{"Action", "RunInstances"},
         {"ImageId", "ami-1e749f67"},
         {"InstanceType", "t3.micro"},
         {"MinCount", "1"},
         {"MaxCount", "1"},
         {"ClientToken", "console-made-this"},
         {"TagSpecification.1.ResourceType", "instance"},
         {tags + "1.Key", "berth:machine"},
         {tags + "1.Value", spec_.machine},
         {tags + "2.Key", "berth:deployment"},
         {tags + "2.Value", "ADEPLOYMENT"}}
    );
    const auto done = world_.start_driver()->destroy(spec_.machine);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, kNotOurs);
    const auto live = world_.live_instances();
    ASSERT_EQ(live.size(), 1U) << "ours is gone, theirs is not";
    EXPECT_EQ(live[0].string_or("token", ""), "console-made-this");
    EXPECT_TRUE(world_.start_driver()->list()->empty());
}

TEST_F(Aws, TheSharedGroupsNameTakenByAnotherIsToldAndNotUsed) {
    expect_created();
    const std::string name = world_.things("groups").at(0).string_or("name", "");
    expect_destroyed();
    world_.control("POST", "reset");
    (void)world_.raw(
        "eu-central-1",
        {{"Action", "CreateSecurityGroup"}, {"GroupName", name}, {"GroupDescription", "theirs"}}
    );
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, kNotOurs);
    EXPECT_EQ(world_.live_instances().size(), 0U);
}

}  // namespace
}  // namespace berth::prov::testing
