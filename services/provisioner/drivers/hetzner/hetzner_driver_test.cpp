// SPDX-License-Identifier: Apache-2.0
// The driver contract at Hetzner; removing, listing and looking after machines.
#include <gtest/gtest.h>

#include "provisioner/driver_contract.hpp"
#include "provisioner/drivers/hetzner/hetzner_fixture.hpp"
#include "support/eventually.hpp"

namespace berth::prov::testing {
namespace {

INSTANTIATE_TEST_SUITE_P(
    Hetzner,
    DriverContract,
    ::testing::Values(WorldCase{"hetzner", [] { return std::make_unique<HetznerWorld>(); }}),
    [](const auto& test) { return test.param.name; }
);

// --- removal
// -----------------------------------------------------------------------------------------

TEST_F(Hetzner, ALockedServerIsTriedAgain) {
    expect_created();
    world_.fault(R"({"method":"DELETE","path":"/servers/{id}","kind":"error","status":423,
        "code":"locked","times":3})");
    world_.fault(R"({"method":"DELETE","path":"/ssh_keys/{id}","kind":"error","status":409,
        "code":"conflict"})");
    expect_destroyed();
}

TEST_F(Hetzner, ADeletionWhoseAnswerIsLostOrWhoseActionFailsIsTriedAgain) {
    for (const char* kind : {"lost", "cut", "error_after", "lost_before", "failed_action"}) {
        SCOPED_TRACE(kind);
        spec_ = world_.make_spec();
        expect_created();
        world_.fault(
            R"({"method":"DELETE","path":"/servers/{id}","status":500,"code":"server_error","kind":")" +
            std::string(kind) + R"("})"
        );
        expect_destroyed();
    }
}

TEST_F(Hetzner, TheKeyGoesEvenWhenTheServerIsGoneAlready) {
    expect_created();
    const std::int64_t id = world_.all("servers").at(0).int_or("id", 0);
    ASSERT_EQ(world_.ask("DELETE", "/servers/" + std::to_string(id)), 200);
    ASSERT_TRUE(berth::testing::eventually([&] { return world_.machines() == 0; }));
    const auto listed = world_.start_driver()->list();
    ASSERT_TRUE(listed);
    EXPECT_EQ(*listed, std::vector{spec_.machine}) << "a key is something that is there";
    expect_destroyed();
}

TEST_F(Hetzner, AddressesAndVolumesThatStayedBehindAreRemoved) {
    expect_created();
    world_.plant("volumes", volume(our_labels()));
    world_.fault(R"({"method":"DELETE","path":"/servers/{id}","kind":"ip_stays"})");
    expect_destroyed();
    EXPECT_EQ(world_.requests("DELETE", "/primary_ips/{id}").size(), 2U);
}

TEST_F(Hetzner, AnAddressThatStayedBehindIsListed) {
    expect_created();
    world_.fault(R"({"method":"DELETE","path":"/servers/{id}","kind":"ip_stays"})");
    const std::int64_t id = world_.all("servers").at(0).int_or("id", 0);
    ASSERT_EQ(world_.ask("DELETE", "/servers/" + std::to_string(id)), 200);
    ASSERT_TRUE(berth::testing::eventually([&] { return world_.machines() == 0; }));
    ASSERT_EQ(
        world_.ask(
            "DELETE", "/ssh_keys/" + std::to_string(world_.all("ssh_keys").at(0).int_or("id", 0))
        ),
        204
    );
    EXPECT_EQ(*world_.start_driver()->list(), std::vector{spec_.machine});
    expect_destroyed();
}

TEST_F(Hetzner, AProtectedServerIsLeftAndSaidSo) {
    Json item = world_.server_item(hetzner::resource_name(spec_.machine), our_labels(), "running");
    item.set("protection", Json::object().set("delete", true).set("rebuild", true));
    world_.plant("servers", item);
    const auto done = destroy();
    ASSERT_FALSE(done);
    EXPECT_NE(done.error().message.find("protected"), std::string::npos);
    EXPECT_EQ(world_.machines(), 1);
}

// --- what is not ours
// --------------------------------------------------------------------------------

TEST_F(Hetzner, TheSameMachineOfAnotherDeploymentIsLeftAlone) {
    Json labels = hetzner::machine_labels(hetzner::deployment_value("another"), spec_);
    world_.plant("servers", world_.server_item("other-name", labels, "running"));
    const auto done = destroy();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, kNotOurs);
    EXPECT_EQ(world_.count("servers"), 1);
    EXPECT_TRUE(world_.start_driver()->list()->empty());
    EXPECT_TRUE(world_.requests("DELETE", "/servers/{id}").empty());
}

