// SPDX-License-Identifier: Apache-2.0
// The fixture of the Hetzner driver's tests. (A header of tests.)
#pragma once

#include <gtest/gtest.h>

#include "provisioner/drivers/hetzner/test_hetzner_world.hpp"

namespace berth::prov::testing {

class Hetzner : public ::testing::Test {
protected:
    void SetUp() override {
        spec_ = world_.make_spec();
        types({"cx22", "cx32"});
        locations({"fsn1", "nbg1"});
    }
    /// Whatever a test did: the driver kept to the description, and so did the fake.
    void TearDown() override {
        const Json state = world_.state();
        EXPECT_EQ(state.find("violations")->dump(), "[]");
        EXPECT_EQ(state.find("flaws")->dump(), "[]");
        EXPECT_EQ(state.find("faults_left")->dump(), "[]") << "arranged, but never met";
        EXPECT_EQ(state.int_or("passwords_mailed", -1), 0);
    }

    void types(const std::vector<std::string>& names) {
        spec_.profile.clear_types();
        for (const auto& name : names) spec_.profile.add_types(name);
    }
    void locations(const std::vector<std::string>& names) {
        spec_.profile.clear_locations();
        for (const auto& name : names) spec_.profile.add_locations(name);
    }
    Result<void> create() {
        attempts_.clear();
        return world_.start_driver()->create(spec_, attempts_);
    }
    Result<void> destroy() { return world_.start_driver()->destroy(spec_.machine); }
    void expect_created() {
        const auto made = create();
        ASSERT_TRUE(made) << made.error().describe();
        EXPECT_EQ(world_.machines(), 1);
        EXPECT_EQ(world_.count("ssh_keys"), 1);
    }
    void expect_destroyed() {
        const auto done = destroy();
        ASSERT_TRUE(done) << done.error().describe();
        EXPECT_EQ(world_.machines(), 0);
        EXPECT_EQ(world_.leftovers(), 0);
    }
    /// "cx22 in fsn1 resource_unavailable, cx32 in fsn1 created"
    std::string attempted() const {
        std::string text;
        for (const Attempt& attempt : attempts_)
            text += (text.empty() ? "" : ", ") + attempt.target + " " + attempt.code;
        return text;
    }
    std::vector<Json> orders() { return world_.requests("POST", "/servers"); }
    Json our_labels() { return hetzner::machine_labels(world_.deployment_label(), spec_); }
    Json volume(const Json& labels) {
        return Json::parse(
                   R"({"created":"2024-01-30T23:55:00Z","format":null,"linux_device":"/dev/x",
            "name":"v","protection":{"delete":false},"server":null,"size":10,"status":"available",
            "location":{"id":1,"name":"fsn1","description":"d","city":"c","country":"DE",
              "latitude":50.5,"longitude":12.4,"network_zone":"eu-central"}})"
        )
            .value()
            .set("labels", labels);
    }

    HetznerWorld world_;
    MachineSpec spec_;
    Attempts attempts_;
};

}  // namespace berth::prov::testing
