// SPDX-License-Identifier: Apache-2.0
// Profiles as text and as recipes: what is accepted, and what makes a machine another.
#include "lease_broker/profiles.hpp"

#include <gtest/gtest.h>

#include "lease_broker/settings.hpp"

namespace berth::lease {
namespace {

v1::Profile parsed(const std::string& text) {
    auto profile = parse_profile("big", text);
    EXPECT_TRUE(profile) << profile.error().describe();
    return profile ? *profile : v1::Profile();
}

TEST(Profile, TheSettingsFileAndTheApiReadTheSame) {
    const auto document = config::Document::parse(
        "profiles:\n  big: {driver: docker, image: img, cpus: 1.5, memory: 2GiB, ttl: 24h, types: "
        "[a, b], warm_min: 2, max_machines: 3}\n",
        "test"
    );
    ASSERT_TRUE(document);
    config::Reader reader(document->root());
    LeaseSettings settings = read_lease_settings(reader);
    ASSERT_TRUE(reader.finish());
    EXPECT_EQ(settings.profiles.at("big").source(), "file");
    EXPECT_EQ(settings.profiles.at("default").source(), "built_in");
    const v1::Profile json = parsed(
        R"({"driver":"docker","image":"img","cpus":1.5,"memory":"2GiB","ttl":"24h","types":["a","b"],"warm_min":"2","max_machines":3})"
    );
    v1::Profile file = settings.profiles.at("big");
    file.clear_source();
    EXPECT_EQ(json.SerializeAsString(), file.SerializeAsString());
}

TEST(Profile, WhatIsWrongIsNamed) {
    for (const char* bad :
         {R"({"drvier":"local"})",
          R"({"driver":"zz"})",
          R"({"driver":""})",
          R"({"ttl":"soon"})",
          R"({"warm_min":5,"max_machines":2})",
          R"({"parallel_runs":0})",
          R"({"cpus":-1})",
          R"({"cpus":1e300})",
          R"({"cpus":".nan"})",
          R"({"cpus":1001})",
          R"({"memory":"1000TiB"})",
          R"({"pids":-1})",
          R"({"ttl":"0s"})",
          R"({"ttl":"60d"})",
          R"({"idle_timeout":"0s"})",
          R"({"idle_timeout":"31d"})",
          R"(["driver"])",
          "{"}) {
        const auto profile = parse_profile("big", bad);
        ASSERT_FALSE(profile) << bad;
        EXPECT_EQ(profile.error().code, "bad_profile") << bad;
    }
    EXPECT_NE(
        parse_profile("big", R"({"drvier":"local"})").error().message.find("drvier"),
        std::string::npos
    );
    EXPECT_NE(
        parse_profile("big", R"({"driver":"zz"})").error().message.find("'driver' must be one of"),
        std::string::npos
    );
    EXPECT_FALSE(parse_profile("Big Name", "{}"));
    EXPECT_FALSE(parse_profile("_fleet", "{}")) << "events of the whole fleet bear that name";
    EXPECT_FALSE(parse_profile("big", "{image: " + std::string(kMostProfileText, 'x') + "}"));
}

TEST(Profile, AListThatWasWrittenWrongIsNotKept) {
    EXPECT_TRUE(check_lists(parsed(
        "{env: ['*', LC_*, npm_config.x], types: [cx22, u-6tb1.metal], locations: [eu-central-1]}"
    )));
    for (const char* bad :
         {"{env: ['[A]']}",
          "{types: ['[cx22', ' cpx21]']}",
          "{locations: [fsn1, ' nbg1']}",
          "{env: ['A,B']}",
          "{env: ['']}"}) {
        const auto checked = check_lists(parsed(bad));
        ASSERT_FALSE(checked) << bad;
        EXPECT_EQ(checked.error().code, "bad_profile");
    }
}

TEST(Profile, OnlyWhatMakesAMachineMakesItAnother) {
    const Recipe base = recipe_of(parsed("{driver: docker, image: one}"));
    for (const char* same :
         {"{driver: docker, image: one, ttl: 1h}",
          "{driver: docker, image: one, warm_min: 3, max_machines: 9}",
          "{driver: docker, image: one, parallel_runs: 4, price_micros_per_hour: 5}"}) {
        const Recipe other = recipe_of(parsed(same));
        EXPECT_EQ(other.machine, base.machine) << same;
        EXPECT_NE(other.digest, base.digest) << same;
    }
    for (const char* another :
         {"{driver: docker, image: two}",
          "{driver: docker, image: one, network: true}",
          "{driver: docker, image: one, memory: 1GiB}"})
        EXPECT_NE(recipe_of(parsed(another)).machine, base.machine) << another;
    // Where it is written and how often it was changed is not what it says.
    v1::Profile told = base.profile;
    told.set_source("api");
    told.set_revision(7);
    EXPECT_EQ(recipe_of(told).digest, base.digest);
}

}  // namespace
}  // namespace berth::lease