TEST_F(Hetzner, WhatIsOursGoesEvenBesideSomethingThatIsNot) {
    expect_created();
    world_.plant("volumes", volume(Json::object().set(hetzner::kMachineLabel, spec_.machine)));
    const auto done = destroy();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, kNotOurs);
    EXPECT_EQ(world_.machines(), 0);
    EXPECT_EQ(world_.count("ssh_keys"), 0);
    EXPECT_EQ(world_.count("volumes"), 1) << "it bears the machine's label, not the deployment's";
}

TEST_F(Hetzner, AKeyOfOurNameThatIsNotOursIsNeitherUsedNorRemoved) {
    world_.plant(
        "ssh_keys",
        Json::parse(
            R"({"created":"2024-01-30T23:55:00Z","fingerprint":"aa","labels":{},"public_key":"x",
        "name":")" +
            hetzner::resource_name(spec_.machine) + R"("})"
        )
            .value()
    );
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, kNotOurs);
    EXPECT_TRUE(orders().empty());
    EXPECT_EQ(destroy().error().code, kNotOurs);
    EXPECT_EQ(world_.count("ssh_keys"), 1);
}

// --- lists, and looking after
// -------------------------------------------------------------------------

TEST_F(Hetzner, AListHasAllItsPages) {
    world_.set(R"({"page_cap":2})");
    std::vector<std::string> machines;
    for (int i = 0; i < 5; ++i) {
        spec_ = world_.make_spec();
        machines.push_back(spec_.machine);
        world_.plant(
            "servers", world_.server_item("s" + std::to_string(i), our_labels(), "running")
        );
    }
    std::sort(machines.begin(), machines.end());
    const auto listed = world_.start_driver()->list();
    ASSERT_TRUE(listed) << listed.error().describe();
    EXPECT_EQ(*listed, machines);
    const auto sent = world_.requests("GET", "/servers");
    ASSERT_EQ(sent.size(), 3U);
    EXPECT_EQ(sent[0].find("query")->find("per_page")->dump(), R"(["50"])");
}

TEST_F(Hetzner, APageThatFailsMakesTheListAnError) {
    world_.set(R"({"page_cap":1})");
    for (int i = 0; i < 3; ++i) {
        spec_ = world_.make_spec();
        world_.plant(
            "servers", world_.server_item("s" + std::to_string(i), our_labels(), "running")
        );
    }
    world_.fault(R"({"method":"GET","path":"/servers","when":{"page":"2"},"kind":"error",
        "status":503,"code":"unavailable","times":8})");
    const auto driver = world_.start_driver();
    const auto failed = driver->list();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().fault, Fault::kUnavailable);
    EXPECT_EQ(driver->list()->size(), 3U);
}

TEST_F(Hetzner, OneLookServesManyQuestions) {
    world_.settings.list_every = milliseconds{60'000};
    expect_created();
    const auto driver = world_.start_driver();
    ASSERT_TRUE(driver->list());
    const std::int64_t before = world_.state().int_or("requests", 0);
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(driver->list()->size(), 1U);
        EXPECT_EQ(*driver->tend(spec_), Condition::kWorking);
    }
    EXPECT_EQ(world_.state().int_or("requests", 0), before);
    // A machine that another replica made since is younger than the look, and not missing.
    const MachineSpec first = spec_;
    spec_ = world_.make_spec();
    ASSERT_TRUE(create());
    EXPECT_EQ(*driver->tend(spec_), Condition::kWorking);
    // One that this object removed is not shown by an old look.
    ASSERT_TRUE(driver->destroy(first.machine));
    EXPECT_EQ(*driver->list(), std::vector{spec_.machine});
    EXPECT_EQ(*driver->tend(first), Condition::kMissing);
}

TEST_F(Hetzner, AServerThatIsOffIsStarted) {
    world_.plant(
        "servers", world_.server_item(hetzner::resource_name(spec_.machine), our_labels(), "off")
    );
    const auto driver = world_.start_driver();
    EXPECT_EQ(*driver->tend(spec_), Condition::kWorking);
    EXPECT_EQ(world_.requests("POST", "/servers/{id}/actions/poweron").size(), 1U);
    ASSERT_TRUE(berth::testing::eventually([&] {
        return world_.all("servers").at(0).string_or("status", "") == "running";
    }));
    EXPECT_EQ(*driver->tend(spec_), Condition::kWorking);
    EXPECT_EQ(world_.requests("POST", "/servers/{id}/actions/poweron").size(), 1U);
}

TEST_F(Hetzner, ListsLeaveTheLastOfTheBudgetToMachines) {
    world_.set(R"({"rate_limit":1000,"rate_remaining":90})");
    const auto driver = world_.start_driver();
    (void)driver->list();  // the first answer says how little is left
    const auto listed = driver->list();
    ASSERT_FALSE(listed);
    EXPECT_EQ(listed.error().code, "rate_limited");
    const auto made = driver->create(spec_, attempts_);
    EXPECT_TRUE(made) << made.error().describe();
}

}  // namespace
}  // namespace berth::prov::testing
